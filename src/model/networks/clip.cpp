#include "model/networks/clip.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::model {

void describe(ConfigFile& outer, ClipConfig& clip) {
    auto file = outer.inside("vision_config", ConfigFile::Absent::same);
    file.whole("hidden_size", clip.hidden);
    file.whole("intermediate_size", clip.intermediate);
    file.whole("num_hidden_layers", clip.layers);
    file.whole("num_attention_heads", clip.heads);
    file.whole("patch_size", clip.patch);
    file.whole("image_size", clip.image);
    file.whole("projection_dim", clip.projection);
    file.real("layer_norm_eps", clip.eps);
    file.must_be("hidden_act", clip.gelu == Gelu::quick ? "quick_gelu" : "gelu");
    file.must_be("num_channels", std::int64_t{3});
    if (clip.hidden % clip.heads != 0) file.wrong("num_attention_heads", "must divide hidden_size");
    if (clip.image % clip.patch != 0) file.wrong("patch_size", "must divide image_size");
}

void ClipEncoder::bind(const Weights& source) {
    const auto c = config_.hidden;
    const auto model = source / "vision_model";
    const auto positions = (config_.image / config_.patch) * (config_.image / config_.patch) + 1;
    class_embedding_ = model.take("embeddings.class_embedding", {c});
    patch_ = {(model / "embeddings.patch_embedding").take("weight", {c, 3, config_.patch, config_.patch}), {}, config_.patch, 0, 0};
    position_embedding_ = (model / "embeddings.position_embedding").take("weight", {positions, c});
    pre_ = take_layer_norm(model / "pre_layrnorm", c, config_.eps);  // spelled so in the published file
    layers_.clear();
    for (std::int64_t i = 0; i < config_.layers; ++i) {
        const auto at = model / cat("encoder.layers.", i);
        Layer layer;
        layer.norm1 = take_layer_norm(at / "layer_norm1", c, config_.eps);
        layer.qkv = take_stacked(at / "self_attn", {"q_proj", "k_proj", "v_proj"}, c, c, Bias::with);
        layer.out = take_linear(at / "self_attn.out_proj", c, c);
        layer.norm2 = take_layer_norm(at / "layer_norm2", c, config_.eps);
        layer.up = take_linear(at / "mlp.fc1", c, config_.intermediate);
        layer.down = take_linear(at / "mlp.fc2", config_.intermediate, c);
        layers_.push_back(std::move(layer));
    }
    post_ = take_layer_norm(model / "post_layernorm", c, config_.eps);
    projection_ = take_linear(source / "visual_projection", c, config_.projection, Bias::without);
}

at::Tensor ClipEncoder::operator()(const at::Tensor& pixels, const Probe& probe) const {
    const auto see = [&](const std::string& name, const at::Tensor& value) {
        if (probe) probe("vision_model." + name, value);
    };
    const auto c = config_.hidden;
    const auto patches = at::conv2d(pixels.permute({0, 3, 1, 2}), patch_.weight, {}, {config_.patch, config_.patch});
    auto x = at::cat({class_embedding_.view({1, 1, c}), patches.flatten(2).transpose(1, 2)}, 1);
    x.add_(position_embedding_);
    see("embeddings", x);
    x = layer_norm(x, pre_);
    see("pre_layrnorm", x);
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        const auto& layer = layers_[i];
        add_linear(x, attend_tokens(layer_norm(x, layer.norm1), {layer.qkv, layer.out, config_.heads}), layer.out);
        auto inner = linear(layer_norm(x, layer.norm2), layer.up);
        if (config_.gelu == Gelu::quick)
            inner.mul_(at::sigmoid(1.702 * inner));
        else
            at::gelu_(inner, "none");
        add_linear(x, inner, layer.down);
        see(cat("encoder.layers.", i), x.clone());
    }
    const auto token = layer_norm(x.select(1, 0), post_);
    see("post_layernorm", token);
    return linear(token, projection_);
}

at::Tensor clip_normalised(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& deviation) {
    const auto by_channel = [](const std::vector<double>& values) {
        auto made = at::empty({1, 1, 1, 3}, at::TensorOptions{}.dtype(c10::kFloat));
        std::copy(values.begin(), values.end(), made.mutable_data_ptr<float>());
        return made;
    };
    return (x - by_channel(mean)) / by_channel(deviation);
}

}  // namespace weft::model

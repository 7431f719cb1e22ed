#include "model/networks/clip.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::model {

namespace {
/// [1, patches, channels] of pixels [1, height, width, 3]: squares that do not overlap, each a row of a product. Published as a convolution.
at::Tensor patches_of(const at::Tensor& pixels, const at::Tensor& weight) {
    const auto size = weight.size(2);
    const auto rows = pixels.size(1) / size;
    const auto columns = pixels.size(2) / size;
    const auto squares = pixels.view({rows, size, columns, size, 3}).permute({0, 2, 4, 1, 3}).reshape({rows * columns, 3 * size * size});
    return linear(squares, {weight.view({weight.size(0), -1}), {}}).unsqueeze(0);
}
}  // namespace

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

void ClipEncoder::list(const Weights& source) const {
    static_cast<void>(take_front(source));
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) static_cast<void>(take_layer(source, layer));
    static_cast<void>(take_back(source));
}

ClipEncoder::Front ClipEncoder::take_front(const Weights& source) const {
    const auto c = config_.hidden;
    const auto model = source / "vision_model";
    const auto positions = (config_.image / config_.patch) * (config_.image / config_.patch) + 1;
    return {.patches = (model / "embeddings.patch_embedding").take("weight", {c, 3, config_.patch, config_.patch}),
            .class_embedding = model.take("embeddings.class_embedding", {c}),
            .position_embedding = (model / "embeddings.position_embedding").take("weight", {positions, c}),
            .norm = take_layer_norm(model / "pre_layrnorm", c, config_.eps)};  // spelled so in the published file
}

ClipEncoder::Layer ClipEncoder::take_layer(const Weights& source, std::int64_t layer) const {
    const auto c = config_.hidden;
    const auto at = source / "vision_model" / cat("encoder.layers.", layer);
    return {.norm1 = take_layer_norm(at / "layer_norm1", c, config_.eps),
            .norm2 = take_layer_norm(at / "layer_norm2", c, config_.eps),
            .qkv = take_stacked(at / "self_attn", {"q_proj", "k_proj", "v_proj"}, c, c, Bias::with),
            .out = take_linear(at / "self_attn.out_proj", c, c),
            .up = take_linear(at / "mlp.fc1", c, config_.intermediate),
            .down = take_linear(at / "mlp.fc2", config_.intermediate, c)};
}

ClipEncoder::Back ClipEncoder::take_back(const Weights& source) const {
    return {.norm = take_layer_norm(source / "vision_model" / "post_layernorm", config_.hidden, config_.eps),
            .projection = take_linear(source / "visual_projection", config_.hidden, config_.projection, Bias::without)};
}

namespace {
void see(const ClipEncoder::Probe& probe, const std::string& name, const at::Tensor& value) {
    if (probe) probe("vision_model." + name, value);
}
}  // namespace

at::Tensor ClipEncoder::embed_patches(const Weights& source, const at::Tensor& pixels, const Probe& probe) const {
    const auto front = take_front(source);
    const auto c = config_.hidden;
    const auto patches = patches_of(pixels, front.patches);
    auto x = at::cat({front.class_embedding.view({1, 1, c}), patches}, 1);
    x.add_(front.position_embedding);
    see(probe, "embeddings", x);
    x = layer_norm(x, front.norm);
    see(probe, "pre_layrnorm", x);
    return x;
}

void ClipEncoder::run_layer(at::Tensor& x, const Layer& layer) const {
    add_linear(x, attend_tokens(layer_norm(x, layer.norm1), {layer.qkv, layer.out, config_.heads}), layer.out);
    auto inner = linear(layer_norm(x, layer.norm2), layer.up);
    if (config_.gelu == Gelu::quick)
        inner.mul_(at::sigmoid(1.702 * inner));
    else
        at::gelu_(inner, "none");
    add_linear(x, inner, layer.down);
}

at::Tensor ClipEncoder::operator()(const Weights& source, const at::Tensor& pixels, const Probe& probe) const {
    auto x = embed_patches(source, pixels, probe);
    for (std::int64_t layer = 0; layer < config_.layers; ++layer) {
        run_layer(x, take_layer(source, layer));
        see(probe, cat("encoder.layers.", layer), x);
    }
    const auto back = take_back(source);
    const auto token = layer_norm(x.select(1, 0), back.norm);
    see(probe, "post_layernorm", token);
    return linear(token, back.projection);
}

at::Tensor clip_normalised(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& deviation) {
    const auto by_channel = [](const std::vector<double>& values) {
        auto made = at::empty({1, 1, 1, 3}, at::TensorOptions{}.dtype(c10::kFloat));
        std::copy(values.begin(), values.end(), made.mutable_data_ptr<float>());
        return made;
    };
    return (x - by_channel(mean)).div_(by_channel(deviation));
}

}  // namespace weft::model

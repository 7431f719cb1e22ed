#include "model/mimicmotion/clip.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

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
        at::gelu_(inner, "none");
        add_linear(x, inner, layer.down);
        see(cat("encoder.layers.", i), x.clone());
    }
    const auto token = layer_norm(x.select(1, 0), post_);
    see("post_layernorm", token);
    return linear(token, projection_);
}

namespace {
/// Normalised one-dimensional Gaussian, fp32.
at::Tensor gaussian(std::int64_t size, double sigma) {
    const auto x = at::arange(size, at::TensorOptions{}.dtype(c10::kFloat)) - static_cast<double>(size / 2);
    const auto g = at::exp(-x.square() / (2 * sigma * sigma));
    return g / g.sum();
}
}  // namespace

at::Tensor resize_with_antialiasing(const at::Tensor& x, std::int64_t size) {
    const auto sigma = [size](std::int64_t from) { return std::max((static_cast<double>(from) / static_cast<double>(size) - 1.0) / 2.0, 0.001); };
    const auto taps = [](double s) {
        const auto n = static_cast<std::int64_t>(std::max(4.0 * s, 3.0));
        return n % 2 == 0 ? n + 1 : n;
    };
    const double sigma_y = sigma(x.size(2));
    const double sigma_x = sigma(x.size(3));
    const auto along_x = gaussian(taps(sigma_x), sigma_x).view({1, 1, 1, -1}).expand({3, 1, 1, taps(sigma_x)});
    const auto along_y = gaussian(taps(sigma_y), sigma_y).view({1, 1, -1, 1}).expand({3, 1, taps(sigma_y), 1});
    const auto half_x = taps(sigma_x) / 2;
    const auto half_y = taps(sigma_y) / 2;
    const auto filter = [](const at::Tensor& padded, const at::Tensor& kernel) {
        return at::conv2d(padded, kernel, {}, at::IntArrayRef{1, 1}, at::IntArrayRef{0, 0}, at::IntArrayRef{1, 1}, /*groups=*/3);
    };
    auto y = filter(at::reflection_pad2d(x, {half_x, half_x, 0, 0}), along_x);
    y = filter(at::reflection_pad2d(y, {0, 0, half_y, half_y}), along_y);
    return at::upsample_bicubic2d(y, {size, size}, /*align_corners=*/true);
}

at::Tensor clip_pixels(const at::Tensor& image_u8, std::int64_t image, const PreprocessorConfig& config) {
    const auto x = image_u8.permute({2, 0, 1}).unsqueeze(0).to(c10::kFloat).contiguous() / 255.0;
    const auto small = (resize_with_antialiasing(x * 2.0 - 1.0, image) + 1.0) / 2.0;
    const auto per_channel = [](const std::vector<double>& values) {
        const auto made = at::empty({1, 3, 1, 1}, at::TensorOptions{}.dtype(c10::kFloat));
        std::copy(values.begin(), values.end(), made.mutable_data_ptr<float>());
        return made;
    };
    return ((small - per_channel(config.mean)) / per_channel(config.deviation)).permute({0, 2, 3, 1}).contiguous();
}

}  // namespace weft::model::mimicmotion

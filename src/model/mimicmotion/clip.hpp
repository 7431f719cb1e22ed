#pragma once
#include "model/layers/layers.hpp"
#include "model/mimicmotion/config.hpp"

#include <functional>

namespace weft::model::mimicmotion {

/// CLIP's vision tower with projection (models/mimicmotion.md section 4).
class ClipEncoder {
  public:
    explicit ClipEncoder(const ClipConfig& config) : config_{config} {}
    void bind(const Weights& source);

    /// Called with a published module name ("vision_model.encoder.layers.3") and its result, for tests.
    using Probe = std::function<void(const std::string&, const at::Tensor&)>;

    /// pixels [1, image, image, 3], normalised -> [1, projection], not normalised to length 1.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& pixels, const Probe& probe = {}) const;

  private:
    struct Layer {
        LayerNorm norm1, norm2;
        Linear qkv, out, up, down;
    };
    ClipConfig config_;
    Conv2d patch_;
    at::Tensor class_embedding_, position_embedding_;
    LayerNorm pre_, post_;
    std::vector<Layer> layers_;
    Linear projection_;
};

/// What the encoder sees of a picture: squashed to image x image with a Gaussian against aliasing and a bicubic filter (corners aligned, not clamped),
/// then normalised by channel. image_u8 [height, width, 3] -> [1, image, image, 3] fp32.
[[nodiscard]] at::Tensor clip_pixels(const at::Tensor& image_u8, std::int64_t image, const PreprocessorConfig& config);

/// The resize by itself: x [1, 3, height, width] fp32 -> [1, 3, size, size].
[[nodiscard]] at::Tensor resize_with_antialiasing(const at::Tensor& x, std::int64_t size);

}  // namespace weft::model::mimicmotion

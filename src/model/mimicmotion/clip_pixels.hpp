#pragma once
#include "model/mimicmotion/config.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace weft::model::mimicmotion {

/// What the encoder sees of a picture: squashed to image x image with a Gaussian against aliasing and a bicubic filter (corners aligned, not clamped),
/// then normalised by channel. image_u8 [height, width, 3] -> [1, image, image, 3] fp32.
[[nodiscard]] at::Tensor clip_pixels(const at::Tensor& image_u8, std::int64_t image, const PreprocessorConfig& config);

/// The resize by itself: x [1, 3, height, width] fp32 -> [1, 3, size, size].
[[nodiscard]] at::Tensor resize_with_antialiasing(const at::Tensor& x, std::int64_t size);

}  // namespace weft::model::mimicmotion

#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>

/// Pictures as tensors, exactly as the published programs change them.
namespace weft::model {

/// Scales so that the picture covers height x width (bilinear, no antialiasing, rounded to bytes) and crops the centre:
/// inference.py's way (models/mimicmotion.md section 7.1). picture [h, w, 3] uint8 -> [height, width, 3] uint8.
[[nodiscard]] at::Tensor cover_bilinear(const at::Tensor& picture, std::int64_t height, std::int64_t width);

/// The published round trip through [-1, 1] in fp32 with truncation: values 1 to 63 come out one lower (section 7.1.5). Any shape, uint8.
[[nodiscard]] at::Tensor truncated_round_trip(const at::Tensor& picture);

/// Bilinear to another size, corners not aligned, no antialiasing, as MusePose's program scales its frames: x [n, h, w, 3] fp32 -> [n, height, width, 3].
/// The same tensor where the size is that already.
[[nodiscard]] at::Tensor scaled_bilinear(const at::Tensor& x, std::int64_t height, std::int64_t width);

/// [0, 1] fp32 to bytes by truncation, as published. Any shape.
[[nodiscard]] at::Tensor to_bytes(const at::Tensor& frames);

}  // namespace weft::model

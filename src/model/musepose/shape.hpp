#pragma once
#include "plan/shape.hpp"

#include <cstdint>

namespace weft::model::musepose {

/// A pass of the denoising UNet of the published config (models/musepose.md sections 2.2, 3 and 10), weights and activations in fp16, cross-attention to one
/// token collapsed, keys and values of the reference bank made once. Costs by branch: the conditional one attends to as many reference tokens as it has itself.
/// `width`, `height`: pixels, multiples of 64. Weights: parameters that are held while passes run, PoseGuider's with the first unit; the bank is not in them.
[[nodiscard]] plan::PassShape musepose_shape(std::int64_t width, std::int64_t height, std::int64_t num_slots, double flops_per_second);

}  // namespace weft::model::musepose

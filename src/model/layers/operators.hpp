#pragma once
#include "model/layers/layers.hpp"

/// Torch's operators that know no tensors without data: they compute, or, in a rehearsal (device/rehearsal.hpp), take the memory that they would take.
/// How much that is beside their results is the table of operator scratch, one column for CPUs and one for GPUs.
namespace weft::model {

/// x [n, height, width, in] -> [n, height', width', out].
[[nodiscard]] at::Tensor convolution(const at::Tensor& x, const Conv2d& conv, const at::Tensor& bias);

/// In a rehearsal: what a product of x [..., in] with `weight` [out, in] takes beside its result, which is there.
void rehearse_product(const at::Tensor& x, const at::Tensor& weight);

/// Of [n, heads, tokens, width] each; the result lies as [n, tokens, heads, width].
[[nodiscard]] at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values);

/// x [n, ..., channels]: statistics over all but the first dim and within each group.
[[nodiscard]] at::Tensor group_norm_of_torch(const at::Tensor& x, const GroupNorm& norm);

[[nodiscard]] at::Tensor layer_norm_of_torch(const at::Tensor& x, const LayerNorm& norm);

}  // namespace weft::model

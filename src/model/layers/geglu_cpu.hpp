#pragma once
#include <cstdint>

namespace weft::model {

/// x [rows, 2 * inner] fp32, contiguous: adds `bias` [2 * inner] and leaves (value + bias) * gelu(gate + bias) in the first half of each row,
/// gelu with the exact erf (error below 3e-7 of its argument). One thread; one pass over memory in place of four.
void geglu_cpu(float* x, std::int64_t rows, std::int64_t inner, const float* bias);

}  // namespace weft::model

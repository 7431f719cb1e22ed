#include "model/layers/geglu_cpu.hpp"

#include "model/layers/cpu_math.hpp"

#include <algorithm>

namespace weft::model {

namespace {

/// x Phi(x), Phi by erfc(u) = t (a1 + t (a2 + ...)) exp(-u^2), t = 1 / (1 + p u), u >= 0 (Abramowitz and Stegun 7.1.26). Branch-free.
inline float gelu(float x) {
    const float u = std::min((x < 0 ? -x : x) * 0.707106781F, 9.0F);
    const float t = 1.0F / (1.0F + 0.3275911F * u);
    const float tail = t * (0.254829592F + t * (-0.284496736F + t * (1.421413741F + t * (-1.453152027F + t * 1.061405429F)))) * exp_poly(-u * u);
    return 0.5F * x * (x < 0 ? tail : 2.0F - tail);
}

}  // namespace

WEFT_FOR_EACH_ISA void geglu_cpu(float* __restrict__ x, std::int64_t rows, std::int64_t inner, const float* __restrict__ bias) {
    for (std::int64_t row = 0; row < rows; ++row) {
        float* const value = x + row * 2 * inner;
        const float* const gate = value + inner;
        for (std::int64_t i = 0; i < inner; ++i) value[i] = (value[i] + bias[i]) * gelu(gate[i] + bias[inner + i]);
    }
}

}  // namespace weft::model

#pragma once
#include <bit>
#include <cstdint>

// One function for each instruction set, chosen when the program starts. Sanitizers and the resolver that this needs do not go together.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define WEFT_FOR_EACH_ISA __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WEFT_FOR_EACH_ISA
#endif

namespace weft::model {

/// exp(x) for x in [-87, 87], within 2 units in the last place: 2^k times a polynomial on [-ln(2)/2, ln(2)/2]. Branch-free, so that loops vectorise.
inline float exp_poly(float x) {
    const float k = (x * 1.44269504F + 12582912.0F) - 12582912.0F;  // rounded to a whole number
    float r = x - k * 0.693359375F;
    r -= k * -2.12194440e-4F;
    float p = 1.9875691500e-4F;
    p = p * r + 1.3981999507e-3F;
    p = p * r + 8.3334519073e-3F;
    p = p * r + 4.1665795894e-2F;
    p = p * r + 1.6666665459e-1F;
    p = p * r + 5.0000001201e-1F;
    p = p * r * r + r + 1.0F;
    return p * std::bit_cast<float>((static_cast<std::int32_t>(k) + 127) << 23);
}

}  // namespace weft::model

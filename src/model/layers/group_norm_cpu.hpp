#pragma once
#include <cstdint>

namespace weft::model {

enum class Activation { none, silu };

/// Group norm of channels-last fp32 data on one thread. x, y [n, rows, channels], contiguous, not the same memory: statistics over rows and the channels of a
/// group. Sums are taken per channel about the channel's first value in a fixed order, so large means do not cost digits and bits repeat.
void group_norm_cpu(const float* x, float* y, std::int64_t n, std::int64_t rows, std::int64_t channels, std::int64_t groups, const float* weight,
                    const float* bias, double eps, Activation activation);

/// Its two halves, for one image: by channel what the norm is, y = x * scale + offset ...
void group_norm_scales_cpu(const float* x, std::int64_t rows, std::int64_t channels, std::int64_t groups, const float* weight, const float* bias, double eps,
                           float* scale, float* offset);
/// ... and applying it, with the activation in the same pass over memory.
void scale_rows_cpu(const float* x, float* y, std::int64_t rows, std::int64_t channels, const float* scale, const float* offset, Activation activation);

}  // namespace weft::model

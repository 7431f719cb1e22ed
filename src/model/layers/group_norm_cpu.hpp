#pragma once
#include <cstdint>
#include <vector>

namespace weft::model {

enum class Activation { none, silu };

/// Group norm of channels-last fp32 data on one thread. x, y [n, rows, channels], contiguous, not the same memory: statistics over rows and the channels of a
/// group. Sums are taken per channel about the channel's first value in a fixed order, so large means do not cost digits and bits repeat.
void group_norm_cpu(const float* x, float* y, std::int64_t n, std::int64_t rows, std::int64_t channels, std::int64_t groups, const float* weight,
                    const float* bias, double eps, Activation activation);

/// Its two halves, for one image that may come in parts: by channel what the norm is, y = x * scale + offset ...
class GroupNormSums {
  public:
    explicit GroupNormSums(std::int64_t channels);
    /// x [rows, channels], contiguous. Bits depend on how the rows are parted.
    void add(const float* x, std::int64_t rows);
    void scales(std::int64_t groups, const float* weight, const float* bias, double eps, float* scale, float* offset) const;

  private:
    std::int64_t channels_;
    std::int64_t rows_ = 0;
    std::vector<float> shift_, sum_, square_;
    std::vector<double> total_, total_square_;
};
/// ... and applying it, with the activation in the same pass over memory.
void scale_rows_cpu(const float* x, float* y, std::int64_t rows, std::int64_t channels, const float* scale, const float* offset, Activation activation);

}  // namespace weft::model

#include "model/layers/group_norm_cpu.hpp"

#include "model/layers/cpu_math.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace weft::model {

namespace {

constexpr std::int64_t block_rows = 64;  // summed in fp32 before the sum goes on in double

/// Adds to sum and square, per channel, x - shift of `rows` rows.
WEFT_FOR_EACH_ISA void add_rows(const float* __restrict__ x, std::int64_t rows, std::int64_t channels, const float* __restrict__ shift, float* __restrict__ sum,
                                float* __restrict__ square) {
    for (std::int64_t row = 0; row < rows; ++row) {
        const float* const line = x + row * channels;
        for (std::int64_t c = 0; c < channels; ++c) {
            const float d = line[c] - shift[c];
            sum[c] += d;
            square[c] += d * d;
        }
    }
}

WEFT_FOR_EACH_ISA void scale_rows(const float* __restrict__ x, float* __restrict__ y, std::int64_t rows, std::int64_t channels, const float* __restrict__ scale,
                                  const float* __restrict__ offset) {
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t c = 0; c < channels; ++c) y[row * channels + c] = x[row * channels + c] * scale[c] + offset[c];
}

WEFT_FOR_EACH_ISA void scale_silu_rows(const float* __restrict__ x, float* __restrict__ y, std::int64_t rows, std::int64_t channels,
                                       const float* __restrict__ scale, const float* __restrict__ offset) {
    for (std::int64_t row = 0; row < rows; ++row)
        for (std::int64_t c = 0; c < channels; ++c) {
            const float z = x[row * channels + c] * scale[c] + offset[c];
            const float bounded = std::min(std::max(-z, -87.0F), 87.0F);
            y[row * channels + c] = z / (1.0F + exp_poly(bounded));
        }
}

}  // namespace

GroupNormSums::GroupNormSums(std::int64_t channels)
    : channels_{channels},
      sum_(static_cast<std::size_t>(channels)),
      square_(static_cast<std::size_t>(channels)),
      total_(static_cast<std::size_t>(channels)),
      total_square_(static_cast<std::size_t>(channels)) {}

void GroupNormSums::add(const float* x, std::int64_t rows) {
    if (shift_.empty()) shift_.assign(x, x + channels_);  // the first row
    rows_ += rows;
    for (std::int64_t row = 0; row < rows; row += block_rows) {
        std::fill(sum_.begin(), sum_.end(), 0.0F);
        std::fill(square_.begin(), square_.end(), 0.0F);
        add_rows(x + row * channels_, std::min(block_rows, rows - row), channels_, shift_.data(), sum_.data(), square_.data());
        for (std::size_t c = 0; c < total_.size(); ++c) {
            total_[c] += static_cast<double>(sum_[c]);
            total_square_[c] += static_cast<double>(square_[c]);
        }
    }
}

void GroupNormSums::scales(std::int64_t groups, const float* weight, const float* bias, double eps, float* scale, float* offset) const {
    const std::int64_t per_group = channels_ / groups;
    const auto count = static_cast<double>(rows_);
    for (std::int64_t group = 0; group < groups; ++group) {
        const auto first = static_cast<std::size_t>(group * per_group);
        const auto last = first + static_cast<std::size_t>(per_group);
        double mean = 0;
        for (std::size_t c = first; c < last; ++c) mean += static_cast<double>(shift_[c]) + total_[c] / count;
        mean /= static_cast<double>(per_group);
        double spread = 0;  // sum of squared distances from the group's mean
        for (std::size_t c = first; c < last; ++c) {
            const double own = static_cast<double>(shift_[c]) + total_[c] / count - mean;
            spread += total_square_[c] - total_[c] * total_[c] / count + count * own * own;
        }
        const double inverse = 1.0 / std::sqrt(std::max(spread, 0.0) / (count * static_cast<double>(per_group)) + eps);
        for (std::size_t c = first; c < last; ++c) {
            scale[c] = static_cast<float>(inverse * static_cast<double>(weight[c]));
            offset[c] = static_cast<float>(static_cast<double>(bias[c]) - mean * inverse * static_cast<double>(weight[c]));
        }
    }
}

void scale_rows_cpu(const float* x, float* y, std::int64_t rows, std::int64_t channels, const float* scale, const float* offset, Activation activation) {
    if (activation == Activation::silu)
        scale_silu_rows(x, y, rows, channels, scale, offset);
    else
        scale_rows(x, y, rows, channels, scale, offset);
}

void group_norm_cpu(const float* x, float* y, std::int64_t n, std::int64_t rows, std::int64_t channels, std::int64_t groups, const float* weight,
                    const float* bias, double eps, Activation activation) {
    std::vector<float> scale(static_cast<std::size_t>(channels)), offset(scale);
    for (auto image = x; image != x + n * rows * channels; image += rows * channels, y += rows * channels) {
        GroupNormSums sums(channels);
        sums.add(image, rows);
        sums.scales(groups, weight, bias, eps, scale.data(), offset.data());
        scale_rows_cpu(image, y, rows, channels, scale.data(), offset.data(), activation);
    }
}

}  // namespace weft::model

#include "model/musepose/ddim.hpp"

#include <cmath>
#include <utility>

namespace weft::model::musepose {

namespace {

/// `count` numbers with equal gaps, each counted from the nearer end, as torch.linspace has them where processors fuse products and sums.
std::vector<float> evenly(float begin, float end, std::int64_t count) {
    const float gap = (end - begin) / static_cast<float>(count - 1);
    std::vector<float> values;
    for (std::int64_t i = 0; i < count; ++i)
        values.push_back(i < count / 2 ? std::fma(gap, static_cast<float>(i), begin) : std::fma(-gap, static_cast<float>(count - 1 - i), end));
    return values;
}

/// Products of all up to each, accumulated in fp64, as torch.cumprod has them on a CPU.
std::vector<float> cumulated(std::vector<float> values) {
    double product = 1;
    for (auto& value : values) {
        product *= value;
        value = static_cast<float>(product);
    }
    return values;
}

}  // namespace

// In plain numbers: Torch's vectorised operators round otherwise on another make of processor, and each rank makes this table for itself.
DdimSampler::DdimSampler(std::int64_t steps, const SchedulerConfig& config) : steps_{steps}, train_steps_{config.train_steps} {
    auto signal = evenly(static_cast<float>(std::sqrt(config.beta_start)), static_cast<float>(std::sqrt(config.beta_end)), train_steps_);
    for (auto& root : signal) root = 1.0F - root * root;
    signal = cumulated(std::move(signal));
    for (auto& value : signal) value = std::sqrt(value);
    // Shifted and scaled so that the last step holds no signal.
    const float first = signal.front();
    const float last = signal.back();
    const float scale = first / (first - last);
    for (auto& value : signal) value = (value - last) * scale;
    std::vector<float> kept;
    for (std::size_t i = 0; i < signal.size(); ++i) {
        const float square = signal[i] * signal[i];
        const float before = i == 0 ? 1.0F : signal[i - 1] * signal[i - 1];
        betas_.push_back(1.0F - square / before);
        kept.push_back(1.0F - betas_.back());
    }
    alphas_cumprod_ = cumulated(std::move(kept));
    // numpy's arange(train_steps, 0, -train_steps / steps), rounded half to even.
    const double stride = static_cast<double>(train_steps_) / static_cast<double>(steps);
    const auto count = static_cast<std::int64_t>(std::ceil(static_cast<double>(train_steps_) / stride));
    for (std::int64_t i = 0; i < count; ++i)
        timesteps_.push_back(static_cast<std::int64_t>(std::nearbyint(static_cast<double>(train_steps_) - static_cast<double>(i) * stride)) - 1);
}

DdimSampler::Coefficients DdimSampler::at_timestep(std::int64_t timestep) const {
    // Python's index -1 is the last one: of the one step too many.
    const auto index = timestep < 0 ? timestep + train_steps_ : timestep;
    const float alpha = alphas_cumprod_.at(static_cast<std::size_t>(index));
    return {std::sqrt(alpha), std::sqrt(1.0F - alpha)};
}

at::Tensor DdimSampler::predicted_clean(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const {
    const auto now = at_timestep(timesteps_.at(static_cast<std::size_t>(step)));
    return now.signal * x - now.noise * v;
}

at::Tensor DdimSampler::step(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const {
    const auto timestep = timesteps_.at(static_cast<std::size_t>(step));
    const auto now = at_timestep(timestep);
    const auto next_timestep = timestep - train_steps_ / steps_;
    const auto next = next_timestep >= 0 ? at_timestep(next_timestep) : Coefficients{1.0, 0.0};
    const auto noise = now.signal * v + now.noise * x;
    return next.signal * predicted_clean(x, v, step) + next.noise * noise;
}

}  // namespace weft::model::musepose

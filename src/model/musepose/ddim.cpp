#include "model/musepose/ddim.hpp"

#include <cmath>
#include <span>

namespace weft::model::musepose {

namespace {
std::vector<float> as_vector(const at::Tensor& values) {
    const auto flat = values.to(c10::kFloat).contiguous();
    const std::span all(flat.const_data_ptr<float>(), static_cast<std::size_t>(flat.numel()));
    return {all.begin(), all.end()};
}
}  // namespace

DdimSampler::DdimSampler(std::int64_t steps, const SchedulerConfig& config) : steps_{steps}, train_steps_{config.train_steps} {
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    const auto roots = at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), train_steps_, options);
    // Shifted and scaled so that the last step holds no signal.
    auto signal = at::cumprod(1.0 - roots.square(), 0).sqrt();
    const auto first = signal[0].clone();
    const auto last = signal[train_steps_ - 1].clone();
    signal = (signal - last) * (first / (first - last));
    const auto cumulated = signal.square();
    const auto alphas = at::cat({cumulated.narrow(0, 0, 1), cumulated.narrow(0, 1, train_steps_ - 1) / cumulated.narrow(0, 0, train_steps_ - 1)});
    const auto betas = 1.0 - alphas;
    betas_ = as_vector(betas);
    alphas_cumprod_ = as_vector(at::cumprod(1.0 - betas, 0));
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

#include "model/mimicmotion/euler.hpp"

#include <cmath>

namespace weft::model::mimicmotion {

EulerSampler::EulerSampler(std::int64_t steps, double sigma_min, double sigma_max) {
    constexpr double rho = 7.0;
    const double low = std::pow(sigma_min, 1 / rho);
    const double high = std::pow(sigma_max, 1 / rho);
    for (std::int64_t i = 0; i < steps; ++i) {
        const double ramp = steps == 1 ? 0.0 : static_cast<double>(i) / static_cast<double>(steps - 1);
        sigmas_.push_back(static_cast<float>(std::pow(high + ramp * (low - high), rho)));
    }
    sigmas_.push_back(0.0F);
    init_noise_sigma_ = std::sqrt(sigmas_.front() * sigmas_.front() + 1.0F);
}

float EulerSampler::timestep(std::int64_t step) const {
    return 0.25F * std::log(sigma(step));
}

EulerSampler::Coefficients EulerSampler::coefficients(std::int64_t step) const {
    const float square = sigma(step) * sigma(step) + 1.0F;
    return {1.0F / std::sqrt(square), -sigma(step) / std::sqrt(square), 1.0F / square};
}

at::Tensor EulerSampler::scale_input(const at::Tensor& x, std::int64_t step) const {
    return x / std::sqrt(sigma(step) * sigma(step) + 1.0F);
}

at::Tensor EulerSampler::step(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const {
    const float s = sigma(step);
    const auto denoised = v * coefficients(step).out + x / (s * s + 1.0F);
    const auto derivative = (x - denoised) / s;
    return x + derivative * (sigma(step + 1) - s);
}

}  // namespace weft::model::mimicmotion

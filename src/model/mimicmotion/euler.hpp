#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace weft::model::mimicmotion {

/// Euler's method on Karras sigmas for v-prediction, as EulerDiscreteScheduler sets it (models/mimicmotion.md section 6). All arithmetic in fp32.
class EulerSampler {
  public:
    EulerSampler(std::int64_t steps, double sigma_min, double sigma_max);

    [[nodiscard]] std::int64_t steps() const { return static_cast<std::int64_t>(sigmas_.size()) - 1; }
    [[nodiscard]] float sigma(std::int64_t step) const { return sigmas_.at(static_cast<std::size_t>(step)); }

    /// What the denoiser is told: ln(sigma) / 4.
    [[nodiscard]] float timestep(std::int64_t step) const;

    /// Initial latents are unit noise times this.
    [[nodiscard]] float init_noise_sigma() const { return init_noise_sigma_; }

    struct Coefficients {
        float in;    ///< 1 / sqrt(sigma^2 + 1): input scale
        float out;   ///< -sigma / sqrt(sigma^2 + 1): of v
        float skip;  ///< 1 / (sigma^2 + 1): of x
    };
    [[nodiscard]] Coefficients coefficients(std::int64_t step) const;

    /// x / sqrt(sigma^2 + 1)
    [[nodiscard]] at::Tensor scale_input(const at::Tensor& x, std::int64_t step) const;

    /// x_{t+1} from x_t and the guided prediction v; all fp32, elementwise: any subset of frames gives the same bits.
    [[nodiscard]] at::Tensor step(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const;

  private:
    std::vector<float> sigmas_;
    float init_noise_sigma_ = 0;
};

}  // namespace weft::model::mimicmotion

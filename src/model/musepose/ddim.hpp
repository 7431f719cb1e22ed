#pragma once
#include "model/musepose/config.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace weft::model::musepose {

/// DDIM without noise for v-prediction, zero terminal SNR, trailing timesteps (models/musepose.md section 7). All arithmetic in fp32.
class DdimSampler {
  public:
    DdimSampler(std::int64_t steps, const SchedulerConfig& config);

    /// What the denoiser is told. For some numbers of steps (61 is the first) the published range rounds to one more, the last of them -1.
    [[nodiscard]] const std::vector<std::int64_t>& timesteps() const { return timesteps_; }
    [[nodiscard]] const std::vector<float>& alphas_cumprod() const { return alphas_cumprod_; }
    [[nodiscard]] const std::vector<float>& betas() const { return betas_; }

    /// x_{t+1} from x_t and the guided prediction v; all fp32, elementwise: any subset of frames gives the same bits.
    [[nodiscard]] at::Tensor step(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const;

    /// The clean latents that x_t and v stand for.
    [[nodiscard]] at::Tensor predicted_clean(const at::Tensor& x, const at::Tensor& v, std::int64_t step) const;

  private:
    struct Coefficients {
        double signal;  ///< sqrt of the cumulated alpha
        double noise;   ///< sqrt of 1 less it
    };
    [[nodiscard]] Coefficients at_timestep(std::int64_t timestep) const;

    std::int64_t steps_;
    std::int64_t train_steps_;
    std::vector<float> betas_, alphas_cumprod_;
    std::vector<std::int64_t> timesteps_;
};

}  // namespace weft::model::musepose

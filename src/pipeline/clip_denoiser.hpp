#pragma once
#include "model/family.hpp"
#include "pipeline/denoiser.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <map>
#include <utility>

namespace weft::pipeline {

/// Latents of the clip and predictions of the running step on the device; passes are run by a model family.
class ClipDenoiser final : public Denoiser {
  public:
    /// `latents` [frames, channels, h, w] fp32 on the device, with the steps before the program's first complete.
    /// `guidance`: of the first and the last frame, linear between.
    ClipDenoiser(model::Family& family, const plan::Plan& plan, at::Tensor latents, std::array<double, 2> guidance);

    void compute(const plan::Task& task) override;
    void advance(const plan::Advance& advance) override;
    [[nodiscard]] std::vector<float> latents() const override;

    [[nodiscard]] const at::Tensor& device_latents() const { return latents_; }

  private:
    struct Prediction {
        std::array<at::Tensor, model::num_branches> branch;  ///< [frames of the slice, channels, h, w] fp32
    };
    /// Weighted mean of the slices' predictions for `frames`, summed in slice order.
    [[nodiscard]] at::Tensor blend(plan::Branch branch, plan::FrameRange frames) const;

    model::Family& family_;
    const plan::Plan& plan_;
    at::Tensor latents_;
    at::Tensor guidance_;  ///< [frames, 1, 1, 1]
    std::vector<float> slot_weights_;
    std::map<std::int64_t, Prediction> predictions_;                               ///< by slice, of the running step
    std::map<std::pair<std::int64_t, plan::Branch>, model::PassState> in_flight_;  ///< passes of which some units are done
};

}  // namespace weft::pipeline

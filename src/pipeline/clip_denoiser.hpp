#pragma once
#include "comm/pulse.hpp"
#include "model/family.hpp"
#include "pipeline/denoiser.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <map>
#include <vector>

namespace weft::pipeline {

/// This rank's share of the clip: the latents that its passes read, and the predictions that its frames wait for; passes are run by a model family.
class ClipDenoiser final : public Denoiser {
  public:
    /// `latents` [kept frames, channels, h, w] fp32 on the device, in the order of plan.kept(rank), with the steps before the program's first complete.
    /// `guidance`: of the first and the last frame, linear between. `pulse` hears of each unit.
    ClipDenoiser(model::Family& family, const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance, comm::Pulse& pulse);

    void compute(const plan::Task& task) override;
    void advance(const plan::Advance& advance) override;
    [[nodiscard]] comm::Buffer pack(const plan::Message& message) override;
    [[nodiscard]] comm::Buffer room(const plan::Message& message) override;
    void take(const plan::Message& message, const comm::Buffer& buffer) override;
    [[nodiscard]] comm::Buffer latents(const plan::FrameRanges& frames) const override;

    /// For benchmarks, which run passes that no step follows.
    void forget_predictions() { predictions_.clear(); }

    [[nodiscard]] const at::Tensor& kept_latents() const { return latents_; }

  private:
    /// A pass's output for some of its frames, until all of them that this rank owns are advanced.
    struct Prediction {
        plan::FrameRanges frames;
        at::Tensor rows;  ///< [frames, channels, h, w] in the network's type
        std::int64_t awaited = 0;
    };

    [[nodiscard]] std::int64_t owned_among(const plan::FrameRanges& frames) const;
    /// Rows of the kept latents, as views.
    void append_rows(std::vector<at::Tensor>& parts, plan::FrameRange frames) const;
    [[nodiscard]] at::Tensor gather(const plan::FrameRanges& frames) const;
    /// Weighted mean of the slices' predictions for `frames`, [frames, channels, h, w] fp32, summed in slice order.
    [[nodiscard]] at::Tensor blend(std::int64_t step, plan::Branch branch, plan::FrameRange frames) const;
    void add_prediction(const plan::Pass& pass, plan::FrameRanges frames, at::Tensor rows);
    void forget_advanced(const plan::Advance& advance);

    model::Family& family_;
    const plan::Plan& plan_;
    int rank_;
    comm::Pulse& pulse_;
    plan::FrameRanges kept_;
    at::Tensor latents_;
    at::Tensor guidance_;  ///< [latent frames, 1, 1, 1]
    std::vector<float> slot_weights_;
    std::map<plan::Pass, Prediction> predictions_;
    std::map<plan::Pass, model::PassState> in_flight_;                   ///< passes of which some units are done
    double begin_seconds_ = 0;                                           ///< of the newest pass's inputs, for the stall watch; 0: not yet known
    double gpu_seconds_ = 0;                                             ///< the same, of its wait for the GPU
    std::array<std::vector<double>, model::num_branches> unit_seconds_;  ///< of the newest pass, for the stall watch; 0: not yet known
};

}  // namespace weft::pipeline

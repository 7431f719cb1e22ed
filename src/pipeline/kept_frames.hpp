#pragma once
#include "plan/plan.hpp"
#include "plan/program.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

namespace weft::pipeline {

/// The frames of the clip that a rank keeps: the latents that its passes read and those that it owns, and the predictions that these wait for, of which the
/// weighted mean takes them on.
class KeptFrames {
  public:
    /// `latents` [kept frames, channels, h, w] fp32, in the order of plan.kept(rank). `guidance`: of the first and the last frame, linear between.
    KeptFrames(const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance);

    /// A pass's output for some of its frames, until all of them that this rank owns are advanced.
    struct Prediction {
        plan::FrameRanges frames;
        at::Tensor rows;  ///< [frames, channels, h, w] in the network's type
        std::int64_t awaited = 0;
    };

    [[nodiscard]] const at::Tensor& latents() const { return latents_; }
    /// Of frames that lie together here: a view.
    [[nodiscard]] at::Tensor latents(plan::FrameRange frames) const;
    /// Always a copy, in order.
    [[nodiscard]] at::Tensor gather(const plan::FrameRanges& frames) const;
    /// Of a slice, by slot.
    [[nodiscard]] at::Tensor gather(const plan::Slice& slice) const;
    /// Latents, `rows` [frames, channels, h, w] fp32, with so many steps complete.
    void put(const plan::FrameRanges& frames, const at::Tensor& rows, std::int64_t steps);

    /// So many steps are complete, of all frames; the first call counts.
    void begin_with(std::int64_t steps);
    [[nodiscard]] std::int64_t least_step() const;
    /// Whether all these frames are kept here, with so many steps complete.
    [[nodiscard]] bool are_behind(const std::vector<std::int64_t>& frames, std::int64_t steps) const;

    /// Of a pass that has run here; `rows` [slots, channels, h, w] in slot order.
    [[nodiscard]] Prediction prediction_of(const plan::Pass& pass, at::Tensor rows) const;
    /// The same of frames in their order.
    [[nodiscard]] Prediction prediction_of(plan::FrameRanges frames, at::Tensor rows) const;
    void add(const plan::Pass& pass, Prediction prediction);
    /// What a pass said of some frames: a copy.
    [[nodiscard]] at::Tensor prediction(const plan::Pass& pass, const plan::FrameRanges& frames) const;
    /// Weighted mean of the slices' predictions, summed in slice order, guided: [frames, channels, h, w] fp32.
    [[nodiscard]] at::Tensor guided_prediction(std::int64_t step, plan::FrameRange frames) const;
    /// The same frames in ranges that blending can hold in the caches of a CPU.
    [[nodiscard]] plan::FrameRanges some_at_a_time(const plan::FrameRanges& frames) const;

    /// Predictions that no frame here waits for go, but for those of passes in `but`.
    void forget_used(const std::set<plan::Pass>& but);
    /// These frames wait no more.
    void forget_advanced(const plan::Advance& advance, const std::set<plan::Pass>& but);
    void forget_predictions() { predictions_.clear(); }

  private:
    [[nodiscard]] at::Tensor blend(std::int64_t step, plan::Branch branch, plan::FrameRange frames) const;
    [[nodiscard]] std::int64_t owned_among(const plan::FrameRanges& frames) const;

    const plan::Plan& plan_;
    int rank_;
    plan::FrameRanges kept_;
    at::Tensor latents_;
    at::Tensor guidance_;                  ///< [latent frames, 1, 1, 1]
    std::vector<std::int64_t> row_steps_;  ///< of the kept latents: so many steps are complete
    std::map<plan::Pass, Prediction> predictions_;
};

}  // namespace weft::pipeline

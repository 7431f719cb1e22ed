#pragma once
#include "base/error.hpp"
#include "comm/pulse.hpp"
#include "model/family.hpp"
#include "pipeline/batches.hpp"
#include "pipeline/denoiser.hpp"
#include "pipeline/kept_frames.hpp"
#include "pipeline/staging.hpp"
#include "pipeline/trace.hpp"
#include "plan/rooms.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace weft::pipeline {

/// Loads a rank's units under the plan's choice; when memory runs out, once more with as little as keeps the bits.
void load_denoiser(model::Family& family, const plan::Plan& plan, int rank);

/// This rank's share of the clip: the frames that it keeps, and the slots of the routes that come by; units are run by a model family.
class ClipDenoiser final : public Denoiser {
  public:
    /// `latents` [kept frames, channels, h, w] fp32, in the order of plan.kept(rank), with the steps before the program's first complete: in the host's memory,
    /// so that the device's does not depend on the clip's length; on the device where they travel from there. Blending is done where they lie.
    /// `guidance`: of the first and the last frame, linear between. `pulse` hears of each piece, `trace` of its time. Slots are made at once and held.
    ClipDenoiser(model::Family& family, const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance, comm::Pulse& pulse, Trace& trace,
                 Travel travel = Travel::host);

    /// From now on passes of a step run side by side, as many as `batches` lets (numerics = "free").
    void run_side_by_side(Batches batches) { batches_ = std::move(batches); }

    void compute(const plan::Task& task) override;
    void advance(const plan::Advance& advance) override;
    [[nodiscard]] comm::Buffer pack(const plan::Message& message) override;
    [[nodiscard]] comm::Buffer room(const plan::Message& message) override;
    void take(const plan::Message& message, const comm::Buffer& buffer) override;
    [[nodiscard]] comm::Buffer latents(const plan::FrameRanges& frames) const override;

    /// For benchmarks, which run passes that no step follows.
    void forget_predictions() { frames_.forget_predictions(); }

    [[nodiscard]] const at::Tensor& kept_latents() const { return frames_.latents(); }

  private:
    /// Where a room's tensor stands while it travels, so that the pass can go and what is held does not depend on the links' speed.
    struct Outgoing {
        at::Tensor tensor;
        std::weak_ptr<void> travelling;  ///< expired when the last message has left
    };
    /// What passes leave here, or for others, on one route.
    struct Way {
        std::vector<plan::Room> rooms;
        std::vector<std::vector<at::Tensor>> slots;  ///< by room that ends here, by slot: [the room's slots, height, width, channels]
        std::vector<Outgoing> outgoing;              ///< by room that begins here and ends elsewhere
    };

    void make_slots();
    /// A task's pieces; what it leaves is in the state.
    [[nodiscard]] model::PassState run_pieces(const plan::Task& task, std::size_t leg);
    void compute_leg(const plan::Task& task);
    /// Passes of the same step that this rank runs whole and has not run yet, and that could run now: the given one first.
    [[nodiscard]] std::vector<plan::Pass> ready_with(const plan::Pass& pass) const;
    /// How many passes ran.
    std::int64_t compute_with_others(const plan::Pass& pass);
    [[nodiscard]] bool runs_whole_passes_only() const;
    void run_together(std::vector<plan::Pass> passes);
    [[nodiscard]] model::FrameSize frame_size(const plan::Room& room) const;
    [[nodiscard]] Way& way_of(const plan::Pass& pass) { return ways_.at(plan_.deal.route_index(pass.slice, pass.branch)); }
    /// The state in front of a task's first piece.
    [[nodiscard]] model::PassState state_of(const plan::Task& task, std::size_t leg);
    void await_departure(const Outgoing& outgoing, const std::string& what) const;
    /// Gives away what a task leaves for later legs.
    void leave(const plan::Task& task, std::size_t leg, model::PassState& state);
    [[nodiscard]] bool by_device(const plan::Message& message) const { return travel_ == Travel::device && plan::for_device(message); }
    [[nodiscard]] comm::Buffer sent(const plan::Message& message, const at::Tensor& tensor) const;
    [[nodiscard]] Error not_finite(const plan::Advance& advance) const;

    model::Family& family_;
    const plan::Plan& plan_;
    int rank_;
    comm::Pulse& pulse_;
    Trace& trace_;
    Travel travel_;
    KeptFrames frames_;
    std::optional<Batches> batches_;
    std::set<plan::Pass> ran_;                                            ///< side by side, of steps that are not complete here
    std::set<plan::Pass> ahead_;                                          ///< of these, whose turn has not come
    bool relieved_ = false;                                               ///< the family was, when memory ran out
    std::vector<Way> ways_;                                               ///< by route
    double begin_seconds_ = 0;                                            ///< of the newest pass's inputs, for the stall watch; 0: not yet known
    double gpu_seconds_ = 0;                                              ///< the same, of its wait for the GPU
    std::array<std::vector<double>, model::num_branches> piece_seconds_;  ///< of the newest pass, for the stall watch; 0: not yet known
};

}  // namespace weft::pipeline

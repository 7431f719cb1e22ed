#pragma once
#include "model/chunks.hpp"
#include "model/unit_form.hpp"
#include "model/weights.hpp"
#include "plan/slices.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::model {

/// What flows through the units of a pass, or of several passes of one step side by side: then each tensor holds the frames of the first, those of the second,
/// and so on. Tensors are channels-last, in the model's type.
struct PassState {
    std::vector<Branch> branches{Branch::conditional};  ///< of each pass
    at::Tensor silu_embedding;                          ///< SiLU of time and size embedding, [1, embedding]
    at::Tensor hidden;                                  ///< [frames, height, width, channels]
    at::Tensor partial;             ///< inside a unit that is not in place: the frames of its result so far, in a tensor for all; else undefined
    at::Tensor residual;            ///< inside a transformer: what its result is added to; else undefined
    std::vector<at::Tensor> skips;  ///< in the order in which the way down made them
    /// Pose features of the frames of some slots, added behind conv_in, [slots, height, width, channels]; none where the branch has none.
    std::function<at::Tensor(plan::FrameRange slots)> pose;
    Chunks chunks;
    /// The first skip does not wait on the stack, where an undefined tensor stands for it: its frames are made again when they are taken.
    bool remakes_first_skip = false;
    std::function<at::Tensor(plan::FrameRange slots)> first_skip;
    /// Where set: called with a transformer block's name and the input of its self-attention behind the norm, [frames, tokens, channels], chunk by chunk.
    std::function<void(const std::string& block, const at::Tensor& normed)> record_bank;

    [[nodiscard]] std::int64_t num_passes() const { return static_cast<std::int64_t>(branches.size()); }
    /// Frames of each pass.
    [[nodiscard]] std::int64_t num_frames() const { return hidden.size(0) / num_passes(); }
};

/// Passes of one step, each in front of its first unit, as one state.
[[nodiscard]] PassState side_by_side(std::vector<PassState> passes);

/// What is known of the reference once a clip and does not change from pass to pass.
struct Context {
    std::array<at::Tensor, num_branches> tokens;              ///< one [context] vector a branch
    const std::map<std::string, at::Tensor>* bank = nullptr;  ///< by transformer block: [tokens, channels], for families that have one
};

/// All frames of the state, by slot.
[[nodiscard]] inline plan::FrameRange all_slots(const PassState& state) {
    return {0, state.hidden.size(0)};
}

/// The tensors of a state that a pass may wait in between two pieces, skips apart: `tensor` of plan::Part.
enum class StateTensor : int { hidden = 0, partial = 1, residual = 2 };
[[nodiscard]] at::Tensor& tensor_of(PassState& state, StateTensor which);

/// A step of a denoiser, with its weights: the smallest part of it that is loaded by itself. What is cut further are its frames (UnitForm::cuttable).
class Unit {
  public:
    Unit(std::string name, UnitForm form) : name_{std::move(name)}, form_{form} {}
    virtual ~Unit() = default;
    Unit(const Unit&) = delete;
    Unit& operator=(const Unit&) = delete;

    /// The published key prefix and the unit's part in it: "down_blocks.0.resnets.1.temporal_res_block".
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] const UnitForm& form() const noexcept { return form_; }

    /// Takes the unit's weights, whatever other units have. `source` starts at the denoiser's root.
    virtual void bind(const Weights& source) = 0;

    /// Computes what follows from the context alone, and drops the weights that only it needed.
    virtual void set_context(const Weights& /*source*/, const Context& /*context*/) {}

    /// Drops what `bind` took. What set_context computed stays: once it is there, a unit may be bound and released as often as one likes.
    virtual void release() = 0;

    /// Computes the frames `slots` of the slice and leaves them in the state; work is queued on the current stream. Calls come in the order of frames, each
    /// from chunk border to chunk border, counted from frame 0 as Chunks::frames has them; a unit that is not cuttable takes all frames at once. Reads only
    /// what lay_out (pass_layout.hpp) says stands in front of that piece. Passes that run side by side are never cut.
    virtual void run(PassState& state, plan::FrameRange slots) const = 0;

  private:
    std::string name_;
    UnitForm form_;
};

using Units = std::vector<std::unique_ptr<Unit>>;

/// Runs all units on all frames.
void run_all(const Units& units, PassState& state);

}  // namespace weft::model

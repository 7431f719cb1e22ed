#pragma once
#include "model/weights.hpp"
#include "plan/plan.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weft::model {

using plan::Branch;
inline constexpr int num_branches = 2;

/// How many rows an operation takes at a time. Part of the numerics: how a product is chunked decides how it rounds.
struct Chunks {
    std::int64_t frame_rows = 16384;  ///< pixels of all frames in a chunk of a per-frame unit
    std::int64_t pixel_rows = 16384;  ///< the same, of a temporal unit, which takes some pixels of all frames

    [[nodiscard]] std::int64_t frames(std::int64_t pixels_a_frame) const { return std::max<std::int64_t>(1, frame_rows / pixels_a_frame); }
    [[nodiscard]] std::int64_t pixels(std::int64_t num_frames) const { return std::max<std::int64_t>(1, pixel_rows / num_frames); }
};

/// What flows through the units of one pass. Tensors are channels-last, in the model's type.
struct PassState {
    Branch branch = Branch::conditional;
    at::Tensor silu_embedding;      ///< SiLU of time and size embedding, [1, embedding]
    at::Tensor hidden;              ///< [frames, height, width, channels]
    at::Tensor residual;            ///< inside a transformer: what its result is added to; else undefined
    std::vector<at::Tensor> skips;  ///< in the order in which the way down made them
    at::Tensor pose;                ///< added behind conv_in, [frames, height, width, channels]; undefined in the unconditional branch
    Chunks chunks;
};

/// Which parts of a unit's work depend on each other, and so where it may be chunked or cut.
enum class Coupling { per_frame, per_pixel, whole };

/// The smallest splittable piece of a denoiser.
class Unit {
  public:
    Unit(std::string name, Coupling coupling) : name_{std::move(name)}, coupling_{coupling} {}
    virtual ~Unit() = default;
    Unit(const Unit&) = delete;
    Unit& operator=(const Unit&) = delete;

    /// The published key prefix and the unit's part in it: "down_blocks.0.resnets.1.temporal_res_block".
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] Coupling coupling() const noexcept { return coupling_; }

    /// Takes the unit's weights. `source` starts at the denoiser's root.
    virtual void bind(const Weights& source) = 0;

    /// Computes what follows from the one-token context alone, one [context] vector a branch, and drops the weights that only it needed.
    virtual void set_context(const Weights& /*source*/, const std::array<at::Tensor, num_branches>& /*context*/) {}

    /// Transforms the state in place; work is queued on the current stream.
    virtual void run(PassState& state) const = 0;

  private:
    std::string name_;
    Coupling coupling_;
};

using Units = std::vector<std::unique_ptr<Unit>>;

}  // namespace weft::model

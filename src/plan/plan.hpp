#pragma once
#include "base/settings.hpp"
#include "plan/slices.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

/// The job as plain values, made before anything runs: no Torch, no clock, no rank of its own.
namespace weft::plan {

enum class Branch : int { unconditional = 0, conditional = 1 };

/// One evaluation of the denoiser.
struct Pass {
    std::int64_t step = 0;
    std::int64_t slice = 0;
    Branch branch = Branch::conditional;
    [[nodiscard]] bool operator==(const Pass&) const = default;
};

/// Half open, over the denoiser's units in running order.
struct UnitRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    [[nodiscard]] bool operator==(const UnitRange&) const = default;
};

/// The one currency of the plan: some units of a pass, on a rank.
struct Task {
    Pass pass;
    UnitRange units;
    int rank = 0;
};

/// Run a task.
struct Compute {
    Task task;
};
/// The owner of these frames sums their contributions in slice order, guides, and steps them.
struct Advance {
    std::int64_t step = 0;
    FrameRange frames;
};
/// Latents of all frames with `steps_done` steps complete go to the run file.
struct Save {
    std::int64_t steps_done = 0;
};
using Operation = std::variant<Compute, Advance, Save>;

/// What one rank does, in order; frozen before the start.
using Program = std::vector<Operation>;

/// Sizes that the plan weighs, from the model's config.
struct ModelShape {
    std::int64_t latent_channels = 4;
    std::int64_t num_units = 0;
};

/// What plan and run file agree on.
struct Plan {
    std::int64_t num_frames = 0;  ///< with frame 0, the reference
    std::int64_t latent_channels = 4;
    std::int64_t latent_height = 0;
    std::int64_t latent_width = 0;
    Slices slices;
    bool guided = true;  ///< two branches a slice; otherwise the conditional one alone
    std::int64_t steps = 0;
    std::int64_t num_units = 0;
    std::vector<FrameRange> decode;

    [[nodiscard]] std::int64_t passes_a_step() const { return static_cast<std::int64_t>(slices.size()) * (guided ? 2 : 1); }
    [[nodiscard]] std::int64_t latent_bytes() const { return num_frames * latent_channels * latent_height * latent_width * 4; }
};

/// `num_poses`: pose frames after stride and limit; the clip has one frame more, the reference.
[[nodiscard]] Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape);

/// The whole program of a lone rank from `first_step` on.
[[nodiscard]] Program make_program(const Plan& plan, std::int64_t first_step);

/// For `weft plan` and for people: slices, passes, chunks, sizes.
[[nodiscard]] std::string describe(const Plan& plan);

/// The same as TOML, for the run file.
[[nodiscard]] std::string to_toml(const Plan& plan);

}  // namespace weft::plan

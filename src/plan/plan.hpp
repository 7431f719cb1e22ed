#pragma once
#include "base/settings.hpp"
#include "plan/deal.hpp"
#include "plan/pass.hpp"
#include "plan/program.hpp"
#include "plan/slices.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

/// The job as plain values, made before anything runs: no Torch, no clock, no rank of its own.
namespace weft::plan {

/// The rank that writes run file and film.
inline constexpr int writer = 0;

/// What the plan weighs, from the model's config and the device's types.
struct ModelShape {
    std::int64_t latent_channels = 4;
    std::int64_t num_units = 0;
    BranchCost pass_cost{1, 1};         ///< unconditional, conditional
    std::int64_t prediction_bytes = 4;  ///< of one element as it travels: the network's type
};

/// What ranks and run file agree on.
struct Plan {
    std::int64_t num_frames = 0;   ///< of the clip, with frame 0, the reference
    std::int64_t num_latents = 0;  ///< the same and the private anchors behind them
    std::int64_t latent_channels = 4;
    std::int64_t latent_height = 0;
    std::int64_t latent_width = 0;
    std::int64_t prediction_bytes = 4;
    Slices slices;
    bool guided = true;  ///< two branches a slice; otherwise the conditional one alone
    std::int64_t steps = 0;
    std::int64_t num_units = 0;
    BranchCost pass_cost{1, 1};
    Deal deal;
    std::vector<int> owner;          ///< latent frame -> rank of the conditional pass of the first slice that covers it
    std::vector<FrameRange> decode;  ///< chunks, in order
    std::vector<int> decoder;        ///< chunk -> rank

    [[nodiscard]] int num_ranks() const { return deal.num_ranks(); }
    [[nodiscard]] std::int64_t passes_a_step() const { return static_cast<std::int64_t>(slices.size()) * (guided ? 2 : 1); }
    [[nodiscard]] std::int64_t frame_elements() const { return latent_channels * latent_height * latent_width; }
    [[nodiscard]] std::int64_t latent_bytes() const { return num_latents * frame_elements() * 4; }

    /// The clip's frame that a latent frame stands for: itself, or 0 for a private anchor.
    [[nodiscard]] std::int64_t shown(std::int64_t latent) const { return latent < num_frames ? latent : 0; }
    /// Latent frames that passes of `rank` read; all frames that it owns are among them.
    [[nodiscard]] FrameRanges kept(int rank) const;
    /// Slices that cover a latent frame, ascending.
    [[nodiscard]] std::vector<std::int64_t> covering(std::int64_t latent) const;
};

/// `num_poses`: pose frames after stride and limit; the clip has one frame more, the reference.
[[nodiscard]] Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape, int num_ranks = 1);

/// Bytes a step from rank to rank by what they carry, as the programs send them (the last step, which feeds no pass, sends less).
struct LinkBytes {
    std::int64_t predictions = 0;
    std::int64_t latents = 0;
    std::int64_t saved = 0;
};
[[nodiscard]] std::map<std::pair<int, int>, LinkBytes> link_bytes(const Plan& plan);

/// For `weft plan` and for people: slices, passes, chunks, sizes; who does what, load bound, bytes per link where there are several ranks.
[[nodiscard]] std::string describe(const Plan& plan);

/// The same as TOML, for the run file.
[[nodiscard]] std::string to_toml(const Plan& plan);

}  // namespace weft::plan

#pragma once
#include "base/settings.hpp"
#include "plan/deal.hpp"
#include "plan/links.hpp"
#include "plan/memory_choice.hpp"
#include "plan/pass.hpp"
#include "plan/program.hpp"
#include "plan/slices.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// The job as plain values, made before anything runs: no Torch, no clock, no rank of its own.
namespace weft::plan {

/// The rank that writes run file and film.
inline constexpr int writer = 0;

/// Bytes of decoding, at most, by MemoryChoice::remake_in_decoder.
struct DecodeBytes {
    std::int64_t kept = 0, remade = 0;
    [[nodiscard]] std::int64_t of(const MemoryChoice& choice) const { return choice.remake_in_decoder ? remade : kept; }
};

/// What the plan weighs, from the model's config and the device's types.
struct ModelShape {
    std::int64_t latent_channels = 4;
    std::int64_t prediction_bytes = 4;  ///< of one element as it travels: the network's type
    PassShape pass = plain_shape(1);
    std::int64_t encode = 0;          ///< at most, by the encoders
    DecodeBytes decode, decode_last;  ///< of a chunk, and of the last one, which may be shorter
    MemoryChoice memory;              ///< that `pass` was told for
    bool on_gpu = false;
};

/// What a rank does next in the play.
enum class Order {
    pass,    ///< of the legs that are ready, the one of the smallest (step, place, leg)
    leg,     ///< the one of the smallest (leg, step, place)
    strict,  ///< the next one in the order of (step, place, leg), ready or not, when all of its own frames have been advanced to that step
};

/// How the tasks were dealt.
struct Layout {
    LayoutKind kind = LayoutKind::whole;  ///< never automatic
    int groups = 1;                       ///< of stages
    int stages = 1;                       ///< a group
    std::string map = "straight";         ///< of stages: "straight", "folded", or as the user gave it
    std::string reason;                   ///< of the choice, for people; "" where the user chose
    std::size_t passed_over = 0;          ///< layouts that hold more than the budget
};

/// What ranks and run file agree on.
struct Plan {
    std::int64_t num_frames = 0;     ///< of the clip, with MimicMotion's frame 0, the reference
    std::int64_t hidden_frames = 1;  ///< in front of the film and not shown: the reference; MusePose has none
    std::int64_t num_latents = 0;    ///< the same, and behind them private anchors or repeats of the last frame
    std::int64_t latent_channels = 4;
    std::int64_t latent_height = 0;
    std::int64_t latent_width = 0;
    std::int64_t prediction_bytes = 4;
    Slices slices;
    std::vector<float> slot_weights;  ///< by which a slice's predictions are averaged with those of its neighbours
    bool guided = true;               ///< two branches a slice; otherwise the conditional one alone
    std::int64_t steps = 0;
    PassShape shape;
    MemoryChoice memory;
    std::int64_t encode = 0;  ///< ModelShape's, as are the next two
    DecodeBytes decode_chunk, decode_last;
    bool on_gpu = false;
    bool latents_on_device = false;  ///< as where they travel from GPU to GPU; else in the host's memory
    Links links;
    Layout layout;
    Order order = Order::pass;
    Deal deal;
    std::vector<int> owner;          ///< latent frame -> rank of the last piece of the conditional pass of the first slice that covers it
    std::vector<FrameRange> decode;  ///< chunks, in order
    std::vector<int> decoder;        ///< chunk -> rank

    [[nodiscard]] int num_ranks() const { return deal.num_ranks(); }
    [[nodiscard]] std::int64_t num_slices() const { return static_cast<std::int64_t>(slices.size()); }
    [[nodiscard]] std::int64_t passes_a_step() const { return num_slices() * (guided ? 2 : 1); }
    [[nodiscard]] std::int64_t frame_elements() const { return latent_channels * latent_height * latent_width; }
    [[nodiscard]] std::int64_t latent_bytes() const { return num_latents * frame_elements() * 4; }

    [[nodiscard]] std::int64_t num_poses() const { return num_frames - hidden_frames; }
    /// The clip's frame that a latent frame stands for: itself; 0 for a private anchor; the last for a repeat.
    [[nodiscard]] std::int64_t shown(std::int64_t latent) const { return latent < num_frames ? latent : hidden_frames > 0 ? 0 : num_frames - 1; }
    /// Latent frames that passes begin with at `rank`.
    [[nodiscard]] FrameRanges read(int rank) const;
    /// The same and those that the rank owns: latents that it keeps.
    [[nodiscard]] FrameRanges kept(int rank) const;
    /// Slices that cover a latent frame, ascending.
    [[nodiscard]] std::vector<std::int64_t> covering(std::int64_t latent) const;
};

/// Frames of a clip of so many poses: with the reference, where that is one.
[[nodiscard]] std::int64_t frames_of(const Settings& settings, std::int64_t num_poses);

/// Frames of each slice of a clip of so many poses: what a model's pass shape is made for.
[[nodiscard]] std::int64_t slots_of(const Settings& settings, std::int64_t num_poses);

/// `num_poses`: pose frames after stride and limit; MimicMotion's clip has one frame more, the reference. `settings.layout` says how tasks are dealt; "auto" is
/// the one that takes least time by `shape.pass` and `links`, where several are within half a percent the one that moves fewest bytes. Refuses (exit code 2) a
/// layout that the ranks or the pieces of a pass do not allow.
/// `budget`: layouts of which a rank holds more (memory.hpp) are passed over; where all do, the one that holds least is taken.
[[nodiscard]] Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape, int num_ranks = 1, const Links& links = {},
                             std::optional<std::int64_t> budget = std::nullopt);

/// The same for slices made by someone else; their frames are 0 to num_latents - 1.
[[nodiscard]] Plan make_plan(const Settings& settings, Slices slices, std::int64_t num_frames, std::int64_t num_latents, const ModelShape& shape, int num_ranks,
                             const Links& links, std::optional<std::int64_t> budget = std::nullopt);

/// Bytes a step from rank to rank by what they carry, as the programs send them (the last step, which feeds no pass, sends less).
struct LinkBytes {
    std::int64_t predictions = 0;
    std::int64_t latents = 0;
    std::int64_t saved = 0;
    std::int64_t states = 0;
    std::int64_t skips = 0;
    [[nodiscard]] std::int64_t sum() const { return predictions + latents + saved + states + skips; }
};
[[nodiscard]] std::map<std::pair<int, int>, LinkBytes> link_bytes(const Plan& plan);

/// Bytes that a rank holds while it denoises, operators' scratch and the activations of the running unit apart.
struct RankBytes {
    std::int64_t weights = 0;
    std::int64_t slots = 0;    ///< what passes leave here for later legs: slot_bytes()
    std::int64_t latents = 0;  ///< kept
    [[nodiscard]] std::int64_t sum() const { return weights + slots + latents; }
};
[[nodiscard]] RankBytes rank_bytes(const Plan& plan, int rank);

/// For `weft plan` and for people: slices, passes, chunks, sizes; who does what, load bound, bytes per link where there are several ranks.
[[nodiscard]] std::string describe(const Plan& plan);

/// "whole passes", with the reason where it was chosen.
[[nodiscard]] std::string layout_text(const Plan& plan);

/// The same as TOML, for the run file.
[[nodiscard]] std::string to_toml(const Plan& plan);

}  // namespace weft::plan

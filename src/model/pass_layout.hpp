#pragma once
#include "model/unit.hpp"
#include "plan/shape.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace weft::model {

/// Of one frame of a tensor [frames, height, width, channels].
struct FrameSize {
    std::int64_t height = 0;
    std::int64_t width = 0;
    std::int64_t channels = 0;
    [[nodiscard]] bool operator==(const FrameSize&) const = default;
};

/// The pieces of a pass as the plan sees them, and beside them the sizes that tensors are made by. Every tensor holds all frames of the slice, whichever of
/// them travel: rows then lie where they lie in a pass that is not cut, and give the same bits.
struct PassLayout {
    plan::PassShape shape;
    std::vector<std::vector<FrameSize>> state;  ///< by piece, in the order of its `state`
    std::vector<FrameSize> skips;               ///< in the order of shape.skips
};

/// A unit as lay_out sees it.
struct UnitSketch {
    std::string name;
    UnitForm form;
    std::int64_t weight_bytes = 0;  ///< that it holds while it is loaded
};

/// What a pass is laid out for.
struct PassSize {
    std::int64_t frames = 0;             ///< of a slice
    std::int64_t height = 0, width = 0;  ///< of the latents
    std::int64_t element_bytes = 4;      ///< of an activation
};

inline constexpr std::int64_t most_pieces = 8;  ///< of a unit

/// Cuts the units into pieces: a cuttable one between chunks of frames, into `most_pieces` at most, the chunks shared out evenly. In front of a piece inside
/// a unit, from frame f on, stand: where the result is a new tensor, hidden from f on and partial up to f; where a transformer opens, hidden up to f and
/// the residual; where one closes, hidden from f on and the residual; else hidden, and inside a transformer the residual.
[[nodiscard]] PassLayout lay_out(std::span<const UnitSketch> units, const PassSize& size, const Chunks& chunks, double flops_per_second,
                                 std::int64_t shared_weight_bytes);

/// A unit as its network describes it. `unit` is bound to placeholders and must not be run afterwards.
[[nodiscard]] UnitSketch sketch_of(Unit& unit, std::int64_t element_bytes);

}  // namespace weft::model

#pragma once
#include "plan/deal.hpp"

#include <cstdint>
#include <vector>

/// What a pass leaves at the ranks that it flows over.
namespace weft::plan {

/// Room for some frames of a tensor that a leg of a pass leaves for a later one.
struct Room {
    enum class Content : int {
        state,  ///< a part of the hidden state in front of piece `item`
        skip,   ///< skip `item`
    };
    Content content = Content::state;
    std::int64_t item = 0;
    int tensor = 0;    ///< of a state
    FrameRange slots;  ///< frames of the slice, by slot
    std::int64_t bytes = 0;
    std::size_t from_leg = 0, to_leg = 0;
    int from = 0, to = 0;  ///< ranks; the same where a skip waits between two visits
    [[nodiscard]] bool operator==(const Room&) const = default;
};

/// All that moves or waits between the legs of a route, in the order in which it is left: leg by leg, a leg's state before its skips.
[[nodiscard]] std::vector<Room> rooms_of(const PassShape& shape, const Route& route);

/// Bytes of the hidden state in front of a piece.
[[nodiscard]] std::int64_t state_bytes(const PassShape& shape, std::int64_t piece);

/// Frames of a skip, by slot, that some of the pieces take.
[[nodiscard]] FrameRange slots_taken(const PassShape& shape, const Skip& skip, PieceRange pieces);

/// Bytes that wait in front of a piece: what moves if the pass is cut there and nowhere else.
[[nodiscard]] std::int64_t bytes_across(const PassShape& shape, std::int64_t piece);

/// Room of all slots of all routes at a rank, and, once a route, for what leaves it for other ranks.
[[nodiscard]] std::int64_t slot_bytes(const PassShape& shape, const Deal& deal, int rank);

}  // namespace weft::plan

#include "plan/rooms.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"

#include <algorithm>
#include <numeric>

namespace weft::plan {

FrameRange slots_taken(const PassShape& shape, const Skip& skip, PieceRange pieces) {
    const auto begin = std::max(pieces.begin, skip.used_by.begin), end = std::min(pieces.end, skip.used_by.end);
    if (begin >= end) return {0, 0};
    return {shape.pieces[index(begin)].slots.begin, shape.pieces[index(end - 1)].slots.end};
}

std::int64_t state_bytes(const PassShape& shape, std::int64_t piece) {
    const auto& state = shape.pieces.at(index(piece)).state;
    return std::accumulate(state.begin(), state.end(), std::int64_t{0}, [](std::int64_t sum, const Part& part) { return sum + part.bytes(); });
}

std::vector<Room> rooms_of(const PassShape& shape, const Route& route) {
    std::vector<Room> rooms;
    for (std::size_t leg = 0; leg + 1 < route.legs.size(); ++leg) {
        const auto& from = route.legs[leg];
        const auto& next = route.legs[leg + 1];
        ensure(from.pieces.end == next.pieces.begin && from.rank != next.rank, "legs follow each other on different ranks");
        const auto& state = shape.pieces.at(static_cast<std::size_t>(next.pieces.begin)).state;
        ensure(!state.empty(), "a pass is cut where the model says what waits there");
        for (const auto& part : state)
            rooms.push_back({Room::Content::state, next.pieces.begin, part.tensor, part.slots, part.bytes(), leg, leg + 1, from.rank, next.rank});
        for (std::size_t skip = 0; skip < shape.skips.size(); ++skip) {
            const auto& one = shape.skips[skip];
            if (one.made_by < from.pieces.begin || one.made_by >= from.pieces.end) continue;
            for (auto later = leg + 1; later < route.legs.size(); ++later) {
                const auto& to = route.legs[later];
                const auto slots = slots_taken(shape, one, to.pieces);
                if (slots.size() == 0) continue;
                rooms.push_back(
                    {Room::Content::skip, static_cast<std::int64_t>(skip), 0, slots, slots.size() * one.slot_bytes, leg, later, from.rank, to.rank});
            }
        }
    }
    return rooms;
}

std::int64_t bytes_across(const PassShape& shape, std::int64_t piece) {
    auto bytes = state_bytes(shape, piece);
    for (const auto& skip : shape.skips)
        if (skip.made_by < piece && piece < skip.used_by.end) bytes += slots_taken(shape, skip, {piece, skip.used_by.end}).size() * skip.slot_bytes;
    return bytes;
}

std::int64_t slot_bytes(const PassShape& shape, const Deal& deal, int rank) {
    std::int64_t bytes = 0;
    for (const auto& route : deal.routes())
        for (const auto& room : rooms_of(shape, route))
            if (room.to == rank)
                bytes += room.bytes * route.slots;
            else if (room.from == rank)
                bytes += room.bytes;
    return bytes;
}

}  // namespace weft::plan

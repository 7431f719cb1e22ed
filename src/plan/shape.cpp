#include "plan/shape.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

namespace weft::plan {

BranchCost PassShape::cost(PieceRange range) const {
    BranchCost sum{0, 0};
    for (auto piece = range.begin; piece < range.end; ++piece)
        for (const std::size_t branch : {0U, 1U}) sum[branch] += pieces.at(static_cast<std::size_t>(piece)).cost[branch];
    return sum;
}

std::vector<bool> PassShape::units_of(const std::vector<PieceRange>& ranges) const {
    std::vector<bool> held(units.size());
    for (const auto& range : ranges)
        for (auto piece = range.begin; piece < range.end; ++piece) held.at(static_cast<std::size_t>(pieces.at(static_cast<std::size_t>(piece)).unit)) = true;
    return held;
}

std::int64_t PassShape::kept_bytes(const std::vector<PieceRange>& ranges) const {
    const auto held = units_of(ranges);
    std::int64_t bytes = ranges.empty() ? 0 : shared_weight_bytes;
    for (std::size_t unit = 0; unit < units.size(); ++unit) bytes += held[unit] ? units[unit].kept_bytes : 0;
    return bytes;
}

std::int64_t PassShape::weight_bytes(const std::vector<PieceRange>& ranges) const {
    const auto held = units_of(ranges);
    auto bytes = kept_bytes(ranges);
    for (std::size_t unit = 0; unit < units.size(); ++unit) bytes += held[unit] ? units[unit].weight_bytes : 0;
    return bytes;
}

PassShape plain_shape(std::int64_t num_pieces, BranchCost pass_cost) {
    ensure(num_pieces >= 1, "a pass has a piece");
    PassShape shape;
    shape.num_slots = 1;
    for (std::int64_t piece = 0; piece < num_pieces; ++piece) {
        const auto share = [&](std::int64_t all) { return all * (piece + 1) / num_pieces - all * piece / num_pieces; };
        shape.units.push_back({cat("unit ", piece), 0});
        shape.pieces.push_back({piece, {0, 1}, {share(pass_cost[0]), share(pass_cost[1])}, {}});
    }
    return shape;
}

}  // namespace weft::plan

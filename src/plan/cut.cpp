#include "plan/deal.hpp"
#include "plan/rooms.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace weft::plan {

namespace {

constexpr double slack = 1.003;            // of the busiest rank's load, given for cuts that move less
constexpr std::int64_t least_share = 200;  // less than a 200th of a pass is not worth a cut

struct Filling {
    Deal deal;
    bool fits = false;
};

/// Where the tail of a pass begins that costs at most `room`: the border that moves fewest bytes among those whose tail costs at least `least` too, else the
/// one with the largest tail. The number of pieces where not even one fits.
std::int64_t tail_begin(const PassShape& shape, Branch branch, const std::vector<std::int64_t>& cut_bytes, std::int64_t room, std::int64_t least) {
    std::int64_t tail = 0;
    auto best = shape.num_pieces();
    for (auto piece = shape.num_pieces() - 1; piece > 0; --piece) {
        tail += shape.pieces[static_cast<std::size_t>(piece)].cost[static_cast<std::size_t>(branch)];
        if (tail > room) break;
        const auto bytes = [&](std::int64_t border) { return cut_bytes[static_cast<std::size_t>(border)]; };
        if (tail < least || best == shape.num_pieces() || bytes(piece) <= bytes(best)) best = piece;
    }
    return best;
}

/// Deals with at most `limit` a rank. Where a rank has room up to `aim`, the next pass is cut; the cut may leave what lies between aim and limit unused.
Filling fill(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks, std::int64_t aim, std::int64_t limit) {
    Filling filling{Deal(num_slices, guided, num_ranks), true};
    std::vector<std::int64_t> cut_bytes(static_cast<std::size_t>(shape.num_pieces()), 0);
    for (std::int64_t border = 1; border < shape.num_pieces(); ++border) cut_bytes[static_cast<std::size_t>(border)] = bytes_across(shape, border);
    const auto cost = shape.cost();
    int rank = 0;
    std::int64_t load = 0;
    for (std::int64_t slice = 0; slice < num_slices; ++slice)
        for (const auto branch : filling.deal.branches()) {
            const auto whole = cost[static_cast<std::size_t>(branch)];
            if (load + whole <= limit) {
                filling.deal.set(slice, branch, rank, shape.num_pieces());
                load += whole;
                continue;
            }
            if (rank + 1 == num_ranks) return {std::move(filling.deal), false};
            if (aim - load < whole / least_share) {
                filling.deal.set(slice, branch, ++rank, shape.num_pieces());
                load = whole;
                continue;
            }
            const auto border = tail_begin(shape, branch, cut_bytes, limit - load, aim - load - (limit - aim));
            filling.deal.set(slice, branch, route_of({{{0, border}, rank + 1}, {{border, shape.num_pieces()}, rank}}, 1));
            load = shape.cost({0, border})[static_cast<std::size_t>(branch)];
            ++rank;
        }
    return filling;
}

}  // namespace

Deal deal_cut_passes(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks, double room) {
    ensure(num_slices >= 1 && num_ranks >= 1, "dealing needs slices and ranks");
    const auto cost = shape.cost();
    const auto passes = num_slices * (guided ? 2 : 1);
    const auto busy = static_cast<int>(std::min<std::int64_t>(num_ranks, passes));
    const auto all = num_slices * (cost[1] + (guided ? cost[0] : 0));
    auto too_small = std::max((all + busy - 1) / busy, guided ? std::max(cost[0], cost[1]) : cost[1]) - 1;
    auto enough = 2 * (too_small + 1);
    while (!fill(num_slices, guided, shape, busy, enough, enough).fits) enough *= 2;
    while (enough - too_small > std::max<std::int64_t>(1, enough / 100000)) {
        const auto middle = too_small + (enough - too_small) / 2;
        (fill(num_slices, guided, shape, busy, middle, middle).fits ? enough : too_small) = middle;
    }
    enough = static_cast<std::int64_t>(static_cast<double>(enough) * room);
    const auto limit = static_cast<std::int64_t>(static_cast<double>(enough) * slack);
    auto dealt = fill(num_slices, guided, shape, busy, enough, limit);
    if (!dealt.fits) dealt = fill(num_slices, guided, shape, busy, enough, enough);
    Deal deal(num_slices, guided, num_ranks);  // ranks beyond the passes idle
    for (std::int64_t slice = 0; slice < num_slices; ++slice)
        for (const auto branch : deal.branches()) deal.set(slice, branch, dealt.deal.route(slice, branch));
    return deal;
}

}  // namespace weft::plan

#include "plan/deal.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

namespace weft::plan {

std::size_t Route::leg_of(std::int64_t piece) const {
    const auto found = std::find_if(legs.begin(), legs.end(), [piece](const Leg& leg) { return leg.pieces.begin <= piece && piece < leg.pieces.end; });
    ensure(found != legs.end(), "a route runs every piece");
    return static_cast<std::size_t>(found - legs.begin());
}

Route route_of(std::vector<Leg> legs, std::int64_t slots) {
    Route route{{}, slots};
    for (const auto& leg : legs) {
        if (leg.pieces.size() == 0) continue;
        if (!route.legs.empty() && route.legs.back().rank == leg.rank)
            route.legs.back().pieces.end = leg.pieces.end;
        else
            route.legs.push_back(leg);
    }
    return route;
}

Deal::Deal(std::int64_t num_slices, bool guided, int num_ranks) : index_(index(num_slices), {0, 0}), guided_{guided}, num_ranks_{num_ranks} {}

std::size_t Deal::route_index(std::int64_t slice, Branch branch) const {
    ensure(guided_ || branch == Branch::conditional, "without guidance only the conditional branch runs");
    return index_.at(index(slice))[index(branch)];
}

void Deal::set(std::int64_t slice, Branch branch, const Route& route) {
    ensure(!route.legs.empty(), "a pass runs somewhere");
    for (const auto& leg : route.legs) ensure(leg.rank >= 0 && leg.rank < num_ranks_, "a pass is dealt to some of the ranks");
    const auto found = std::find(routes_.begin(), routes_.end(), route);
    index_.at(index(slice))[index(branch)] = static_cast<std::size_t>(found - routes_.begin());
    if (found == routes_.end()) routes_.push_back(route);
}

std::vector<Branch> Deal::branches() const {
    if (guided_) return {Branch::conditional, Branch::unconditional};
    return {Branch::conditional};
}

std::vector<std::int64_t> Deal::loads(const PassShape& shape) const {
    std::vector<std::int64_t> loads(index(num_ranks_), 0);
    std::vector<std::array<std::int64_t, 2>> passes(routes_.size(), {0, 0});  // by route and branch
    for (const auto& routes : index_)
        for (const auto branch : branches()) ++passes[routes[index(branch)]][index(branch)];
    for (std::size_t r = 0; r < routes_.size(); ++r)
        for (const auto& leg : routes_[r].legs) {
            const auto cost = shape.cost(leg.pieces);
            loads[index(leg.rank)] += passes[r][0] * cost[0] + passes[r][1] * cost[1];
        }
    return loads;
}

double Deal::load_bound(const PassShape& shape) const {
    const auto each = loads(shape);
    const auto sum = std::accumulate(each.begin(), each.end(), std::int64_t{0});
    return static_cast<double>(sum) / (static_cast<double>(num_ranks_) * static_cast<double>(*std::max_element(each.begin(), each.end())));
}

std::vector<PieceRange> Deal::pieces_of(int rank) const {
    std::vector<PieceRange> all;
    for (const auto& route : routes_)
        for (const auto& leg : route.legs)
            if (leg.rank == rank) all.push_back(leg.pieces);
    std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.begin < b.begin; });
    std::vector<PieceRange> joined;
    for (const auto& range : all) {
        if (!joined.empty() && range.begin <= joined.back().end)
            joined.back().end = std::max(joined.back().end, range.end);
        else
            joined.push_back(range);
    }
    return joined;
}

// How whole passes are dealt. Only numbers matter at first: a rank holds `whole` slices, both branches of each, and besides them passes of split slices. Those
// are of one branch: a rank with the unconditional pass of one split slice and the conditional one of another would trade one of them for the missing half of
// the other, at no cost, and a slice less would be split. So some n ranks take the unconditional halves, the others the conditional ones, and the two groups
// meet only in two numbers: the slices split, and those left to be whole. Each group is a small table; a largest load X is possible if some n and some
// number of split slices fit, and X is found by bisection.
namespace {

struct Share {
    std::int64_t whole = 0;
    std::array<std::int64_t, 2> halves{0, 0};
    [[nodiscard]] std::int64_t load(const BranchCost& cost) const { return whole * (cost[0] + cost[1]) + halves[0] * cost[0] + halves[1] * cost[1]; }
};

/// What is best: more whole slices; then halves spread thinly (least sum of squares), so that few ranks share slices with more than their neighbours.
using Worth = std::pair<std::int64_t, std::int64_t>;
constexpr Worth impossible{-1, 0};

/// How many slices n ranks can hold whole besides `halves` passes of one branch, when none may exceed `limit`.
class Group {
  public:
    Group(std::int64_t half_cost, std::int64_t slice_cost, std::int64_t limit, std::int64_t num_ranks, std::int64_t max_halves)
        : half_cost_{half_cost}, slice_cost_{slice_cost}, limit_{limit}, width_{max_halves + 1}, best_(index((num_ranks + 1) * width_), impossible) {
        best_[0] = {0, 0};
        for (std::int64_t n = 1; n <= num_ranks; ++n)
            for (std::int64_t halves = 0; halves <= max_halves; ++halves) best_[place(n, halves)] = best_choice(n, halves).first;
    }

    [[nodiscard]] Worth best(std::int64_t n, std::int64_t halves) const { return best_[place(n, halves)]; }

    /// (whole, halves) of each of the n ranks.
    [[nodiscard]] std::vector<std::pair<std::int64_t, std::int64_t>> shares(std::int64_t n, std::int64_t halves) const {
        std::vector<std::pair<std::int64_t, std::int64_t>> shares;
        for (; n > 0; --n) {
            const auto mine = best_choice(n, halves).second;
            shares.emplace_back(whole_beside(mine), mine);
            halves -= mine;
        }
        return shares;
    }

  private:
    [[nodiscard]] std::size_t place(std::int64_t n, std::int64_t halves) const { return index(n * width_ + halves); }
    [[nodiscard]] std::int64_t whole_beside(std::int64_t halves) const { return (limit_ - halves * half_cost_) / slice_cost_; }

    /// The n-th rank's best number of halves, after what n - 1 ranks do with the rest.
    [[nodiscard]] std::pair<Worth, std::int64_t> best_choice(std::int64_t n, std::int64_t halves) const {
        std::pair<Worth, std::int64_t> best{impossible, 0};
        const auto most = std::min(halves, limit_ / half_cost_);
        for (std::int64_t mine = 0; mine <= most; ++mine) {
            const auto& rest = best_[place(n - 1, halves - mine)];
            if (rest == impossible) continue;
            const Worth worth{rest.first + whole_beside(mine), rest.second - mine * mine};
            if (worth > best.first) best = {worth, mine};
        }
        return best;
    }

    std::int64_t half_cost_, slice_cost_, limit_, width_;
    std::vector<Worth> best_;
};

/// Shares of at most `limit` each, with as few split slices as possible; nothing when `limit` is too small.
std::optional<std::vector<Share>> fit(std::int64_t num_slices, const BranchCost& cost, std::int64_t num_ranks, std::int64_t limit) {
    const auto slice_cost = cost[0] + cost[1];
    const std::array<Group, 2> groups{Group(cost[0], slice_cost, limit, num_ranks, num_slices), Group(cost[1], slice_cost, limit, num_ranks, num_slices)};
    for (std::int64_t split = 0; split <= num_slices; ++split) {
        Worth best = impossible;
        std::int64_t with_unconditional = 0;
        for (std::int64_t n = 0; n <= num_ranks; ++n) {
            const auto left = groups[0].best(n, split), right = groups[1].best(num_ranks - n, split);
            if (left == impossible || right == impossible) continue;
            const Worth both{left.first + right.first, left.second + right.second};
            if (both > best) {
                best = both;
                with_unconditional = n;
            }
        }
        if (best.first < num_slices - split) continue;
        std::vector<Share> shares;
        for (const auto& [whole, halves] : groups[0].shares(with_unconditional, split)) shares.push_back({whole, {halves, 0}});
        for (const auto& [whole, halves] : groups[1].shares(num_ranks - with_unconditional, split)) shares.push_back({whole, {0, halves}});
        for (auto surplus = best.first - (num_slices - split); surplus > 0; --surplus) {
            const auto load = [&cost](const Share& share) { return share.whole > 0 ? share.load(cost) : -1; };
            --std::max_element(shares.begin(), shares.end(), [&load](const Share& a, const Share& b) { return load(a) < load(b); })->whole;
        }
        return shares;
    }
    return std::nullopt;
}

std::vector<Share> shares_of(std::int64_t num_slices, const BranchCost& cost, std::int64_t num_ranks) {
    const auto dearest = std::max(cost[0], cost[1]);
    auto too_small = std::max((num_slices * (cost[0] + cost[1]) + num_ranks - 1) / num_ranks, dearest) - 1;
    auto enough = too_small + dearest;  // whoever takes each pass in turn where the load is least stays below this
    while (enough - too_small > 1) {
        const auto middle = too_small + (enough - too_small) / 2;
        (fit(num_slices, cost, num_ranks, middle) ? enough : too_small) = middle;
    }
    auto shares = fit(num_slices, cost, num_ranks, enough);
    ensure(shares.has_value(), "dealing passes one by one to the least busy rank keeps below the upper bound");
    return *std::move(shares);
}

/// `count` slices whose branches two shares have.
struct Split {
    std::array<std::size_t, 2> shares;
    std::int64_t count;
};

/// Who splits slices with whom: both sides in order of their halves, each filled from the next of the other. Consecutive entries have a share in common
/// until both are exhausted at once.
std::vector<Split> pair_up(const std::vector<Share>& shares) {
    std::array<std::vector<std::size_t>, 2> sides;
    std::array<std::vector<std::int64_t>, 2> left;
    for (const std::size_t side : {0U, 1U}) {
        for (std::size_t i = 0; i < shares.size(); ++i)
            if (shares[i].halves[side] > 0) sides[side].push_back(i);
        std::stable_sort(sides[side].begin(), sides[side].end(), [&](auto a, auto b) { return shares[a].halves[side] > shares[b].halves[side]; });
        for (const auto i : sides[side]) left[side].push_back(shares[i].halves[side]);
    }
    std::vector<Split> splits;
    for (std::size_t i = 0, j = 0; i < sides[0].size() && j < sides[1].size();) {
        const auto both = std::min(left[0][i], left[1][j]);
        splits.push_back({{sides[0][i], sides[1][j]}, both});
        left[0][i] -= both;
        left[1][j] -= both;
        const bool next_left = left[0][i] == 0, next_right = left[1][j] == 0;
        i += next_left ? 1 : 0;
        j += next_right ? 1 : 0;
    }
    return splits;
}

/// Shares in the order of their ranks: the lighter first, since rank 0 has the run file to write besides; then those that split slices, partners side by side;
/// the idle last.
std::vector<std::size_t> order_of(const std::vector<Share>& shares, const std::vector<Split>& splits) {
    std::vector<std::size_t> order;
    std::vector<bool> placed(shares.size(), false);
    const auto place = [&](std::size_t i) {
        if (!placed[i]) order.push_back(i);
        placed[i] = true;
    };
    for (std::size_t i = 0; i < shares.size(); ++i)
        if (shares[i].whole > 0 && shares[i].halves == std::array<std::int64_t, 2>{0, 0}) place(i);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return shares[a].whole < shares[b].whole; });
    for (std::size_t k = 0; k < splits.size(); ++k) {
        const auto& [unconditional, conditional] = splits[k].shares;
        const bool goes_on_with_conditional = k + 1 < splits.size() && splits[k + 1].shares[1] == conditional;
        place(goes_on_with_conditional ? unconditional : conditional);
        place(goes_on_with_conditional ? conditional : unconditional);
    }
    return order;
}

}  // namespace

namespace {

/// Measured costs in parts of the dearer branch: a split slice is not worth a thousandth of a pass.
BranchCost without_noise(BranchCost cost) {
    constexpr std::int64_t parts = 200;
    const auto most = std::max(cost[0], cost[1]);
    if (most <= 100 * parts) return cost;
    for (auto& one : cost) one = std::max<std::int64_t>(1, (one * parts + most / 2) / most);
    return cost;
}

}  // namespace

Deal deal_whole_passes(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks) {
    const auto cost = without_noise(shape.cost());
    ensure(num_slices >= 1 && num_ranks >= 1 && cost[0] >= 1 && cost[1] >= 1, "dealing needs slices, ranks, and passes that cost something");
    Deal deal(num_slices, guided, num_ranks);
    std::vector<Share> shares;
    if (guided) {
        const auto unit = std::gcd(cost[0], cost[1]);
        shares = shares_of(num_slices, {cost[0] / unit, cost[1] / unit}, std::min<std::int64_t>(num_ranks, 2 * num_slices));
    } else {
        const auto busy = std::min<std::int64_t>(num_ranks, num_slices);
        for (std::int64_t i = 0; i < busy; ++i) shares.push_back({num_slices * (i + 1) / busy - num_slices * i / busy});
    }

    const auto splits = pair_up(shares);
    const auto order = order_of(shares, splits);
    std::vector<int> rank_of(shares.size(), -1);
    for (std::size_t rank = 0; rank < order.size(); ++rank) rank_of[order[rank]] = static_cast<int>(rank);

    std::int64_t slice = 0;
    const auto deal_next = [&](int unconditional, int conditional) {
        if (guided) deal.set(slice, Branch::unconditional, unconditional, shape.num_pieces());
        deal.set(slice++, Branch::conditional, conditional, shape.num_pieces());
    };
    for (const auto mine : order) {
        for (std::int64_t i = 0; i < shares[mine].whole; ++i) deal_next(rank_of[mine], rank_of[mine]);
        for (const auto& split : splits) {  // with the ranks that follow
            const auto unconditional = rank_of[split.shares[0]], conditional = rank_of[split.shares[1]];
            if (std::min(unconditional, conditional) != rank_of[mine]) continue;
            for (std::int64_t i = 0; i < split.count; ++i) deal_next(unconditional, conditional);
        }
    }
    ensure(slice == num_slices, "every slice is dealt once");
    return deal;
}

}  // namespace weft::plan

#include "plan/deal.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <random>
#include <set>
#include <utility>

namespace weft::plan {

namespace {

Deal dealt(std::int64_t num_slices, bool guided, const BranchCost& cost, int num_ranks) {
    return deal_whole_passes(num_slices, guided, plain_shape(1, cost), num_ranks);
}

/// Slices whose branches are on two ranks.
std::int64_t num_split(const Deal& deal) {
    std::int64_t split = 0;
    for (std::int64_t slice = 0; deal.branches().size() > 1 && slice < deal.num_slices(); ++slice)
        split += deal.route(slice, Branch::conditional) != deal.route(slice, Branch::unconditional) ? 1 : 0;
    return split;
}

std::int64_t busiest(const Deal& deal, const BranchCost& cost) {
    const auto loads = deal.loads(plain_shape(1, cost));
    return *std::max_element(loads.begin(), loads.end());
}

/// (largest load, split slices) of the best of all deals, each tried.
class Exhaustive {
  public:
    Exhaustive(std::int64_t num_slices, bool guided, const BranchCost& cost, int num_ranks) : guided_{guided}, cost_{cost}, loads_(num_ranks, 0) {
        ranks_.resize(static_cast<std::size_t>(num_slices * (guided ? 2 : 1)));
        place(0, 0);
    }
    [[nodiscard]] std::pair<std::int64_t, std::int64_t> best() const { return best_; }

  private:
    void place(std::size_t pass, std::size_t used) {  // ranks are alike: a new one is always the next
        if (pass == ranks_.size()) {
            std::int64_t split = 0;
            for (std::size_t i = 0; guided_ && i < ranks_.size(); i += 2) split += ranks_[i] != ranks_[i + 1] ? 1 : 0;
            best_ = std::min(best_, {*std::max_element(loads_.begin(), loads_.end()), split});
            return;
        }
        for (std::size_t rank = 0; rank < std::min(used + 1, loads_.size()); ++rank) {
            const auto cost = cost_[guided_ ? pass % 2 : 1];
            ranks_[pass] = rank;
            loads_[rank] += cost;
            place(pass + 1, std::max(used, rank + 1));
            loads_[rank] -= cost;
        }
    }

    bool guided_;
    BranchCost cost_;
    std::vector<std::int64_t> loads_;
    std::vector<std::size_t> ranks_;
    std::pair<std::int64_t, std::int64_t> best_{std::numeric_limits<std::int64_t>::max(), 0};
};

/// Whether `num_ranks` ranks that hold at most `limit` each hold all passes: the most conditional passes beside each number of unconditional ones.
bool fits(std::int64_t num_slices, const BranchCost& cost, int num_ranks, std::int64_t limit) {
    std::vector<std::int64_t> most(static_cast<std::size_t>(num_slices) + 1, -1);
    most[0] = 0;
    for (int rank = 0; rank < num_ranks; ++rank) {
        auto next = most;
        for (std::size_t before = 0; before < most.size(); ++before)
            for (std::size_t mine = 0; most[before] >= 0 && before + mine < most.size() && static_cast<std::int64_t>(mine) * cost[0] <= limit; ++mine)
                next[before + mine] = std::max(next[before + mine], most[before] + (limit - static_cast<std::int64_t>(mine) * cost[0]) / cost[1]);
        most = std::move(next);
    }
    return most.back() >= num_slices;
}

const std::vector<BranchCost> usual_costs{{1, 1}, {100, 122}};

}  // namespace

TEST(Deal, LargestLoadThenSplitSlicesAreAsFewAsInAnyOtherDeal) {
    std::mt19937 random(4);
    std::uniform_int_distribution<std::int64_t> cost_of(1, 12);
    for (int i = 0; i < 12; ++i)
        for (std::int64_t slices = 1; slices <= 4; ++slices)
            for (int ranks = 1; ranks <= 4; ++ranks) {
                const BranchCost cost = i == 0 ? BranchCost{1, 1} : i == 1 ? BranchCost{100, 122} : BranchCost{cost_of(random), cost_of(random)};
                const auto deal = dealt(slices, true, cost, ranks);
                const std::pair found(busiest(deal, cost), num_split(deal));
                ASSERT_EQ(found, Exhaustive(slices, true, cost, ranks).best())
                    << slices << " slices, " << ranks << " ranks, costs " << cost[0] << ":" << cost[1];
            }
}

TEST(Deal, WithoutGuidanceLargestLoadIsMinimal) {
    for (std::int64_t slices = 1; slices <= 8; ++slices)
        for (int ranks = 1; ranks <= 4; ++ranks) {
            const auto deal = dealt(slices, false, {5, 3}, ranks);
            EXPECT_EQ(busiest(deal, {5, 3}), Exhaustive(slices, false, {5, 3}, ranks).best().first);
            EXPECT_EQ(num_split(deal), 0);
        }
}

TEST(Deal, LargestLoadIsMinimalOnUpTo64Ranks) {
    for (const auto& cost : usual_costs)
        for (const std::int64_t slices : {1, 8, 35})
            for (int ranks = 1; ranks <= 64; ++ranks) {
                const auto load = busiest(dealt(slices, true, cost, ranks), cost);
                EXPECT_TRUE(fits(slices, cost, ranks, load)) << slices << " slices, " << ranks << " ranks";
                EXPECT_FALSE(fits(slices, cost, ranks, load - 1)) << slices << " slices, " << ranks << " ranks";
            }
}

TEST(Deal, LargestLoadIsMinimalForLongClipsAndAwkwardCosts) {
    for (const BranchCost& cost : {BranchCost{133, 163}, BranchCost{997, 13}, BranchCost{1, 50}})
        for (const int ranks : {7, 64}) {
            const auto load = busiest(dealt(150, true, cost, ranks), cost);
            EXPECT_TRUE(fits(150, cost, ranks, load));
            EXPECT_FALSE(fits(150, cost, ranks, load - 1));
        }
}

TEST(Deal, EveryPassIsDealtToOneOfTheRanks) {
    for (const auto& cost : usual_costs)
        for (const std::int64_t slices : {1, 8, 35})
            for (const bool guided : {true, false})
                for (int ranks = 1; ranks <= 64; ++ranks) {
                    const auto deal = dealt(slices, guided, cost, ranks);
                    ASSERT_EQ(deal.num_slices(), slices);
                    std::int64_t sum = 0;
                    for (const auto load : deal.loads(plain_shape(1, cost))) sum += load;
                    ASSERT_EQ(sum, slices * (cost[1] + (guided ? cost[0] : 0)));
                    ASSERT_EQ(deal.num_ranks(), ranks);
                }
}

TEST(Deal, NoSliceIsSplitWhereThatCostsNoLoad) {
    for (const auto& cost : usual_costs)
        for (const std::int64_t slices : {1, 8, 35})
            for (int ranks = 1; ranks <= 64; ++ranks) {
                const auto deal = dealt(slices, true, cost, ranks);
                const auto whole = (slices + ranks - 1) / ranks * (cost[0] + cost[1]);
                if (busiest(deal, cost) == whole) {
                    EXPECT_EQ(num_split(deal), 0) << slices << " slices, " << ranks << " ranks";
                }
            }
}

TEST(Deal, SevenRanksShareEightSlices) {
    const auto deal = dealt(8, true, {1, 1}, 7);
    EXPECT_EQ(busiest(deal, {1, 1}), 3);
    EXPECT_EQ(num_split(deal), 1);
    EXPECT_DOUBLE_EQ(deal.load_bound(plain_shape(1, {1, 1})), 16.0 / 21.0);
}

TEST(Deal, FiveRanksSplitNoneOfEightSlices) {
    EXPECT_EQ(num_split(dealt(8, true, {1, 1}, 5)), 0);
}

TEST(Deal, NineToFifteenRanksLeaveEightSlicesWhole) {
    for (int ranks = 9; ranks <= 15; ++ranks) {
        const auto loads = dealt(8, true, {1, 1}, ranks).loads(plain_shape(1, {1, 1}));
        for (std::size_t rank = 0; rank < loads.size(); ++rank) EXPECT_EQ(loads[rank], rank < 8 ? 2 : 0);
    }
}

TEST(Deal, SlicesOfARankAreNeighbours) {
    for (const std::int64_t slices : {1, 8, 35})
        for (const bool guided : {true, false})
            for (int ranks = 1; ranks <= 64; ++ranks) {
                const auto deal = dealt(slices, guided, {1, 1}, ranks);
                std::vector<std::set<std::int64_t>> mine(static_cast<std::size_t>(ranks));
                for (std::int64_t slice = 0; slice < slices; ++slice) {
                    mine[static_cast<std::size_t>(deal.route(slice, Branch::conditional).first_rank())].insert(slice);
                    if (guided) mine[static_cast<std::size_t>(deal.route(slice, Branch::unconditional).first_rank())].insert(slice);
                }
                std::int64_t last = 0;
                for (const auto& held : mine) {
                    if (held.empty()) continue;
                    EXPECT_EQ(*held.rbegin() - *held.begin() + 1, static_cast<std::int64_t>(held.size())) << slices << " slices, " << ranks << " ranks";
                    EXPECT_LE(last, *held.begin()) << "ranks follow the order of slices";
                    last = *held.rbegin();
                }
            }
}

TEST(Deal, BranchesOfASplitSliceAreOnNeighbouringRanks) {
    for (const std::int64_t slices : {1, 8, 35})
        for (int ranks = 1; ranks <= 64; ++ranks) {
            const auto deal = dealt(slices, true, {1, 1}, ranks);
            for (std::int64_t slice = 0; slice < slices; ++slice)
                EXPECT_LE(std::abs(deal.route(slice, Branch::conditional).first_rank() - deal.route(slice, Branch::unconditional).first_rank()), 1);
        }
}

TEST(Deal, RankZeroHasAShareOfTheFirstSlice) {
    for (const auto& cost : usual_costs)
        for (const std::int64_t slices : {1, 8, 35})
            for (int ranks = 1; ranks <= 64; ++ranks) {
                const auto deal = dealt(slices, true, cost, ranks);
                EXPECT_TRUE(deal.route(0, Branch::conditional).first_rank() == 0 || deal.route(0, Branch::unconditional).first_rank() == 0)
                    << slices << " slices, " << ranks << " ranks";
                EXPECT_EQ(dealt(slices, false, cost, ranks).route(0, Branch::conditional).first_rank(), 0);
            }
}

TEST(Deal, RanksBeyondThePassesIdleAtTheEnd) {
    for (const auto& cost : usual_costs)
        for (int ranks = 1; ranks <= 64; ++ranks) {
            const auto loads = dealt(8, true, cost, ranks).loads(plain_shape(1, cost));
            EXPECT_TRUE(std::is_partitioned(loads.begin(), loads.end(), [](auto load) { return load > 0; })) << ranks << " ranks";
            EXPECT_LE(std::count_if(loads.begin(), loads.end(), [](auto load) { return load > 0; }), 16);
        }
}

}  // namespace weft::plan

#pragma once
#include "plan/pass.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace weft::plan {

/// Integer cost of a pass by branch, in any unit.
using BranchCost = std::array<std::int64_t, 2>;

/// (slice, branch) -> rank, the same in every step.
class Deal {
  public:
    Deal() = default;
    Deal(std::int64_t num_slices, bool guided, int num_ranks);

    [[nodiscard]] int rank(std::int64_t slice, Branch branch) const;
    void set(std::int64_t slice, Branch branch, int rank);
    [[nodiscard]] std::int64_t num_slices() const { return static_cast<std::int64_t>(ranks_.size()); }
    [[nodiscard]] bool guided() const { return guided_; }
    [[nodiscard]] int num_ranks() const { return num_ranks_; }

    /// Sum of costs by rank.
    [[nodiscard]] std::vector<std::int64_t> loads(const BranchCost& cost) const;
    /// Sum of costs / (ranks x cost of the busiest rank): the efficiency that perfect transport would reach.
    [[nodiscard]] double load_bound(const BranchCost& cost) const;
    /// Slices whose branches are on two ranks.
    [[nodiscard]] std::int64_t num_split() const;

  private:
    std::vector<std::array<int, 2>> ranks_;
    bool guided_ = true;
    int num_ranks_ = 1;
};

/// Whole passes on any number of ranks. First the cost of the busiest rank is minimal (exactly), then the number of slices whose branches are on two ranks,
/// then neighbouring slices lie together and a split slice's ranks are neighbours. Rank 0 has a share of slice 0; ranks beyond the number of passes idle.
[[nodiscard]] Deal deal_whole_passes(std::int64_t num_slices, bool guided, const BranchCost& cost, int num_ranks);

}  // namespace weft::plan

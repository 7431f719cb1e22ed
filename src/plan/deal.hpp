#pragma once
#include "plan/pass.hpp"
#include "plan/shape.hpp"

#include <cstdint>
#include <vector>

namespace weft::plan {

/// Some pieces of a pass, one after the other on one rank.
struct Leg {
    PieceRange pieces;
    int rank = 0;
    [[nodiscard]] bool operator==(const Leg&) const = default;
};

/// The way of a pass over the ranks: legs in order, which together are all of its pieces; neighbouring legs are on different ranks.
struct Route {
    std::vector<Leg> legs;
    std::int64_t slots = 1;  ///< so many passes may be on their way at a time: each has room of its own on every rank
    [[nodiscard]] bool operator==(const Route&) const = default;

    [[nodiscard]] int first_rank() const { return legs.front().rank; }
    [[nodiscard]] int last_rank() const { return legs.back().rank; }
    /// The leg that runs a piece.
    [[nodiscard]] std::size_t leg_of(std::int64_t piece) const;
};

/// Joins neighbouring legs of one rank.
[[nodiscard]] Route route_of(std::vector<Leg> legs, std::int64_t slots);

/// (slice, branch) -> route, the same in every step: the task of a pass on a rank is a leg of its route.
class Deal {
  public:
    Deal() = default;
    Deal(std::int64_t num_slices, bool guided, int num_ranks);

    [[nodiscard]] const Route& route(std::int64_t slice, Branch branch) const { return routes_[route_index(slice, branch)]; }
    [[nodiscard]] std::size_t route_index(std::int64_t slice, Branch branch) const;
    [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }
    void set(std::int64_t slice, Branch branch, const Route& route);
    /// A whole pass for one rank.
    void set(std::int64_t slice, Branch branch, int rank, std::int64_t num_pieces) { set(slice, branch, Route{{{{0, num_pieces}, rank}}, 1}); }

    [[nodiscard]] std::int64_t num_slices() const { return static_cast<std::int64_t>(index_.size()); }
    [[nodiscard]] int num_ranks() const { return num_ranks_; }
    [[nodiscard]] std::vector<Branch> branches() const;  ///< that run; conditional first, as ranks prefer them

    /// Sum of costs by rank.
    [[nodiscard]] std::vector<std::int64_t> loads(const PassShape& shape) const;
    /// Sum of costs / (ranks x cost of the busiest rank): the efficiency that perfect transport would reach.
    [[nodiscard]] double load_bound(const PassShape& shape) const;
    /// Pieces that a rank runs, of any pass: ascending ranges that do not touch.
    [[nodiscard]] std::vector<PieceRange> pieces_of(int rank) const;

  private:
    std::vector<Route> routes_;
    std::vector<std::array<std::size_t, 2>> index_;  ///< slice -> branch -> route
    bool guided_ = true;
    int num_ranks_ = 1;
};

/// Whole passes on any number of ranks. First the cost of the busiest rank is minimal (exactly), then the number of slices whose branches are on two ranks,
/// then neighbouring slices lie together and a split slice's ranks are neighbours. Rank 0 has a share of slice 0; ranks beyond the number of passes idle.
/// Needs whole costs of at least 1.
[[nodiscard]] Deal deal_whole_passes(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks);

/// Passes in slice order, dealt to one rank after the other up to a common load, which is as small as it can be; a pass that does not fit is cut once: its tail
/// stays and runs last, its head goes to the start of the next rank. The load is at least the dearest pass, so the head is done before the tail is due.
/// (McNaughton's wrap-around rule, 1959, with an order inside the cut pass.) Cuts fall on the border that moves fewest bytes among
/// those that raise the load by at most 0.3 %.
/// `room`: how many times the least common load a rank may take.
[[nodiscard]] Deal deal_cut_passes(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks, double room = 1.0);

/// num_ranks / num_stages groups of stages; ranks beyond them idle. Whole passes are dealt to groups as to ranks, and each pass of a group flows over its
/// stages as `map` says. Ranks of group g are those from g * num_stages on.
[[nodiscard]] Deal deal_stages(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks, const Route& map, int num_stages);

}  // namespace weft::plan

#pragma once
#include "plan/plan.hpp"

namespace weft::plan {

/// Gives the plan, whose slices, shape and links are there, a layout, a deal, owners and an order of legs, as `layout` of the settings asks.
/// Refuses (exit code 2) what ranks or pieces do not allow; `budget` as make_plan has it.
void lay_out(Plan& plan, const Settings& settings, int num_ranks, std::optional<std::int64_t> budget);

/// "cut passes", "2 groups of 3 stages, folded"
[[nodiscard]] std::string layout_name(const Layout& layout);

/// The deal, and the owners that follow from it.
void take_deal(Plan& plan, Deal deal);

inline constexpr double usual_give = 1.015;
inline constexpr double tight_give = 1.002;  ///< for fast links, where balance is worth more than bytes

/// A way of a pass over stages 0 to num_stages - 1; without legs where the pieces are too few.
/// Straight: one leg a stage, in order; the busiest stage's cost is at most `give` times the least possible, and among such cuts the fewest bytes move.
[[nodiscard]] Route straight_map(const PassShape& shape, bool guided, int num_stages, double give = usual_give);
/// Folded: stages go in to the last and back, those before it with a leg of the way down, of the way up, or both, cut between units; balance and bytes as
/// above.
[[nodiscard]] Route folded_map(const PassShape& shape, bool guided, int num_stages, double give = usual_give);
/// As written: "0@0, 2@13, 1@40": stage 2 takes over in front of piece 13, stage 1 in front of piece 40. As many slots as legs + 2. `wrong` says what does not
/// hold; then there are no legs.
[[nodiscard]] Route written_map(const PassShape& shape, int num_stages, const std::string& text, std::string& wrong);

/// Largest cost of a stage / mean.
[[nodiscard]] double imbalance(const PassShape& shape, bool guided, const Route& map, int num_stages);

}  // namespace weft::plan

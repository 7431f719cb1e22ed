#pragma once
#include "plan/plan.hpp"

#include <array>
#include <string_view>
#include <vector>

namespace weft::plan {

/// Why a rank does nothing.
enum class Idle : int {
    others,    ///< waits for passes of others: latents or predictions that are not made yet
    legs,      ///< waits for an earlier leg of a pass, or for a slot
    transfer,  ///< what it waits for is on its way
    ends,      ///< before its first pass and behind its last: fill and drain
};
inline constexpr std::size_t num_idle = 4;
[[nodiscard]] std::string_view name_of(Idle idle);

/// Why a wait for a message of this cargo counts as idle while the message is not sent yet.
[[nodiscard]] Idle idle_of(Cargo cargo);

struct RankTimes {
    double busy_s = 0;
    std::array<double, num_idle> idle_s{};
};

/// What programs take if every leg takes its cost and every message the time that the links give it.
struct Prediction {
    double seconds = 0;  ///< from the first pass until every rank has ended
    std::vector<RankTimes> ranks;
    std::vector<double> steps_s;  ///< when the last frame of each step was advanced
    [[nodiscard]] double idle_share() const;
    [[nodiscard]] double idle_share(Idle idle) const;
    /// Busy time / (ranks x seconds).
    [[nodiscard]] double efficiency() const { return 1.0 - idle_share(); }
};

/// Executes the programs of all ranks by the plan's costs and links. `first_step`: with which they were made.
[[nodiscard]] Prediction simulate(const Plan& plan, const std::vector<Program>& programs, std::int64_t first_step);

/// The same for a long job from few of its steps: as many and twice as many are played; the others take what the second half did.
[[nodiscard]] double estimated_seconds(const Plan& plan, std::int64_t steps);

/// What the busiest rank computes: no transport and no order makes the job shorter.
[[nodiscard]] double bound_seconds(const Plan& plan);

}  // namespace weft::plan

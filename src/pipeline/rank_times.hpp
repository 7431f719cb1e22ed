#pragma once
#include "pipeline/trace.hpp"
#include "plan/simulate.hpp"

#include <vector>

namespace weft::pipeline {

/// A task, an advance or a wait of a rank; on the clock that all ranks' traces begin with.
struct Stretch {
    Trace::Kind kind = Trace::Kind::task;
    double begin_s = 0;
    double end_s = 0;
    plan::Cargo cargo = plan::Cargo::prediction;  ///< of what is waited for
    double sent_s = 0;                            ///< when its sender had it ready
};

/// Where a rank's time between `from_s` and `to_s` went, as the simulator counts: tasks are busy; waits between its first task and its last are idle, and so is
/// all before and behind those but advances. `end_s`: when the last rank ended.
[[nodiscard]] plan::RankTimes rank_times(const std::vector<Stretch>& stretches, double from_s, double to_s, double end_s);

}  // namespace weft::pipeline

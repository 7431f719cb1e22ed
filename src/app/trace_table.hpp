#pragma once
#include "app/trace_file.hpp"
#include "plan/simulate.hpp"

#include <string>
#include <vector>

namespace weft::app {

/// Where a rank's time went, and why it was idle.
struct RankFigures {
    plan::RankTimes times;  ///< of src/pipeline/rank_times.hpp
    double rest_s = 0;      ///< advances, packing, posting, putting in place
    const TraceLine* longest_wait = nullptr;
    double longest_wait_s = 0;
};

struct Figures {
    std::vector<RankFigures> ranks;
    double seconds = 0;
    [[nodiscard]] double efficiency() const;
};

/// What lies in the window.
[[nodiscard]] Figures measure(const RecordedTrace& trace, const Window& window);

/// Steps but the last of a job, and in how many of them a pass of the next step begins before the last pass ends, by the logical clock.
struct Overlap {
    int steps = 0;
    int overlapping = 0;
};
[[nodiscard]] Overlap overlap_of(const RecordedTrace& trace);

/// "3 ranks, steps 1 to 3, 12 passes in 16 legs, 1.24 s, efficiency 83.1 %"
[[nodiscard]] std::string headline(const RecordedTrace& trace, const Window& window);

[[nodiscard]] std::string as_table(const RecordedTrace& trace, const Window& window);

}  // namespace weft::app

#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace weft::pipeline {

/// What a user sees of a running phase: on a terminal one line that is rewritten, elsewhere a plain line every ten seconds.
class Progress {
  public:
    /// Shows nothing.
    Progress() = default;

    /// `total` pieces of work are ahead; `memory` gives the bytes in use.
    Progress(std::string phase, std::int64_t total, std::function<std::int64_t()> memory);

    /// `done` pieces are complete. `where`: "step 3/25, slice 2/4". Seconds left are told from the first piece on.
    void show(std::int64_t done, std::string_view where);

  private:
    using Clock = std::chrono::steady_clock;
    std::string phase_;
    std::int64_t total_ = 0;
    std::function<std::int64_t()> memory_;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_plain_ = Clock::now();
};

}  // namespace weft::pipeline

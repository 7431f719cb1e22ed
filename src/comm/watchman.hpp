#pragma once
#include "comm/pulse.hpp"
#include "comm/transfer.hpp"

#include <optional>
#include <string>
#include <vector>

namespace weft::comm {

/// Decides by what is heard and seen, and by the clock it is given, whether a rank is dead, stalled, or all wait for each other. Internal to comm.
class Watchman {
  public:
    /// What a heartbeat carries.
    struct Beat {
        Pulse::Reading reading;
        std::uint64_t moved = 0;  ///< transfers ended
    };

    /// `names`: of all ranks. Times are seconds of any clock that only goes forward.
    Watchman(int rank, std::vector<std::string> names, double now_s);

    void heard(int from, double now_s) { heard_s_.at(static_cast<std::size_t>(from)) = now_s; }
    void beat(int from, Beat beat) { beats_.at(static_cast<std::size_t>(from)) = std::move(beat); }

    /// This process did not run for a while, as when the whole job is suspended: what was not heard meanwhile proves nothing.
    void woke(double now_s);

    struct Finding {
        Verdict verdict;
        bool own = false;  ///< this rank's own failing, for rank 0 to judge
    };
    [[nodiscard]] std::optional<Finding> look(double now_s, const Watch& limits, const Beat& mine);

  private:
    [[nodiscard]] std::optional<Finding> silence(double now_s, const Watch& limits) const;
    [[nodiscard]] std::optional<Finding> stall(const Watch& limits, const Beat& mine) const;
    [[nodiscard]] std::optional<Finding> all_wait(double now_s, const Watch& limits);

    int rank_;
    std::vector<std::string> names_;
    std::vector<double> heard_s_;  // by rank
    std::vector<std::optional<Beat>> beats_;
    std::uint64_t progress_ = 0;  // of all ranks together
    double progress_s_ = 0;       // when it was last seen to change, or a rank not to wait
};

}  // namespace weft::comm

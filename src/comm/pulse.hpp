#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>

namespace weft::comm {

/// What the compute thread is doing, for the communication thread to watch and to tell others. All calls are cheap and thread-safe.
class Pulse {
  public:
    enum class Activity : int { idle, working, waiting };

    /// Work of this rank's own begins: it stalls when no tick comes for too long. `expected_s`: seconds between ticks as far as known; 0: not known yet.
    void working(std::string what, double expected_s = 0);

    /// Waits for other ranks: not this rank's fault.
    void waiting(std::string what);

    /// Nothing to watch.
    void idle();

    /// Progress: a unit, a decoded frame, a transfer.
    void tick();

    struct Reading {
        Activity activity = Activity::idle;
        std::string what;         ///< "pass of step 3, slice 2, conditional"
        std::uint64_t ticks = 0;  /// changes of activity count too
        double still_s = 0;       ///< since the last tick
        double expected_s = 0;
    };
    [[nodiscard]] Reading read() const;

  private:
    using Clock = std::chrono::steady_clock;
    void set(Activity activity, std::string what, double expected_s);

    mutable std::mutex mutex_;  // of what_, activity_, expected_s_
    std::string what_;
    Activity activity_ = Activity::idle;
    double expected_s_ = 0;
    std::atomic<std::uint64_t> ticks_{0};
    std::atomic<Clock::rep> last_{Clock::now().time_since_epoch().count()};
};

}  // namespace weft::comm

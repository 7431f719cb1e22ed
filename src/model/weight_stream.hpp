#pragma once
#include "device/device_clock.hpp"
#include "model/unit.hpp"
#include "plan/weight_window.hpp"

#include <c10/core/Device.h>

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace weft::model {

/// What streaming has cost so far.
struct StreamTimes {
    std::int64_t bytes = 0;     ///< fetched
    double fetch_seconds = 0;   ///< of the thread that fetches
    double waited_seconds = 0;  ///< by the pass, for weights that were not there yet
};

/// A stretch of streaming: a unit's weights were fetched, or the pass waited for them. On the clock of steady_seconds(), and where it happened, also on a GPU.
struct StreamStretch {
    enum class Kind { fetch, stall } kind = Kind::fetch;
    std::size_t unit = 0;
    double begin_s = 0, end_s = 0;
};

/// The weights of the denoiser's units come and go while passes run: a thread of its own binds the units ahead of the one that runs, in running order, as far
/// as a window admits them, and the unit that has run is released. Where weights lie changes no bit.
class WeightStream {
  public:
    /// Binds a unit's weights; called by the stream's thread.
    using Bind = std::function<void(Unit& unit)>;

    /// `window`: of at least one unit. `before`: what an earlier stream has cost.
    WeightStream(Units& units, plan::WeightWindow window, c10::Device device, Bind bind, const StreamTimes& before = {});
    ~WeightStream();
    WeightStream(const WeightStream&) = delete;
    WeightStream& operator=(const WeightStream&) = delete;

    /// Waits until a unit is bound; it stays so until another one is asked for. Throws what binding threw.
    void need(std::size_t unit);

    /// Of what had ended when the newest unit was fetched, or stretches were taken.
    [[nodiscard]] StreamTimes times() const;
    /// What has ended since the last call. On GPUs waits for the current stream.
    [[nodiscard]] std::vector<StreamStretch> take_stretches();

  private:
    void fetch_ahead();
    void fetch_until_the_end(std::unique_lock<std::mutex>& lock);
    [[nodiscard]] bool may_fetch() const;
    void leave(std::size_t unit);
    void note_ended();

    Units& units_;
    plan::WeightWindow window_;
    c10::Device device_;
    Bind bind_;

    using Mark = std::shared_ptr<const DeviceClock::Mark>;
    struct Stretch {
        StreamStretch::Kind kind;
        std::size_t unit;
        Mark begin, end;
    };

    mutable std::mutex mutex_;
    std::condition_variable changed_;
    DeviceClock clock_;
    std::map<std::size_t, Mark> bound_;  ///< units, each with what is behind its fetch
    /// GPUs: units that passes are through with when a mark is reached. The thread that fetches lets go of them, behind that mark on its own stream: else the
    /// allocator would give their place to a copy that is under way already, before it is free.
    std::vector<std::pair<std::size_t, Mark>> left_;
    std::size_t running_ = 0;  ///< the unit that was asked for last
    std::size_t next_ = 0;     ///< to be fetched
    bool fetching_ = false;
    bool turning_ = false;  ///< to another unit than the next one: nothing more is fetched before
    bool ends_ = false;
    bool gone_ = false;  ///< the thread, by a failure that stays
    std::exception_ptr failure_;
    StreamTimes times_;
    std::vector<Stretch> under_way_;
    std::vector<StreamStretch> stretches_;
    std::thread thread_;
};

}  // namespace weft::model

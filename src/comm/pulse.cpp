#include "comm/pulse.hpp"

#include <utility>

namespace weft::comm {

void Pulse::set(Activity activity, std::string what, double expected_s) {
    const std::lock_guard lock{mutex_};
    activity_ = activity;
    what_ = std::move(what);
    expected_s_ = expected_s;
    tick();
}

void Pulse::working(std::string what, double expected_s) {
    set(Activity::working, std::move(what), expected_s);
}

void Pulse::waiting(std::string what) {
    set(Activity::waiting, std::move(what), 0);
}

void Pulse::idle() {
    set(Activity::idle, "", 0);
}

void Pulse::tick() {
    last_ = Clock::now().time_since_epoch().count();
    ++ticks_;
}

Pulse::Reading Pulse::read() const {
    const std::lock_guard lock{mutex_};
    const Clock::duration still = Clock::now().time_since_epoch() - Clock::duration{last_.load()};
    return {activity_, what_, ticks_, std::chrono::duration<double>{still}.count(), expected_s_};
}

}  // namespace weft::comm

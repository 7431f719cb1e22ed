#include "model/weight_stream.hpp"

#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "device/cuda.hpp"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <memory>
#include <optional>

namespace weft::model {

namespace {
/// A point in the work of the calling thread's current stream; nothing on CPUs.
std::shared_ptr<c10::Event> mark(c10::Device device) {
    if (!device.is_cuda()) return nullptr;
    auto event = std::make_shared<c10::Event>(device.type());
    event->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
    return event;
}

/// The current stream goes on when that point is reached.
void wait_for(const std::shared_ptr<void>& event, c10::Device device) {
    if (event != nullptr) static_cast<c10::Event*>(event.get())->block(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
}
}  // namespace

WeightStream::WeightStream(Units& units, plan::WeightWindow window, c10::Device device, Bind bind, const StreamTimes& before)
    : units_{units}, window_{std::move(window)}, device_{device}, bind_{std::move(bind)}, times_{before} {
    ensure(std::ranges::find(window_.units, true) != window_.units.end(), "a stream has units to fetch");
    next_ = running_ = window_.behind(units_.size() - 1);
    thread_ = std::thread([this] { fetch_ahead(); });
}

WeightStream::~WeightStream() {
    {
        const std::lock_guard lock(mutex_);
        ends_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (device_.is_cuda()) cuda::synchronize();  // the units' owner may let go of what passes on another stream than the fetches' still read
}

bool WeightStream::may_fetch() const {
    return failure_ == nullptr && !bound_.contains(next_) && (bound_.empty() || window_.admits(running_, next_));
}

void WeightStream::leave(std::size_t unit) {
    bound_.erase(unit);
    if (device_.is_cuda()) {
        left_.emplace_back(unit, mark(device_));
        return;
    }
    units_[unit]->release();
}

void WeightStream::need(std::size_t unit) {
    std::unique_lock lock(mutex_);
    if (unit != running_ && bound_.contains(running_)) leave(running_);
    running_ = unit;
    if (!bound_.contains(unit) && !(fetching_ && next_ == unit)) {  // another way than that of the units: what was fetched in vain goes
        changed_.wait(lock, [this] { return !fetching_; });
        while (!bound_.empty()) leave(bound_.begin()->first);
        next_ = unit;
    }
    changed_.notify_all();
    if (!bound_.contains(unit)) {
        const auto begin_s = steady_seconds();
        changed_.wait(lock, [&] { return bound_.contains(unit) || failure_ != nullptr; });
        note(StreamStretch::Kind::stall, unit, begin_s);
    }
    if (failure_ != nullptr) std::rethrow_exception(std::exchange(failure_, nullptr));
    wait_for(bound_.at(unit), device_);
}

void WeightStream::fetch_ahead() {
    at::init_num_threads();
    const c10::impl::VirtualGuardImpl devices(device_.type());
    std::optional<c10::StreamGuard> own_stream;
    if (device_.is_cuda()) {
        devices.setDevice(device_);
        own_stream.emplace(devices.getStreamFromGlobalPool(device_));
    }
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return ends_ || !left_.empty() || may_fetch(); });
        if (ends_) return;
        for (const auto& [unit, event] : std::exchange(left_, {})) {
            wait_for(event, device_);
            units_[unit]->release();
        }
        if (!may_fetch()) continue;
        const auto unit = next_;
        fetching_ = true;
        lock.unlock();
        const auto begin_s = steady_seconds();
        std::exception_ptr failure;
        try {
            bind_(*units_[unit]);
        } catch (...) {
            failure = std::current_exception();
        }
        auto fetched = mark(device_);
        lock.lock();
        fetching_ = false;
        note(StreamStretch::Kind::fetch, unit, begin_s);
        if (failure != nullptr) {
            units_[unit]->release();
            failure_ = failure;
        } else {
            times_.bytes += window_.weights[unit];
            bound_.emplace(unit, std::move(fetched));
            next_ = window_.behind(unit);
        }
        changed_.notify_all();
    }
}

void WeightStream::note(StreamStretch::Kind kind, std::size_t unit, double begin_s) {
    const auto end_s = steady_seconds();
    (kind == StreamStretch::Kind::fetch ? times_.fetch_seconds : times_.waited_seconds) += end_s - begin_s;
    stretches_.push_back({kind, unit, begin_s, end_s});
}

std::vector<StreamStretch> WeightStream::take_stretches() {
    const std::lock_guard lock(mutex_);
    return std::exchange(stretches_, {});
}

StreamTimes WeightStream::times() const {
    const std::lock_guard lock(mutex_);
    return times_;
}

}  // namespace weft::model

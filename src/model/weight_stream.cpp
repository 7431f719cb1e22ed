#include "model/weight_stream.hpp"

#include "base/error.hpp"
#include "device/cuda.hpp"

#include <ATen/Parallel.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <optional>

namespace weft::model {

namespace {
constexpr double least_stall_s = 20e-6;  // what two marks on a GPU with nothing between them may be apart
}

WeightStream::WeightStream(Units& units, plan::WeightWindow window, c10::Device device, Bind bind, const StreamTimes& before)
    : units_{units}, window_{std::move(window)}, device_{device}, bind_{std::move(bind)}, clock_{device}, times_{before} {
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
    return failure_ == nullptr && !turning_ && !bound_.contains(next_) && (bound_.empty() || window_.admits(running_, next_));
}

void WeightStream::leave(std::size_t unit) {
    bound_.erase(unit);
    if (device_.is_cuda()) {
        left_.emplace_back(unit, clock_.mark());
        return;
    }
    units_[unit]->release();
}

void WeightStream::need(std::size_t unit) {
    std::unique_lock lock(mutex_);
    const auto begin = clock_.mark();
    ensure(window_.units.at(unit), "a rank's stream is asked for units that run there");
    for (; running_ != unit; running_ = window_.behind(running_))  // those that were passed over, too
        if (bound_.contains(running_)) leave(running_);
    if (!bound_.contains(unit) && !(fetching_ && next_ == unit)) {  // another way than that of the units: what was fetched in vain goes
        turning_ = true;
        changed_.wait(lock, [this] { return !fetching_; });
        turning_ = false;
        while (!bound_.empty()) leave(bound_.begin()->first);
        next_ = unit;
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return bound_.contains(unit) || failure_ != nullptr; });
    if (failure_ != nullptr) std::rethrow_exception(gone_ ? failure_ : std::exchange(failure_, nullptr));
    bound_.at(unit)->block();
    under_way_.push_back({StreamStretch::Kind::stall, unit, begin, clock_.mark()});
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
    try {
        fetch_until_the_end(lock);
    } catch (...) {  // of the device itself
        failure_ = std::current_exception();
        gone_ = true;
        fetching_ = false;
        changed_.notify_all();
    }
}

void WeightStream::fetch_until_the_end(std::unique_lock<std::mutex>& lock) {
    while (true) {
        changed_.wait(lock, [this] { return ends_ || !left_.empty() || may_fetch(); });
        if (ends_) return;
        for (const auto& [unit, mark] : std::exchange(left_, {})) {
            mark->block();
            units_[unit]->release();
        }
        if (!may_fetch()) continue;
        const auto unit = next_;
        fetching_ = true;
        const auto begin = clock_.mark();
        lock.unlock();
        std::exception_ptr failure;
        try {
            bind_(*units_[unit]);
        } catch (...) {
            failure = std::current_exception();
        }
        lock.lock();
        fetching_ = false;
        under_way_.push_back({StreamStretch::Kind::fetch, unit, begin, clock_.mark()});
        if (failure != nullptr) {
            units_[unit]->release();
            failure_ = failure;
        } else {
            times_.bytes += window_.weights[unit];
            bound_.emplace(unit, under_way_.back().end);
            next_ = window_.behind(unit);
            note_ended();
        }
        changed_.notify_all();
    }
}

void WeightStream::note_ended() {
    std::erase_if(under_way_, [this](const Stretch& one) {
        if (!one.end->reached()) return false;
        const StreamStretch ended{one.kind, one.unit, one.begin->seconds(), one.end->seconds()};
        const auto seconds = ended.end_s - ended.begin_s;
        if (one.kind == StreamStretch::Kind::stall && seconds < least_stall_s) return true;
        (one.kind == StreamStretch::Kind::fetch ? times_.fetch_seconds : times_.waited_seconds) += seconds;
        stretches_.push_back(ended);
        return true;
    });
}

std::vector<StreamStretch> WeightStream::take_stretches() {
    const std::lock_guard lock(mutex_);
    clock_.set();
    note_ended();
    return std::exchange(stretches_, {});
}

StreamTimes WeightStream::times() const {
    const std::lock_guard lock(mutex_);
    return times_;
}

}  // namespace weft::model

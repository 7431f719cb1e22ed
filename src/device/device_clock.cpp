#include "device/device_clock.hpp"

#include "base/stopwatch.hpp"

#include <c10/core/impl/VirtualGuardImpl.h>

namespace weft {

namespace {
c10::Stream current_stream(c10::Device device) {
    return c10::impl::VirtualGuardImpl(device.type()).getStream(device);
}
}  // namespace

double DeviceClock::Mark::seconds() const {
    return event_ ? at_s_ + 1e-3 * anchor_->elapsedTime(*event_) : at_s_;
}

void DeviceClock::Mark::block() const {
    if (event_) event_->block(current_stream(event_->device()));
}

std::shared_ptr<const DeviceClock::Mark> DeviceClock::mark() const {
    auto made = std::make_shared<Mark>();
    made->at_s_ = device_.is_cuda() ? set_s_ : steady_seconds();
    if (!device_.is_cuda()) return made;
    made->anchor_ = anchor_;
    made->event_.emplace(device_.type(), c10::EventFlag::BACKEND_DEFAULT);  // with timing
    made->event_->record(current_stream(device_));
    return made;
}

void DeviceClock::set() {
    if (!device_.is_cuda()) return;
    const auto anchor = std::make_shared<c10::Event>(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    anchor->record(current_stream(device_));
    anchor->synchronize();
    set_s_ = steady_seconds();
    anchor_ = anchor;
}

}  // namespace weft

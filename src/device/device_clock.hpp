#pragma once
#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <memory>
#include <optional>

namespace weft {

/// Tells when work on a device happened, on the clock of steady_seconds(): on a GPU when its streams got there, not when the host queued it.
class DeviceClock {
  public:
    explicit DeviceClock(c10::Device device) : device_{device} { set(); }

    /// A point in the work of the calling thread's current stream; on CPUs, now.
    class Mark {
      public:
        /// Whether the stream has got there.
        [[nodiscard]] bool reached() const { return !event_ || event_->query(); }
        /// When; the stream must have got there.
        [[nodiscard]] double seconds() const;
        /// The calling thread's current stream goes on when that point is reached.
        void block() const;

      private:
        friend class DeviceClock;
        double at_s_ = 0;  ///< CPUs; GPUs: when `anchor_` was reached
        std::optional<c10::Event> event_;
        std::shared_ptr<const c10::Event> anchor_;
    };
    [[nodiscard]] std::shared_ptr<const Mark> mark() const;

    /// Sets the clock by the current stream, for which it waits. Events tell times beside the last setting in single precision: 0.1 ms after half an hour.
    void set();

  private:
    c10::Device device_;
    double set_s_ = 0;
    std::shared_ptr<const c10::Event> anchor_;
};

}  // namespace weft

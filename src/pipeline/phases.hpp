#pragma once
#include "base/events.hpp"
#include "pipeline/progress.hpp"

#include <cstdint>
#include <mutex>
#include <string>

namespace weft::pipeline {

/// Which phase of the job runs; what each took is told when the next begins.
class Phases {
  public:
    explicit Phases(Events& events) : events_{events} {}

    /// Ends the running phase with a line about it, and begins the next.
    void begin(const std::string& name);
    [[nodiscard]] std::string name() const;  ///< thread-safe
    /// Of so many things of the running phase.
    [[nodiscard]] Progress progress(std::int64_t total) const;

  private:
    Events& events_;
    mutable std::mutex mutex_;
    std::string name_ = "prepare";  // under mutex_
};

}  // namespace weft::pipeline

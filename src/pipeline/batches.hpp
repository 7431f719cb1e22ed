#pragma once
#include "plan/plan.hpp"

#include <c10/core/Device.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

namespace weft::pipeline {

/// What passes that run side by side take.
struct BatchBytes {
    std::int64_t first = 0;  ///< a pass
    std::int64_t more = 0;   ///< each beside it
    std::int64_t limit = 0;  ///< tensors may hold at once
    double slack = 0;        ///< of tensors, that the device's allocator takes too
    std::int64_t most_slack = std::numeric_limits<std::int64_t>::max();
};
[[nodiscard]] BatchBytes batch_bytes(const plan::Plan& plan, int rank, std::int64_t budget);

/// numerics = "free": how many passes of a step run side by side on this rank, from what is free when they begin. Others may have taken or given back memory
/// since the last time.
class Batches {
  public:
    /// `free`: bytes that the device could give now, with what its allocator holds and does not use; asked each time anew. `record` hears from which step how
    /// many run side by side, for people: "from step 4 on 2 passes side by side: memory ran out".
    Batches(const BatchBytes& bytes, std::function<std::int64_t()> free, std::function<void(const std::string&)> record);

    /// Of `wanted` passes as many as fit now, at least one. `held`: bytes that tensors hold now.
    [[nodiscard]] std::int64_t fitting(std::int64_t wanted, std::int64_t held, std::int64_t step);

    /// Memory ran out with so many: from now on at most half of them.
    void ran_out(std::int64_t passes, std::int64_t step);

    /// What one pass does from now on that it did not before.
    void note(const std::string& what, std::int64_t step);

  private:
    void tell(std::int64_t passes, std::int64_t step, const std::string& why);

    static constexpr auto no_limit = std::numeric_limits<std::int64_t>::max();
    BatchBytes bytes_;
    std::int64_t most_ = no_limit;    ///< passes, since memory ran out
    std::int64_t fitted_ = no_limit;  ///< passes last, where more were there
    std::int64_t step_ = -1;          ///< of the last time
    std::function<std::int64_t()> free_;
    std::function<void(const std::string&)> record_;
};

/// Bytes that a device can give to tensors now, beside those that they hold.
[[nodiscard]] std::int64_t free_bytes_now(c10::Device device);

}  // namespace weft::pipeline

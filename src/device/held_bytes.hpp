#pragma once
#include <algorithm>
#include <cstdint>

namespace weft {

/// Bytes held at once. `tensors`: by Torch's allocator, what the meter counts; `all`: with what operators take elsewhere while they run.
struct HeldBytes {
    std::int64_t tensors = 0;
    std::int64_t all = 0;

    [[nodiscard]] friend HeldBytes operator+(HeldBytes a, HeldBytes b) { return {a.tensors + b.tensors, a.all + b.all}; }
    [[nodiscard]] friend HeldBytes operator+(HeldBytes a, std::int64_t tensors) { return {a.tensors + tensors, a.all + tensors}; }
    [[nodiscard]] friend HeldBytes operator-(HeldBytes a, std::int64_t tensors) { return a + -tensors; }
    [[nodiscard]] bool operator==(const HeldBytes&) const = default;
};

/// Each at its most.
[[nodiscard]] inline HeldBytes most(HeldBytes a, HeldBytes b) {
    return {std::max(a.tensors, b.tensors), std::max(a.all, b.all)};
}

}  // namespace weft

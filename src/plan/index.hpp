#pragma once
#include "plan/pass.hpp"

#include <cstddef>
#include <cstdint>

namespace weft::plan {

/// Numbers of this room are signed; the standard library's containers are not. For numbers that are not negative.
[[nodiscard]] constexpr std::size_t index(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

[[nodiscard]] constexpr std::size_t index(Branch branch) {
    return static_cast<std::size_t>(branch);
}

}  // namespace weft::plan

#pragma once
#include <bit>
#include <cstddef>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

namespace weft::io {

static_assert(std::endian::native == std::endian::little, "weight files are little-endian and read in place");

/// The number at byte `at`, which the caller has checked to lie inside; alignment does not matter.
template <class Number>
[[nodiscard]] Number number_at(std::span<const std::byte> bytes, std::size_t at) {
    static_assert(std::is_integral_v<Number>);
    Number number{};
    std::memcpy(&number, bytes.data() + at, sizeof(Number));
    return number;
}

[[nodiscard]] inline std::string_view as_text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace weft::io

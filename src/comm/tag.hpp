#pragma once
#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/link.hpp"

#include <cstdint>
#include <string>

/// How links pack and compare tags. Internal to comm.
namespace weft::comm {

inline constexpr int kind_bits = 4;
inline constexpr int max_item_bits = 26;

/// One number that holds a tag; MPI promises less than 30 bits.
[[nodiscard]] inline int packed(Tag tag, int item_bits = max_item_bits) {
    ensure(tag.kind >= 0 && tag.kind < (1 << kind_bits), cat("a transfer of kind ", tag.kind));
    const auto item = static_cast<std::uint64_t>(tag.item) & ((std::uint64_t{1} << item_bits) - 1);
    return (tag.kind << item_bits) | static_cast<int>(item);
}

/// "kind 3, item 17, 96 bytes"
[[nodiscard]] inline std::string described(int packed_tag, const std::string& size, int item_bits = max_item_bits) {
    return cat("kind ", packed_tag >> item_bits, ", item ", packed_tag & ((1 << item_bits) - 1), ", ", size);
}

[[nodiscard]] inline std::string disagreement(const std::string& sent, const std::string& expected) {
    return cat("the two sides disagree: the sender sends ", sent, "; the receiver expects ", expected);
}

}  // namespace weft::comm

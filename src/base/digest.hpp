#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace weft {

/// A 128-bit content hash (XXH3), fast enough to read weights at the speed of the page cache. Finds accidents, not attacks.
class Digest {
  public:
    Digest();
    ~Digest();
    Digest(Digest&&) noexcept;
    Digest& operator=(Digest&&) noexcept;

    Digest& add(std::span<const std::byte> bytes);
    /// Length and bytes, so that ("ab", "c") and ("a", "bc") differ.
    Digest& add(std::string_view text);

    /// 32 hexadecimal digits of what was added so far.
    [[nodiscard]] std::string hex() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

[[nodiscard]] std::string hex_digest(std::span<const std::byte> bytes);

/// 64-bit XXH3 of `bytes`, as `xxhash.xxh3_64` of Python gives it.
[[nodiscard]] std::uint64_t checksum64(std::span<const std::byte> bytes) noexcept;

}  // namespace weft

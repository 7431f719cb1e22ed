#include "base/digest.hpp"

#include "base/error.hpp"

#include <xxhash.h>

#include <array>
#include <cstdint>

namespace weft {

struct Digest::State {
    XXH3_state_t* xxh = XXH3_createState();
    State() { ensure(xxh != nullptr && XXH3_128bits_reset(xxh) == XXH_OK, "XXH3 state"); }
    ~State() { XXH3_freeState(xxh); }
    State(const State&) = delete;
    State& operator=(const State&) = delete;
};

Digest::Digest() : state_{std::make_unique<State>()} {}
Digest::~Digest() = default;
Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;

Digest& Digest::add(std::span<const std::byte> bytes) {
    ensure(XXH3_128bits_update(state_->xxh, bytes.data(), bytes.size()) == XXH_OK, "XXH3 update");
    return *this;
}

Digest& Digest::add(std::string_view text) {
    const std::uint64_t size = text.size();
    add(std::as_bytes(std::span{&size, 1}));
    return add(std::as_bytes(std::span{text}));
}

std::string Digest::hex() const {
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state_->xxh));
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : canonical.digest) text += {digits[byte >> 4], digits[byte & 15]};
    return text;
}

std::string hex_digest(std::span<const std::byte> bytes) {
    return Digest{}.add(bytes).hex();
}

std::uint64_t checksum64(std::span<const std::byte> bytes) noexcept {
    return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace weft

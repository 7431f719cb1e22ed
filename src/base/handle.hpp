#pragma once
#include <utility>

namespace weft {

/// Owns one C handle. `Traits` says `Raw`, `null()` and `close(Raw) noexcept`.
template <class Traits>
class Handle {
  public:
    using Raw = typename Traits::Raw;
    Handle() = default;
    explicit Handle(Raw raw) noexcept : raw_{raw} {}
    Handle(Handle&& other) noexcept : raw_{std::exchange(other.raw_, Traits::null())} {}
    Handle& operator=(Handle&& other) noexcept {
        Handle incoming{std::move(other)};  // what we held before closes with `incoming`
        std::swap(raw_, incoming.raw_);
        return *this;
    }
    ~Handle() {
        if (raw_ != Traits::null()) Traits::close(raw_);
    }
    [[nodiscard]] Raw get() const noexcept { return raw_; }
    [[nodiscard]] explicit operator bool() const noexcept { return raw_ != Traits::null(); }

  private:
    Raw raw_ = Traits::null();
};

}  // namespace weft

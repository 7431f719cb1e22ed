#pragma once
#include "base/digest.hpp"
#include "base/file.hpp"
#include "io/picture.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace weft::io {

/// Equal-sized RGB frames in an unlinked scratch file: pose maps are decoded once and read by slice, and vanish with the process.
class FrameStore {
  public:
    /// The file is made in `folder`. Throws with exit code 1 when that fails.
    FrameStore(const std::filesystem::path& folder, int width, int height);

    /// `Keep::no`: the frame counts and belongs to the digest, but takes no room and cannot be read.
    enum class Keep { yes, no };
    void append(const Picture& frame, Keep keep = Keep::yes);
    [[nodiscard]] std::int64_t size() const noexcept { return size_; }
    [[nodiscard]] int width() const noexcept { return width_; }
    [[nodiscard]] int height() const noexcept { return height_; }

    /// Copies frame `frame` to `rgb` (height * width * 3 bytes).
    void read(std::int64_t frame, std::span<std::uint8_t> rgb) const;

    /// What the scratch file takes on its disk.
    [[nodiscard]] std::int64_t room_bytes() const;

    /// Hash of size, width, height and all frames in order.
    [[nodiscard]] std::string digest() const;

  private:
    FileDescriptor file_;
    int width_ = 0;
    int height_ = 0;
    std::int64_t size_ = 0;
    Digest frames_;  ///< of all frames, in order
};

}  // namespace weft::io

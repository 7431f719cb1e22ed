#pragma once
// Internal to this room.
#include "io/picture.hpp"

#include <cstdint>
#include <filesystem>
#include <span>

namespace weft::io {

/// Exactly the pixels that PIL's convert("RGB") gives, with which the published programs read; FFmpeg's decoder is off by up to 4. EXIF is left to the caller.
/// Refuses (exit code 2) what is damaged, cut off or larger than `max_side`; `file` is named in the text.
[[nodiscard]] Picture read_jpeg(std::span<const std::uint8_t> bytes, int max_side, const std::filesystem::path& file);

}  // namespace weft::io

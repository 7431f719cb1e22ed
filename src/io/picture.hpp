#pragma once
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace weft::io {

/// Interleaved RGB, 8 bits each, rows from the top, no padding.
struct Picture {
    int width = 0;
    int height = 0;
    std::vector<std::uint8_t> rgb;  ///< height * width * 3

    [[nodiscard]] bool operator==(const Picture&) const = default;
};

/// PNG, JPEG or WebP, told by content; EXIF rotation is applied, transparency laid over black. Refuses (exit code 2) what is no picture.
[[nodiscard]] Picture read_picture(const std::filesystem::path& path);

/// The picture as a PNG file. Equal pictures give equal bytes.
[[nodiscard]] std::string png_bytes(const Picture& picture);

void write_png(const std::filesystem::path& path, const Picture& picture);

/// Scales so that the picture covers width x height (area averages when it shrinks, bicubic when it grows; bit-exact everywhere), then crops the centre.
[[nodiscard]] Picture cover(const Picture& picture, int width, int height);

/// Exactly width x height, aspect not kept; the same filters.
[[nodiscard]] Picture scale(const Picture& picture, int width, int height);

}  // namespace weft::io

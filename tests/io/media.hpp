#pragma once
// Pictures, films and places for the tests of this room, made when they run.
#include "base/error.hpp"
#include "io/picture.hpp"

#include <gtest/gtest.h>

#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>

namespace weft::io::test {

namespace fs = std::filesystem;

/// A fresh folder, removed with all it holds.
class Folder {
  public:
    Folder() {
        std::string name = (fs::temp_directory_path() / "weft-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
        path_ = name;
    }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    [[nodiscard]] const fs::path& path() const { return path_; }
    [[nodiscard]] fs::path operator/(const std::string& name) const { return path_ / name; }

  private:
    fs::path path_;
};

/// A tmpfs in a fresh folder. Where mounting is not allowed the test fails: it never skips itself.
class Mount {
  public:
    Mount(unsigned long flags, const char* options) {
        is_mounted_ = ::mount("tmpfs", folder_.path().c_str(), "tmpfs", flags, options) == 0;
        if (!is_mounted_)
            ADD_FAILURE() << "a tmpfs cannot be mounted here (" << errno_text(errno)
                          << "); run this test as root, or with unshare --user --map-root-user --mount";
    }
    Mount(const Mount&) = delete;
    Mount& operator=(const Mount&) = delete;
    ~Mount() {
        if (is_mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
    }
    [[nodiscard]] explicit operator bool() const { return is_mounted_; }
    [[nodiscard]] const fs::path& path() const { return folder_.path(); }
    [[nodiscard]] fs::path operator/(const std::string& name) const { return folder_ / name; }

  private:
    Folder folder_;
    bool is_mounted_ = false;
};

inline void write_bytes(const fs::path& path, std::string_view bytes) {
    std::ofstream{path, std::ios::binary}.write(bytes.data(), std::streamsize(bytes.size()));
}

inline std::string bytes_of(const fs::path& path) {
    std::ostringstream text;
    text << std::ifstream{path, std::ios::binary}.rdbuf();
    return std::move(text).str();
}

/// The error that `action` must throw, with exit code `code`.
inline std::string error_of(ExitCode code, const std::function<void()>& action) {
    try {
        action();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), code) << error.what();
        return error.what();
    }
    ADD_FAILURE() << "no error";
    return {};
}

inline Picture plain(int width, int height, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
    Picture picture{width, height, {}};
    for (int i = 0; i < width * height; ++i) picture.rgb.insert(picture.rgb.end(), {red, green, blue});
    return picture;
}

/// A soft gradient with a box that moves from frame to frame.
inline Picture drawing(int width, int height, int frame) {
    Picture picture{width, height, {}};
    for (int y = 0; y < height; ++y)
        for (int x = 0; x < width; ++x) {
            const bool box = x >= 4 + 2 * frame && x < 20 + 2 * frame && y >= 8 && y < 24;
            picture.rgb.push_back(std::uint8_t(box ? 220 : 40 + 120 * x / width));
            picture.rgb.push_back(std::uint8_t(box ? 200 : 40 + 120 * y / height));
            picture.rgb.push_back(std::uint8_t(box ? 190 : 90));
        }
    return picture;
}

/// Every value occurs, neighbours have nothing in common.
inline Picture noise(int width, int height, std::uint32_t seed) {
    Picture picture{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
    std::uint32_t state = seed * 2654435761U + 1;
    for (auto& value : picture.rgb) {
        state = state * 1664525U + 1013904223U;
        value = std::uint8_t(state >> 24);
    }
    return picture;
}

inline double psnr(const Picture& a, const Picture& b) {
    EXPECT_EQ(a.rgb.size(), b.rgb.size());
    double sum = 0;
    for (std::size_t i = 0; i < std::min(a.rgb.size(), b.rgb.size()); ++i) sum += std::pow(double(a.rgb[i]) - double(b.rgb[i]), 2);
    return sum == 0 ? 99 : 10 * std::log10(255.0 * 255.0 * double(a.rgb.size()) / sum);
}

/// Channel `c` of the pixel at (x, y).
inline int at(const Picture& picture, int x, int y, int c) {
    return picture.rgb[(std::size_t(y) * std::size_t(picture.width) + std::size_t(x)) * 3 + std::size_t(c)];
}

inline void expect_colour(const Picture& picture, int x, int y, int red, int green, int blue, int error) {
    EXPECT_NEAR(at(picture, x, y, 0), red, error) << "red at " << x << ", " << y;
    EXPECT_NEAR(at(picture, x, y, 1), green, error) << "green at " << x << ", " << y;
    EXPECT_NEAR(at(picture, x, y, 2), blue, error) << "blue at " << x << ", " << y;
}

}  // namespace weft::io::test

#include "io/frame_store.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

namespace weft::io {

namespace {

FileDescriptor unlinked_file(const std::filesystem::path& folder) {
    const auto where = folder.empty() ? std::filesystem::path{"."} : folder;
    if (FileDescriptor file{::open(where.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)}; file) return file;
    if (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL) {  // NFS and other file systems without O_TMPFILE
        std::string name = (where / "weft-frames-XXXXXX").string();
        if (FileDescriptor file{::mkostemp(name.data(), O_CLOEXEC)}; file) {
            ::unlink(name.c_str());
            return file;
        }
    }
    fail(cat(where.string(), ": failed while making a scratch file for frames: ", errno_text(errno)));
}

std::size_t frame_bytes(int width, int height) {
    return std::size_t(width) * std::size_t(height) * 3;
}

}  // namespace

FrameStore::FrameStore(const std::filesystem::path& folder, int width, int height) : width_{width}, height_{height} {
    ensure(width > 0 && height > 0, "a frame store for frames without pixels");
    file_ = unlinked_file(folder);
}

void FrameStore::append(const Picture& frame, Keep keep) {
    ensure(frame.width == width_ && frame.height == height_ && frame.rgb.size() == frame_bytes(width_, height_),
           "a frame store was given a frame of another size");
    frames_.add(std::as_bytes(std::span{frame.rgb}));
    auto at = off_t(size_ * std::int64_t(frame.rgb.size()));  // a frame that is not kept leaves a hole in the file
    for (std::span<const std::uint8_t> rest{frame.rgb}; keep == Keep::yes && !rest.empty();) {
        const auto written = ::pwrite(file_.get(), rest.data(), rest.size(), at);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) fail(cat("writing frame ", size_, " to the scratch file for frames failed: ", errno_text(errno)));
        rest = rest.subspan(std::size_t(written));
        at += written;
    }
    ++size_;
}

void FrameStore::read(std::int64_t frame, std::span<std::uint8_t> rgb) const {
    ensure(frame >= 0 && frame < size_ && rgb.size() == frame_bytes(width_, height_), "a frame store was asked for a frame that it does not hold");
    auto at = off_t(frame * std::int64_t(rgb.size()));
    while (!rgb.empty()) {
        const auto got = ::pread(file_.get(), rgb.data(), rgb.size(), at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) fail(cat("reading frame ", frame, " from the scratch file for frames failed: ", got < 0 ? errno_text(errno) : "the file ends early"));
        rgb = rgb.subspan(std::size_t(got));
        at += got;
    }
}

std::int64_t FrameStore::room_bytes() const {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) fail(cat("the scratch file for frames cannot be examined: ", errno_text(errno)));
    return std::int64_t{status.st_blocks} * 512;
}

std::string FrameStore::digest() const {
    return Digest{}.add(cat(size_, " frames of ", width_, " x ", height_)).add(frames_.hex()).hex();
}

}  // namespace weft::io

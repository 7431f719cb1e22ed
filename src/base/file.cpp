#include "base/file.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

namespace weft {

void FileDescriptorTraits::close(Raw raw) noexcept {
    ::close(raw);
}

std::string read_text(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    std::ostringstream text;
    if (in) text << in.rdbuf();
    if (!in || std::filesystem::is_directory(path)) refuse(cat(path.string(), ": cannot be read: ", errno_text(errno)));
    return std::move(text).str();
}

namespace {
void sync_folder(const std::filesystem::path& path) {
    const auto folder = path.parent_path().empty() ? std::filesystem::path{"."} : path.parent_path();
    if (const FileDescriptor fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; fd) ::fsync(fd.get());
}
}  // namespace

void write_atomically(const std::filesystem::path& path, std::string_view text) {
    const std::filesystem::path part = path.string() + ".part";
    const auto failed = [&](const char* doing) {
        const int number = errno;
        ::unlink(part.c_str());
        fail(cat(path.string(), ": failed while ", doing, ": ", errno_text(number)));
    };
    {
        const FileDescriptor fd{::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
        if (!fd) failed("creating the file");
        for (std::string_view rest = text; !rest.empty();) {
            const auto written = ::write(fd.get(), rest.data(), rest.size());
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) failed("writing");
            rest.remove_prefix(static_cast<std::size_t>(written));
        }
        if (::fsync(fd.get()) != 0) failed("flushing to the disk");
    }
    if (::rename(part.c_str(), path.c_str()) != 0) failed("renaming the finished file");
    sync_folder(path);
}

std::string why_not_writable(const std::filesystem::path& folder) {
    const std::filesystem::path path = folder.empty() ? "." : folder;
    std::error_code error;
    if (std::filesystem::exists(path, error) && !std::filesystem::is_directory(path, error)) return errno_text(ENOTDIR);
    return ::access(path.c_str(), W_OK | X_OK) == 0 ? std::string{} : errno_text(errno);
}

MappedFile::MappedFile(const std::filesystem::path& path) : path_{path} {
    const FileDescriptor fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!fd) refuse(cat(path.string(), ": cannot be opened: ", errno_text(errno)));
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) refuse(cat(path.string(), ": cannot be examined: ", errno_text(errno)));
    if (!S_ISREG(status.st_mode)) refuse(cat(path.string(), ": is not a regular file"));
    if (status.st_size == 0) return;
    const auto size = static_cast<std::size_t>(status.st_size);
    void* const start = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (start == MAP_FAILED) fail(cat(path.string(), ": cannot be mapped: ", errno_text(errno)));
    bytes_ = {static_cast<const std::byte*>(start), size};
}

MappedFile::MappedFile(MappedFile&& other) noexcept : path_{std::move(other.path_)}, bytes_{std::exchange(other.bytes_, {})} {}

MappedFile::~MappedFile() {
    if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace weft

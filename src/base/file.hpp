#pragma once
#include "base/handle.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace weft {

struct FileDescriptorTraits {
    using Raw = int;
    static Raw null() noexcept { return -1; }
    static void close(Raw raw) noexcept;
};
using FileDescriptor = Handle<FileDescriptorTraits>;

/// The whole file as text. Refuses (exit code 2) when it cannot be read.
[[nodiscard]] std::string read_text(const std::filesystem::path& path);

/// Writes beside `path`, flushes to the disk and renames: the old content or the new, never a part. Throws with exit code 1.
void write_atomically(const std::filesystem::path& path, std::string_view text);

/// Why nothing can be written into `folder` ("" is the current one), in the system's words; "" when it can.
[[nodiscard]] std::string why_not_writable(const std::filesystem::path& folder);

/// A regular file mapped read-only. The mapping ends with the object; pages are shared with every process that maps the file.
class MappedFile {
  public:
    /// Refuses (exit code 2) a path that is missing, unreadable or not a regular file.
    explicit MappedFile(const std::filesystem::path& path);
    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&&) = delete;
    ~MappedFile();

    [[nodiscard]] std::span<const std::byte> bytes() const noexcept { return bytes_; }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return path_; }

  private:
    std::filesystem::path path_;
    std::span<const std::byte> bytes_;
};

}  // namespace weft

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"
#include "io/pickle.hpp"
#include "io/weight_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include <array>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <set>

namespace weft::io {

namespace {
constexpr std::uint64_t alignment = 64;

/// A file that appears under its name only when it is whole.
class PartFile {
  public:
    explicit PartFile(const std::filesystem::path& path) : path_{path}, part_{path.string() + ".part"} {
        file_ = FileDescriptor{::open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
        if (!file_) failed("creating the file");
    }
    PartFile(const PartFile&) = delete;
    PartFile& operator=(const PartFile&) = delete;
    ~PartFile() {
        if (file_) ::unlink(part_.c_str());
    }

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    void write(std::string_view bytes) {
        size_ += bytes.size();
        while (!bytes.empty()) {
            const auto written = ::write(file_.get(), bytes.data(), bytes.size());
            if (written < 0 && errno == EINTR) continue;
            if (written < 0) failed("writing");
            bytes.remove_prefix(static_cast<std::size_t>(written));
        }
    }

    void finish() {
        if (::fsync(file_.get()) != 0) failed("flushing to the disk");
        if (::rename(part_.c_str(), path_.c_str()) != 0) failed("renaming the finished file");
        file_ = {};
        const auto folder = path_.parent_path().empty() ? std::filesystem::path{"."} : path_.parent_path();
        if (const FileDescriptor fd{::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; fd) ::fsync(fd.get());
    }

  private:
    [[noreturn]] void failed(const char* doing) const { fail(cat(path_.string(), ": failed while ", doing, ": ", errno_text(errno))); }

    std::filesystem::path path_;
    std::filesystem::path part_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;
};

void ensure_writable(std::span<const TensorToWrite> tensors) {
    std::set<std::string_view> names;
    for (const auto& tensor : tensors) {
        const auto bytes = bytes_of(tensor.type, tensor.shape);
        ensure(bytes && static_cast<std::uint64_t>(*bytes) == tensor.bytes.size(),
               cat("tensor ", in_quotes(tensor.name), " to write has the bytes of its shape"));
        ensure(tensor.name.size() <= max_name_bytes && tensor.shape.size() <= max_dims, cat("tensor ", in_quotes(tensor.name), " to write can be read again"));
        ensure(names.insert(tensor.name).second, cat("tensor ", in_quotes(tensor.name), " is written once"));
    }
}

template <class Number>
void put(std::string& out, std::type_identity_t<Number> number) {
    out.append(reinterpret_cast<const char*>(&number), sizeof(Number));
}

std::uint32_t crc32(std::string_view bytes) {
    static constexpr auto table = [] {
        std::array<std::uint32_t, 256> values{};
        for (std::uint32_t i = 0; i < values.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320U : 0U);
            values[i] = value;
        }
        return values;
    }();
    std::uint32_t crc = ~0U;
    for (const char byte : bytes) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
    return ~crc;
}

/// Writes stored records, their data aligned as torch does it: by a padded extra field. ZIP64 where a number needs it.
class ZipWriter {
  public:
    explicit ZipWriter(PartFile& file) : file_{file} {}

    void add(std::string_view name, std::string_view bytes) {
        const Entry entry{std::string{name}, file_.size(), bytes.size(), crc32(bytes)};
        const bool large = bytes.size() >= saturated;
        std::string extra;
        if (large) {
            put<std::uint16_t>(extra, 1);
            put<std::uint16_t>(extra, 16);
            put<std::uint64_t>(extra, entry.size);
            put<std::uint64_t>(extra, entry.size);
        }
        const auto unpadded = entry.offset + 30 + name.size() + extra.size() + 4;
        const auto padding = (alignment - unpadded % alignment) % alignment;
        extra += "FB";
        put<std::uint16_t>(extra, static_cast<std::uint16_t>(padding));
        extra.append(padding, 'Z');

        std::string header = "PK\x03\x04";
        put_common(header, entry, large);
        put<std::uint16_t>(header, static_cast<std::uint16_t>(extra.size()));
        file_.write(header += entry.name + extra);
        file_.write(bytes);
        entries_.push_back(entry);
    }

    void finish() {
        const auto begin = file_.size();
        for (const auto& entry : entries_) {
            const bool large = entry.size >= saturated, far = entry.offset >= saturated;
            std::string extra;
            if (large || far) {
                put<std::uint16_t>(extra, 1);
                put<std::uint16_t>(extra, static_cast<std::uint16_t>((large ? 16 : 0) + (far ? 8 : 0)));
                if (large) put<std::uint64_t>(extra, entry.size);
                if (large) put<std::uint64_t>(extra, entry.size);
                if (far) put<std::uint64_t>(extra, entry.offset);
            }
            std::string header = "PK\x01\x02";
            put<std::uint16_t>(header, version_zip64);
            put_common(header, entry, large || far);
            put<std::uint16_t>(header, static_cast<std::uint16_t>(extra.size()));
            put<std::uint16_t>(header, 0);  // comment
            put<std::uint16_t>(header, 0);  // disk
            put<std::uint16_t>(header, 0);  // attributes
            put<std::uint32_t>(header, 0);
            put<std::uint32_t>(header, far ? saturated : static_cast<std::uint32_t>(entry.offset));
            file_.write(header += entry.name + extra);
        }
        const auto end = file_.size();
        std::string tail;
        if (end >= saturated || entries_.size() >= 0xffff) {
            tail += "PK\x06\x06";
            put<std::uint64_t>(tail, 44);  // bytes that follow
            put<std::uint16_t>(tail, version_zip64);
            put<std::uint16_t>(tail, version_zip64);
            put<std::uint64_t>(tail, 0);  // disks
            put<std::uint64_t>(tail, entries_.size());
            put<std::uint64_t>(tail, entries_.size());
            put<std::uint64_t>(tail, end - begin);
            put<std::uint64_t>(tail, begin);
            tail += "PK\x06\x07";
            put<std::uint32_t>(tail, 0);
            put<std::uint64_t>(tail, end);
            put<std::uint32_t>(tail, 1);
        }
        const auto count = static_cast<std::uint16_t>(std::min<std::size_t>(entries_.size(), 0xffff));
        tail += "PK\x05\x06";
        put<std::uint32_t>(tail, 0);  // disks
        put<std::uint16_t>(tail, count);
        put<std::uint16_t>(tail, count);
        put<std::uint32_t>(tail, static_cast<std::uint32_t>(std::min<std::uint64_t>(end - begin, saturated)));
        put<std::uint32_t>(tail, static_cast<std::uint32_t>(std::min<std::uint64_t>(begin, saturated)));
        put<std::uint16_t>(tail, 0);  // comment
        file_.write(tail);
    }

  private:
    struct Entry {
        std::string name;
        std::uint64_t offset = 0;
        std::uint64_t size = 0;
        std::uint32_t crc = 0;
    };

    static constexpr std::uint32_t saturated = 0xffffffff;
    static constexpr std::uint16_t version = 20, version_zip64 = 45;

    /// What local header and directory share, up to the length of the name.
    static void put_common(std::string& header, const Entry& entry, bool zip64) {
        const auto size = entry.size >= saturated ? saturated : static_cast<std::uint32_t>(entry.size);
        put<std::uint16_t>(header, zip64 ? version_zip64 : version);
        put<std::uint16_t>(header, 0x0800);  // names are UTF-8
        put<std::uint16_t>(header, 0);       // stored
        put<std::uint16_t>(header, 0);       // midnight,
        put<std::uint16_t>(header, 0x21);    // 1 January 1980: bytes repeat
        put<std::uint32_t>(header, entry.crc);
        put<std::uint32_t>(header, size);
        put<std::uint32_t>(header, size);
        put<std::uint16_t>(header, static_cast<std::uint16_t>(entry.name.size()));
    }

    PartFile& file_;
    std::vector<Entry> entries_;
};

void put_text(std::string& pickle, std::string_view text) {
    pickle += 'X';
    put<std::uint32_t>(pickle, static_cast<std::uint32_t>(text.size()));
    pickle += text;
}

void put_integer(std::string& pickle, std::int64_t number) {
    if (number <= std::numeric_limits<std::int32_t>::max()) {
        pickle += 'J';
        put<std::int32_t>(pickle, static_cast<std::int32_t>(number));
    } else {
        pickle += "\x8a\x08";
        put<std::int64_t>(pickle, number);
    }
}

void put_tuple(std::string& pickle, std::span<const std::int64_t> numbers) {
    pickle += '(';
    for (const auto number : numbers) put_integer(pickle, number);
    pickle += 't';
}

/// {name: torch._utils._rebuild_tensor_v2(("storage", class, key, "cpu", elements), 0, shape, strides, False, OrderedDict())}
std::string pickled(std::span<const TensorToWrite> tensors) {
    std::string pickle = "\x80\x02}(";
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        const auto& tensor = tensors[i];
        put_text(pickle, tensor.name);
        pickle += "ctorch._utils\n_rebuild_tensor_v2\n((";
        put_text(pickle, "storage");
        pickle += cat("ctorch\n", pickle::storage_class(tensor.type), "\n");
        put_text(pickle, std::to_string(i));
        put_text(pickle, "cpu");
        put_integer(pickle, static_cast<std::int64_t>(tensor.bytes.size() / element_bytes(tensor.type)));
        pickle += "tQ";
        put_integer(pickle, 0);
        put_tuple(pickle, tensor.shape);
        put_tuple(pickle, row_major(tensor.shape));
        pickle += '\x89';
        pickle += "ccollections\nOrderedDict\n)RtR";
    }
    return pickle += "u.";
}
}  // namespace

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
    ensure_writable(tensors);
    std::string header = "{";
    std::uint64_t offset = 0;
    for (const auto& tensor : tensors) {
        const auto end = offset + tensor.bytes.size();
        header += cat(header.size() > 1 ? "," : "", nlohmann::json(tensor.name).dump(), ":{\"dtype\":\"", element_name(tensor.type), "\",\"shape\":[",
                      join(tensor.shape, ","), "],\"data_offsets\":[", offset, ",", end, "]}");
        offset = end;
    }
    header += '}';
    header.append((alignment - (8 + header.size()) % alignment) % alignment, ' ');

    PartFile file{path};
    std::string length;
    put<std::uint64_t>(length, header.size());
    file.write(length);
    file.write(header);
    for (const auto& tensor : tensors) file.write(as_text(tensor.bytes));
    file.finish();
}

void write_torch_archive(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
    ensure_writable(tensors);
    PartFile file{path};
    ZipWriter zip{file};
    zip.add("archive/data.pkl", pickled(tensors));
    zip.add("archive/byteorder", "little");
    for (std::size_t i = 0; i < tensors.size(); ++i) zip.add(cat("archive/data/", i), as_text(tensors[i].bytes));
    zip.add("archive/version", "3\n");
    zip.finish();
    file.finish();
}

}  // namespace weft::io

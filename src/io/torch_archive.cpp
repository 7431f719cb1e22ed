#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"
#include "io/pickle.hpp"
#include "io/weight_file.hpp"

#include <algorithm>
#include <functional>
#include <set>

namespace weft::io {

namespace {
constexpr std::string_view get_it_again = "copy or download it again";

// ---- what both containers share: a pickled dict whose tensors lie in storages ----

using FindStorage = std::function<std::span<const std::byte>(const pickle::StorageRecord&)>;

/// The dict of tensors: the root itself, or what it holds as "state_dict", as training checkpoints do.
pickle::Dict state_dict(const pickle::Document& document, const std::string& file) {
    const auto* const root = std::get_if<pickle::Dict>(&document.root);
    if (root == nullptr) refuse(cat(file, ": holds no dict of tensors; save it again with torch.save(model.state_dict(), PATH)"));
    for (const auto& [key, value] : document.entries(*root))
        if (const auto* const name = std::get_if<std::string_view>(&key); name != nullptr && *name == "state_dict")
            if (const auto* const inner = std::get_if<pickle::Dict>(&value)) return *inner;
    return *root;
}

Shape shape_of(std::span<const pickle::Value> values, std::string_view what, const std::string& tensor) {
    if (values.size() > max_dims) refuse(cat(tensor, " has more than ", max_dims, " dims"));
    Shape shape;
    for (const auto& value : values) {
        const auto* const number = std::get_if<std::int64_t>(&value);
        if (number == nullptr || *number < 0)
            refuse(cat(tensor, " has a ", what, number == nullptr ? " that is no number" : " below zero", "; the file is damaged"));
        shape.push_back(*number);
    }
    return shape;
}

void refuse_outside(const StoredTensor& tensor, std::int64_t storage_elements, const std::string& name) {
    std::int64_t end = tensor.offset;  // behind the last element
    bool overflow = false, empty = false;
    for (std::size_t dim = 0; dim < tensor.shape.size(); ++dim) {
        std::int64_t reach = 0;
        overflow = overflow || __builtin_mul_overflow(std::max<std::int64_t>(tensor.shape[dim], 1) - 1, tensor.strides[dim], &reach) ||
                   __builtin_add_overflow(end, reach, &end);
        empty = empty || tensor.shape[dim] == 0;
    }
    if (!empty) overflow = overflow || __builtin_add_overflow(end, 1, &end);
    if (tensor.offset < 0 || overflow || (empty ? tensor.offset : end) > storage_elements)
        refuse(cat(name, " of shape ", shape_text(tensor.shape), ", strides ", shape_text(tensor.strides), " and offset ", tensor.offset,
                   " does not lie inside its storage of ", storage_elements, " elements; the file is damaged"));
}

StoredTensor stored_tensor(const pickle::Document& document, const pickle::TensorRecord& record, const FindStorage& find, const std::string& name) {
    const auto& storage = document.storages[record.storage.at];
    StoredTensor tensor{
        storage.type, shape_of(document.items(record.shape), "dim", name), shape_of(document.items(record.strides), "stride", name), record.offset, {}};
    if (tensor.shape.size() != tensor.strides.size())
        refuse(cat(name, " has ", tensor.shape.size(), " dims, but ", tensor.strides.size(), " strides; the file is damaged"));
    if (!bytes_of(tensor.type, tensor.shape)) refuse(cat(name, " of shape ", shape_text(tensor.shape), " is larger than any file"));
    refuse_outside(tensor, storage.num_elements, name);
    tensor.storage = find(storage);
    return tensor;
}

TensorIndex index_tensors(const pickle::Document& document, const FindStorage& find, const std::string& file) {
    TensorIndex index;
    for (const auto& [key, value] : document.entries(state_dict(document, file))) {
        const auto* const name = std::get_if<std::string_view>(&key);
        const auto* const tensor = std::get_if<pickle::Tensor>(&value);
        if (name == nullptr || tensor == nullptr) continue;
        if (name->size() > max_name_bytes) refuse(cat(file, ": has a tensor name of ", name->size(), " bytes, at most ", max_name_bytes, " are allowed"));
        const auto text = cat(file, ": tensor ", in_quotes(*name));
        if (!index.emplace(*name, stored_tensor(document, document.tensors[tensor->at], find, text)).second)
            refuse(cat(text, " is there twice; the file is damaged"));
    }
    if (index.empty())
        refuse(cat(file, ": holds no tensors by name, neither at the top nor under \"state_dict\"; save it again with torch.save(model.state_dict(), PATH)"));
    return index;
}

/// Bytes of a storage; the pickle machine has seen to it that the number of elements is not negative.
std::uint64_t storage_bytes(const pickle::StorageRecord& storage, const std::string& file) {
    std::uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<std::uint64_t>(storage.num_elements), element_bytes(storage.type), &bytes))
        refuse(cat(file, ": storage ", in_quotes(storage.key), " of ", storage.num_elements, " elements is larger than any file"));
    return bytes;
}

// ---- zip ----

struct ZipRecord {
    std::string_view name;
    std::uint64_t header = 0;  ///< where its local header begins
    std::uint64_t begin = 0;   ///< where its data begins
    std::uint64_t size = 0;    ///< as stored
    std::uint64_t full_size = 0;
    std::uint16_t method = 0;
    bool encrypted = false;
};

/// The records of a zip file, found by its directory. Nothing is unpacked: torch stores its records as they are.
class ZipFile {
  public:
    ZipFile(std::span<const std::byte> bytes, const std::string& file) : bytes_{bytes}, file_{file} {
        const auto directory = find_directory();
        read_directory(directory);
        refuse_overlaps(directory.begin);
    }

    [[nodiscard]] const std::map<std::string_view, ZipRecord>& records() const noexcept { return records_; }

    [[nodiscard]] std::span<const std::byte> contents(const ZipRecord& record) const {
        if (record.encrypted) refuse(cat(file_, ": record ", in_quotes(record.name), " is encrypted; save it again with torch.save"));
        if (record.method != 0 || record.size != record.full_size)
            refuse(cat(file_, ": record ", in_quotes(record.name), " is compressed (zip method ", record.method,
                       "), torch.save stores its records as they are; save it again with torch.save"));
        return bytes_.subspan(record.begin, record.size);
    }

  private:
    struct Directory {
        std::uint64_t begin = 0;
        std::uint64_t size = 0;
        std::uint64_t num_records = 0;
        std::uint64_t limit = 0;  ///< where the structure that speaks of it begins
    };

    [[noreturn]] void broken(const std::string& what) const { refuse(cat(file_, ": its zip directory ", what, "; the file is damaged, ", get_it_again)); }

    template <class Number>
    [[nodiscard]] std::uint64_t get(std::uint64_t at) const {
        return number_at<Number>(bytes_, at);
    }
    [[nodiscard]] bool says(std::uint64_t at, std::string_view signature) const { return as_text(bytes_.subspan(at, signature.size())) == signature; }

    [[nodiscard]] Directory find_directory() const {
        constexpr std::uint64_t end_bytes = 22, longest_comment = 0xffff, locator_bytes = 20, end64_bytes = 56;
        if (bytes_.size() < end_bytes) cut_short();
        std::uint64_t at = bytes_.size() - end_bytes;
        const std::uint64_t first = at > longest_comment ? at - longest_comment : 0;
        while (!says(at, "PK\x05\x06") || at + end_bytes + get<std::uint16_t>(at + 20) != bytes_.size())
            if (at-- == first) cut_short();

        Directory directory{get<std::uint32_t>(at + 16), get<std::uint32_t>(at + 12), get<std::uint16_t>(at + 10), at};
        const bool large = directory.begin == 0xffffffff || directory.size == 0xffffffff || directory.num_records == 0xffff;
        if (large && at >= locator_bytes && says(at - locator_bytes, "PK\x06\x07")) {
            const auto end64 = get<std::uint64_t>(at - locator_bytes + 8);
            if (at - locator_bytes < end64_bytes || end64 > at - locator_bytes - end64_bytes || !says(end64, "PK\x06\x06"))
                broken("has no ZIP64 end where it should be");
            directory = {get<std::uint64_t>(end64 + 48), get<std::uint64_t>(end64 + 40), get<std::uint64_t>(end64 + 32), end64};
        }
        if (directory.size > directory.limit || directory.begin > directory.limit - directory.size) broken("does not lie inside the file");
        return directory;
    }

    [[noreturn]] void cut_short() const {
        refuse(cat(file_, ": is cut short: a torch archive ends with a zip directory, which is missing behind the ", bytes_.size(), " bytes that are there; ",
                   get_it_again));
    }

    void read_directory(const Directory& directory) {
        constexpr std::uint64_t entry_bytes = 46;
        std::uint64_t at = directory.begin;
        const std::uint64_t end = directory.begin + directory.size;
        for (std::uint64_t i = 0; i < directory.num_records; ++i) {
            if (end - at < entry_bytes || !says(at, "PK\x01\x02")) broken(cat("ends after ", i, " of ", directory.num_records, " records"));
            const auto name_bytes = get<std::uint16_t>(at + 28), extra_bytes = get<std::uint16_t>(at + 30), comment_bytes = get<std::uint16_t>(at + 32);
            if (end - at - entry_bytes < name_bytes + extra_bytes + comment_bytes) broken(cat("ends after ", i, " of ", directory.num_records, " records"));
            ZipRecord record;
            record.name = as_text(bytes_.subspan(at + entry_bytes, name_bytes));
            record.encrypted = (get<std::uint16_t>(at + 8) & 1) != 0;
            record.method = static_cast<std::uint16_t>(get<std::uint16_t>(at + 10));
            record.size = get<std::uint32_t>(at + 20);
            record.full_size = get<std::uint32_t>(at + 24);
            record.header = get<std::uint32_t>(at + 42);
            read_zip64(record, at + entry_bytes + name_bytes, extra_bytes);
            find_data(record, directory.begin);
            if (!records_.emplace(record.name, record).second) broken(cat("names ", in_quotes(record.name), " twice"));
            at += entry_bytes + name_bytes + extra_bytes + comment_bytes;
        }
    }

    /// Replaces what did not fit into 32 bits by the numbers of the ZIP64 extra field.
    void read_zip64(ZipRecord& record, std::uint64_t at, std::uint64_t extra_bytes) const {
        std::vector<std::uint64_t*> missing;
        for (auto* const number : {&record.full_size, &record.size, &record.header})
            if (*number == 0xffffffff) missing.push_back(number);
        if (missing.empty()) return;
        const std::uint64_t end = at + extra_bytes;
        while (end - at >= 4) {
            const auto kind = get<std::uint16_t>(at), size = get<std::uint16_t>(at + 2);
            at += 4;
            if (size > end - at) break;
            if (kind == 1) {
                if (size < 8 * missing.size()) break;
                for (auto* const number : missing) {
                    *number = get<std::uint64_t>(at);
                    at += 8;
                }
                return;
            }
            at += size;
        }
        broken(cat("lacks the ZIP64 sizes of record ", in_quotes(record.name)));
    }

    /// By the local header: its name and extra field may be longer than the directory's.
    void find_data(ZipRecord& record, std::uint64_t limit) const {
        constexpr std::uint64_t header_bytes = 30;
        if (record.header > limit || limit - record.header < header_bytes || !says(record.header, "PK\x03\x04"))
            broken(cat("points to ", record.header, " for record ", in_quotes(record.name), ", where none begins"));
        const auto name_bytes = get<std::uint16_t>(record.header + 26);
        record.begin = record.header + header_bytes + name_bytes + get<std::uint16_t>(record.header + 28);
        if (record.begin > limit || record.size > limit - record.begin)
            broken(cat("gives record ", in_quotes(record.name), " ", record.size, " bytes from byte ", record.begin,
                       ", where the records of the file end at byte ", limit));
        if (as_text(bytes_.subspan(record.header + header_bytes, name_bytes)) != record.name)
            broken(cat("and the record itself disagree on the name ", in_quotes(record.name)));
    }

    void refuse_overlaps(std::uint64_t limit) const {
        std::vector<const ZipRecord*> order;
        order.reserve(records_.size());
        for (const auto& [name, record] : records_) order.push_back(&record);
        std::ranges::sort(order, {}, &ZipRecord::header);
        for (std::size_t i = 0; i < order.size(); ++i)
            if (order[i]->begin + order[i]->size > (i + 1 < order.size() ? order[i + 1]->header : limit))
                broken(cat("lets record ", in_quotes(order[i]->name), " overlap the next one"));
    }

    std::span<const std::byte> bytes_;
    const std::string& file_;
    std::map<std::string_view, ZipRecord> records_;
};

/// The folder inside the archive that holds everything: what stands before "/data.pkl".
std::string archive_stem(const ZipFile& zip, const std::string& file) {
    constexpr std::string_view ending = "/data.pkl";
    std::optional<std::string_view> found;
    for (const auto& [name, record] : zip.records())
        if (name.ends_with(ending)) {
            if (found) refuse(cat(file, ": holds more than one archive: ", in_quotes(*found), " and ", in_quotes(name), "; save it again with torch.save"));
            found = name;
        }
    if (!found) refuse(cat(file, ": is a zip file, but no torch archive: it has no record ARCHIVE/data.pkl"));
    return std::string{found->substr(0, found->size() - ending.size())};
}

// ---- the form before torch 1.6: pickles one behind the other, then the storages ----

constexpr std::string_view legacy_magic{"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", 10};  // 0x1950a86a20f9469cfc6c
constexpr std::int64_t legacy_protocol = 1001;

/// The storages that the pickle refers to, by key. Refuses a key that stands for two different ones.
std::map<std::string_view, pickle::StorageRecord> storages_by_key(const pickle::Document& document, const std::string& file) {
    std::map<std::string_view, pickle::StorageRecord> storages;
    for (const auto& storage : document.storages) {
        const auto& known = storages.emplace(storage.key, storage).first->second;
        if (known.type != storage.type || known.num_elements != storage.num_elements)
            refuse(cat(file, ": describes storage ", in_quotes(storage.key), " in two ways; the file is damaged"));
    }
    return storages;
}

struct LegacyReader {
    std::span<const std::byte> bytes;
    const std::string& file;
    std::size_t at = 0;

    pickle::Document next() {
        auto document = pickle::read(bytes.subspan(at), file);
        at += document.size;
        return document;
    }
};

void refuse_other_machines(const pickle::Document& system, const std::string& file) {
    const auto* const root = std::get_if<pickle::Dict>(&system.root);
    if (root == nullptr) refuse(cat(file, ": does not say what machine wrote it; the file is damaged"));
    for (const auto& [key, value] : system.entries(*root)) {
        const auto* const name = std::get_if<std::string_view>(&key);
        const auto* const little = std::get_if<bool>(&value);
        if (name != nullptr && *name == "little_endian" && (little == nullptr || !*little))
            refuse(cat(file, ": was written on a big-endian machine; load it there in Python and save it as a safetensors file"));
    }
}
}  // namespace

TensorIndex index_torch_zip(std::span<const std::byte> bytes, const std::string& name) {
    const ZipFile zip{bytes, name};
    const auto& records = zip.records();
    const auto stem = archive_stem(zip, name);
    if (const auto found = records.find(stem + "/byteorder"); found != records.end() && as_text(zip.contents(found->second)) != "little")
        refuse(cat(name,
                   ": was written on a machine with another byte order (its record \"byteorder\" is not \"little\"); load it in Python and save it as a "
                   "safetensors file"));

    const auto document = pickle::read(zip.contents(records.at(stem + "/data.pkl")), name);
    const auto find = [&](const pickle::StorageRecord& storage) {
        const auto key = cat(stem, "/data/", storage.key);
        const auto found = records.find(key);
        if (found == records.end()) refuse(cat(name, ": its tensors need record ", in_quotes(key), ", which is missing; the file is damaged, ", get_it_again));
        const auto contents = zip.contents(found->second);
        if (contents.size() != storage_bytes(storage, name))
            refuse(cat(name, ": record ", in_quotes(key), " has ", contents.size(), " bytes where ", storage.num_elements, " elements of type ",
                       element_name(storage.type), " are expected; the file is damaged"));
        return contents;
    };
    return index_tensors(document, find, name);
}

TensorIndex index_torch_legacy(std::span<const std::byte> bytes, const std::string& name) {
    LegacyReader reader{bytes, name};
    const auto magic = reader.next();
    const auto* const number = std::get_if<pickle::BigInteger>(&magic.root);
    if (number == nullptr || number->bytes != legacy_magic) refuse(cat(name, ": is a pickle, but no torch archive; save it again with torch.save"));
    const auto protocol = reader.next();
    if (const auto* const version = std::get_if<std::int64_t>(&protocol.root); version == nullptr || *version != legacy_protocol)
        refuse(cat(name, ": is a torch archive of an unknown protocol, known is ", legacy_protocol, "; save it again with torch.save"));
    refuse_other_machines(reader.next(), name);
    const auto document = reader.next();
    const auto keys = reader.next();
    const auto* const list = std::get_if<pickle::List>(&keys.root);
    if (list == nullptr) refuse(cat(name, ": has no list of storages; the file is damaged"));

    struct Place {
        pickle::StorageRecord storage;
        std::uint64_t size = 0;
    };
    const auto storages = storages_by_key(document, name);
    std::vector<Place> places;
    std::set<std::string_view> seen;
    std::uint64_t expected = reader.at;
    for (const auto& value : keys.items(*list)) {
        const auto* const key = std::get_if<std::string_view>(&value);
        const auto found = key != nullptr ? storages.find(*key) : storages.end();
        if (found == storages.end() || !seen.insert(*key).second) refuse(cat(name, ": its list of storages does not match its tensors; the file is damaged"));
        places.push_back({found->second, storage_bytes(found->second, name)});
        if (__builtin_add_overflow(expected, 8, &expected) || __builtin_add_overflow(expected, places.back().size, &expected))
            refuse(cat(name, ": its storages together are larger than any file; the file is damaged"));
    }
    if (expected > bytes.size()) refuse(cat(name, ": is cut short: ", expected, " bytes are expected, ", bytes.size(), " are there; ", get_it_again));

    std::map<std::string_view, std::span<const std::byte>> contents;
    std::size_t at = reader.at;
    for (const auto& place : places) {
        if (const auto elements = number_at<std::int64_t>(bytes, at); elements != place.storage.num_elements)
            refuse(cat(name, ": storage ", in_quotes(place.storage.key), " has ", elements, " elements where ", place.storage.num_elements,
                       " are expected; the file is damaged"));
        contents.emplace(place.storage.key, bytes.subspan(at + 8, place.size));
        at += 8 + place.size;
    }
    const auto find = [&](const pickle::StorageRecord& storage) {
        const auto found = contents.find(storage.key);
        if (found == contents.end())
            refuse(cat(name, ": its tensors need storage ", in_quotes(storage.key), ", which is missing; the file is damaged, ", get_it_again));
        return found->second;
    };
    return index_tensors(document, find, name);
}

}  // namespace weft::io

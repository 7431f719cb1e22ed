#include "io/weight_file.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"

#include <algorithm>
#include <utility>

namespace weft::io {

std::size_t element_bytes(ElementType type) {
    switch (type) {
        case ElementType::f64:
        case ElementType::i64: return 8;
        case ElementType::f32:
        case ElementType::i32: return 4;
        case ElementType::f16:
        case ElementType::bf16:
        case ElementType::i16: return 2;
        case ElementType::i8:
        case ElementType::u8:
        case ElementType::boolean: return 1;
    }
    ensure(false, "an element type that does not exist");
    return 0;
}

std::string_view element_name(ElementType type) {
    switch (type) {
        case ElementType::f64: return "F64";
        case ElementType::f32: return "F32";
        case ElementType::f16: return "F16";
        case ElementType::bf16: return "BF16";
        case ElementType::i64: return "I64";
        case ElementType::i32: return "I32";
        case ElementType::i16: return "I16";
        case ElementType::i8: return "I8";
        case ElementType::u8: return "U8";
        case ElementType::boolean: return "BOOL";
    }
    ensure(false, "an element type that does not exist");
    return {};
}

std::string shape_text(std::span<const std::int64_t> shape) {
    return cat("[", join(shape), "]");
}

std::optional<std::int64_t> bytes_of(ElementType type, std::span<const std::int64_t> shape) {
    auto bytes = static_cast<std::int64_t>(element_bytes(type));
    bool empty = false;
    for (const auto dim : shape) {  // an empty dim counts as 1, so that strides fit as well
        if (dim < 0 || __builtin_mul_overflow(bytes, std::max<std::int64_t>(dim, 1), &bytes)) return std::nullopt;
        empty = empty || dim == 0;
    }
    return empty ? 0 : bytes;
}

Shape row_major(std::span<const std::int64_t> shape) {
    Shape strides(shape.size(), 1);
    for (std::size_t dim = shape.size(); dim > 1; --dim) strides[dim - 2] = strides[dim - 1] * std::max<std::int64_t>(shape[dim - 1], 1);
    return strides;
}

std::int64_t StoredTensor::num_elements() const {
    std::int64_t elements = 1;
    for (const auto dim : shape) elements *= dim;
    return elements;
}

bool StoredTensor::contiguous() const {
    std::int64_t expected = 1;
    for (std::size_t dim = shape.size(); dim-- > 0;) {
        if (shape[dim] == 0) return true;
        if (shape[dim] != 1 && strides[dim] != expected) return false;
        expected *= shape[dim];
    }
    return true;
}

namespace {
TensorIndex index_by_content(std::span<const std::byte> bytes, const std::string& name) {
    if (bytes.empty()) refuse(cat(name, ": is empty; copy or download it again"));
    const std::string_view text = as_text(bytes);
    if (text.starts_with("PK\x03\x04") || text.starts_with("PK\x05\x06")) return index_torch_zip(bytes, name);
    // Before the pickles: the length of a safetensors header may begin with a pickle's first byte.
    if (text.size() > 8 && text[8] == '{') return index_safetensors(bytes, name);
    if (text.starts_with('\x80')) return index_torch_legacy(bytes, name);
    if (text.starts_with("version https://git-lfs")) refuse(cat(name, ": is a Git LFS pointer, not the weights themselves; fetch them with \"git lfs pull\""));
    refuse(cat(name, ": is neither a safetensors file nor a torch archive (.pth, .pt, .bin); the first of its ", bytes.size(), " bytes are ",
               in_quotes(text.substr(0, 8)), ". Was a web page or another file saved in its place?"));
}
}  // namespace

WeightFile::WeightFile(std::shared_ptr<const MappedFile> file, TensorIndex tensors) : file_{std::move(file)}, tensors_{std::move(tensors)} {}

WeightFile WeightFile::open(const std::filesystem::path& path) {
    auto file = std::make_shared<const MappedFile>(path);
    auto tensors = index_by_content(file->bytes(), path.string());
    return {std::move(file), std::move(tensors)};
}

std::string WeightFile::digest() const {
    return hex_digest(file_->bytes());
}

}  // namespace weft::io

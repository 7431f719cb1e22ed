#pragma once
#include "base/file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::io {

/// Element types that weight files may hold.
enum class ElementType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

[[nodiscard]] std::size_t element_bytes(ElementType type);
[[nodiscard]] std::string_view element_name(ElementType type);  ///< "F16", as safetensors spells it

using Shape = std::vector<std::int64_t>;

/// "[320, 8, 3, 3]"
[[nodiscard]] std::string shape_text(std::span<const std::int64_t> shape);

/// One tensor inside a mapped file. Strides count elements, as Torch's do; every element lies inside `storage`.
struct StoredTensor {
    ElementType type = ElementType::f32;
    Shape shape;
    Shape strides;
    std::int64_t offset = 0;             ///< of the first element in `storage`, in elements
    std::span<const std::byte> storage;  ///< inside the mapping; not necessarily aligned to the element

    [[nodiscard]] std::int64_t num_elements() const;
    [[nodiscard]] bool contiguous() const;
};

/// A safetensors file or a torch archive (.pth, .pt, .bin: zip or legacy), mapped and indexed; nothing is copied and nothing in it is executed.
/// Bad input of every kind is refused with exit code 2 and a text that names the file and what is wrong.
class WeightFile {
  public:
    /// Tells the format by content.
    [[nodiscard]] static WeightFile open(const std::filesystem::path& path);

    /// By name, in name order.
    [[nodiscard]] const std::map<std::string, StoredTensor, std::less<>>& tensors() const noexcept { return tensors_; }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_->path(); }

    /// Hash of the whole content. Reads every page.
    [[nodiscard]] std::string digest() const;

  private:
    WeightFile(std::shared_ptr<MappedFile> file, std::map<std::string, StoredTensor, std::less<>> tensors);
    std::shared_ptr<MappedFile> file_;
    std::map<std::string, StoredTensor, std::less<>> tensors_;
};

using TensorIndex = std::map<std::string, StoredTensor, std::less<>>;

/// The three formats over bytes in memory (what the fuzz targets call). `name` stands in messages.
[[nodiscard]] TensorIndex index_safetensors(std::span<const std::byte> bytes, const std::string& name);
[[nodiscard]] TensorIndex index_torch_zip(std::span<const std::byte> bytes, const std::string& name);
[[nodiscard]] TensorIndex index_torch_legacy(std::span<const std::byte> bytes, const std::string& name);

/// What `write_safetensors` writes: contiguous, little-endian bytes.
struct TensorToWrite {
    std::string name;
    ElementType type = ElementType::f32;
    Shape shape;
    std::span<const std::byte> bytes;
};

/// Writes beside `path` and renames. Tensors lie in the given order, data aligned to 64 bytes.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

/// Writes a torch archive as `torch.save` of one flat dict would: zip, one record a tensor, stored, data aligned to 64 bytes.
void write_torch_archive(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

}  // namespace weft::io

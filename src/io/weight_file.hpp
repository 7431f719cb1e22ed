#pragma once
#include "base/file.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::io {

/// Element types that weight files may hold.
enum class ElementType { f64, f32, f16, bf16, i64, i32, i16, i8, u8, boolean };

inline constexpr std::array all_element_types{ElementType::f64, ElementType::f32, ElementType::f16, ElementType::bf16, ElementType::i64,
                                              ElementType::i32, ElementType::i16, ElementType::i8,  ElementType::u8,   ElementType::boolean};

[[nodiscard]] std::size_t element_bytes(ElementType type);
[[nodiscard]] std::string_view element_name(ElementType type);  ///< "F16", as safetensors spells it

using Shape = std::vector<std::int64_t>;

/// Readers refuse tensors of more dims: no weight has them, and a limit keeps damaged files cheap.
inline constexpr std::size_t max_dims = 16;
inline constexpr std::size_t max_name_bytes = 1024;

/// Elements times bytes of an element; nothing when a dim is negative or the product does not fit.
[[nodiscard]] std::optional<std::int64_t> bytes_of(ElementType type, std::span<const std::int64_t> shape);

/// Strides, in elements, of a contiguous tensor.
[[nodiscard]] Shape row_major(std::span<const std::int64_t> shape);

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

using TensorIndex = std::map<std::string, StoredTensor, std::less<>>;

/// A safetensors file or a torch archive (.pth, .pt, .bin: zip or legacy), mapped and indexed; nothing is copied and nothing in it is executed.
/// Bad input of every kind is refused with exit code 2 and a text that names the file and what is wrong.
class WeightFile {
  public:
    /// Tells the format by content.
    [[nodiscard]] static WeightFile open(const std::filesystem::path& path);

    /// By name, in name order. The tensors' bytes live as long as this object or a copy of it.
    [[nodiscard]] const TensorIndex& tensors() const noexcept { return tensors_; }
    [[nodiscard]] const std::filesystem::path& path() const noexcept { return file_->path(); }

    /// Hash of the whole content. Reads every page.
    [[nodiscard]] std::string digest() const;

  private:
    WeightFile(std::shared_ptr<const MappedFile> file, TensorIndex tensors);
    std::shared_ptr<const MappedFile> file_;
    TensorIndex tensors_;
};

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

/// Writes beside `path` and renames. Tensors lie in the given order, the first on a 64-byte border and without holes, which the official reader refuses.
/// Throws with exit code 1 when the system fails.
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

/// Writes a torch archive as `torch.save` of one flat dict would: zip, one record a tensor, stored, data aligned to 64 bytes.
/// Throws with exit code 1 when the system fails.
void write_torch_archive(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

}  // namespace weft::io

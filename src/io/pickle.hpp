#pragma once
#include "io/weight_file.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

/// A pickle machine that knows just what `torch.save` writes for weights. It calls nothing: the few functions that weights refer to are only noted.
namespace weft::io::pickle {

struct None {};
/// A value that weights do not need: a float, raw bytes, a device, an element type.
struct Opaque {};
/// An integer of more than 8 bytes, little-endian in two's complement.
struct BigInteger {
    std::string_view bytes;
};
/// The functions that a pickle may refer to. `opaque` stands for all whose result is not needed.
enum class Function { rebuild_tensor, rebuild_parameter, ordered_dict, opaque };

// Containers and records are places in the document: copying a value never copies what it holds, and cycles do no harm.
struct Tuple {
    std::uint32_t at;
};
struct List {
    std::uint32_t at;
};
struct Dict {
    std::uint32_t at;
};
struct Storage {
    std::uint32_t at;
};
struct Tensor {
    std::uint32_t at;
};

/// An `ElementType` is a storage class such as torch.HalfStorage; a `string_view` is text (UTF-8) inside the pickle.
using Value = std::variant<None, Opaque, bool, std::int64_t, BigInteger, std::string_view, Function, ElementType, Tuple, List, Dict, Storage, Tensor>;

struct StorageRecord {
    ElementType type = ElementType::f32;
    std::string_view key;
    std::int64_t num_elements = 0;
};

/// As written: nothing is checked but the kinds.
struct TensorRecord {
    Storage storage{};
    std::int64_t offset = 0;
    Tuple shape{};
    Tuple strides{};
};

/// What one pickle holds. Texts point into its bytes.
struct Document {
    Value root;
    std::size_t size = 0;  ///< bytes read, up to and including STOP
    std::vector<std::vector<Value>> sequences;
    std::vector<std::vector<std::pair<Value, Value>>> dicts;
    std::vector<StorageRecord> storages;
    std::vector<TensorRecord> tensors;

    [[nodiscard]] std::span<const Value> items(Tuple tuple) const { return sequences[tuple.at]; }
    [[nodiscard]] std::span<const Value> items(List list) const { return sequences[list.at]; }
    [[nodiscard]] std::span<const std::pair<Value, Value>> entries(Dict dict) const { return dicts[dict.at]; }
};

/// Reads one pickle from the start of `bytes`, which must outlive the document. Time and memory are bounded by a fixed number of operations.
/// Refuses (exit code 2) what is cut short, damaged, or refers to anything that weights do not need. `file` stands in messages.
[[nodiscard]] Document read(std::span<const std::byte> bytes, const std::string& file);

/// "HalfStorage": the class in module torch that holds elements of `type`.
[[nodiscard]] std::string_view storage_class(ElementType type);

}  // namespace weft::io::pickle

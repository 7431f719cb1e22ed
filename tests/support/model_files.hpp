#pragma once
#include "io/weight_file.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>

/// Model folders that a test then changes.
namespace weft::test {

/// Links to all files below `from`, in folders of their own below `to`. Replacing a file there leaves the one that was linked as it is.
void link_files(const std::filesystem::path& from, const std::filesystem::path& to);

using Tensors = std::map<std::string, io::TensorToWrite>;

/// Writes what `change` makes of the tensors of `from` to `to`, as a safetensors file or a torch archive by its ending. Bytes are views of `from`.
void rewrite_weights(const std::filesystem::path& from, const std::filesystem::path& to, const std::function<void(Tensors&)>& change);

/// A 2-byte number over and over, as many bytes as asked for, at most 1 MiB.
[[nodiscard]] std::span<const std::byte> filled_with(std::uint16_t bits, std::size_t bytes);

}  // namespace weft::test

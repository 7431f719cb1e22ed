#include "support/model_files.hpp"

#include "base/error.hpp"

#include <vector>

namespace weft::test {

namespace fs = std::filesystem;

void link_files(const fs::path& from, const fs::path& to) {
    fs::create_directories(to);
    for (const auto& entry : fs::recursive_directory_iterator(from)) {
        const auto there = to / entry.path().lexically_relative(from);
        entry.is_directory() ? static_cast<void>(fs::create_directory(there)) : fs::create_symlink(fs::absolute(entry.path()), there);
    }
}

void rewrite_weights(const fs::path& from, const fs::path& to, const std::function<void(Tensors&)>& change) {
    const auto file = io::WeightFile::open(from);
    Tensors tensors;
    for (const auto& [name, stored] : file.tensors()) {
        const auto width = io::element_bytes(stored.type);
        const auto bytes = stored.storage.subspan(static_cast<std::size_t>(stored.offset) * width, static_cast<std::size_t>(stored.num_elements()) * width);
        tensors[name] = {name, stored.type, stored.shape, bytes};
    }
    change(tensors);
    std::vector<io::TensorToWrite> list;
    for (auto& [name, tensor] : tensors) {
        tensor.name = name;
        list.push_back(tensor);
    }
    to.extension() == ".safetensors" ? io::write_safetensors(to, list) : io::write_torch_archive(to, list);
}

std::span<const std::byte> filled_with(std::uint16_t bits, std::size_t bytes) {
    static std::map<std::uint16_t, std::vector<std::uint16_t>> made;
    auto& values = made[bits];
    if (values.empty()) values.assign(std::size_t{1} << 19, bits);
    ensure(bytes <= values.size() * sizeof bits, "no test's tensor is larger");
    return std::as_bytes(std::span(values)).first(bytes);
}

}  // namespace weft::test

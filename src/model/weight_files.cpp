#include "model/weight_files.hpp"

#include "base/text.hpp"
#include "device/meter.hpp"
#include "device/rehearsal.hpp"

#include <algorithm>
#include <cstring>
#include <set>

namespace weft::model {

namespace {
c10::ScalarType scalar_type(io::ElementType type) {
    switch (type) {
        case io::ElementType::f64: return c10::kDouble;
        case io::ElementType::f32: return c10::kFloat;
        case io::ElementType::f16: return c10::kHalf;
        case io::ElementType::bf16: return c10::kBFloat16;
        case io::ElementType::i64: return c10::kLong;
        case io::ElementType::i32: return c10::kInt;
        case io::ElementType::i16: return c10::kShort;
        case io::ElementType::i8: return c10::kChar;
        case io::ElementType::u8: return c10::kByte;
        case io::ElementType::boolean: return c10::kBool;
    }
    ensure(false, "an element type without a Torch type");
    return c10::kByte;
}

bool on_border(const void* data, std::size_t border) {
    return reinterpret_cast<std::uintptr_t>(data) % border == 0;
}
}  // namespace

at::Tensor as_tensor(const io::StoredTensor& stored, std::shared_ptr<const io::WeightFile> keep) {
    const auto type = scalar_type(stored.type);
    const auto width = io::element_bytes(stored.type);
    const auto options = at::TensorOptions{}.dtype(type);
    if (stored.num_elements() == 0) return at::empty(stored.shape, options);
    const auto* const first = stored.storage.data() + static_cast<std::size_t>(stored.offset) * width;
    if (on_border(first, width)) {
        // Torch has no read-only tensors; nothing in weft writes to weights.
        const auto mapped = at::from_blob(
            const_cast<std::byte*>(first), stored.shape, stored.strides, [keep](void*) {}, options);
        if (on_border(first, 64) && stored.contiguous()) return mapped;
        return mapped.clone(at::MemoryFormat::Contiguous);
    }
    const auto bytes = at::empty({static_cast<std::int64_t>(stored.storage.size())}, at::TensorOptions{}.dtype(c10::kByte));
    std::memcpy(bytes.mutable_data_ptr(), stored.storage.data(), stored.storage.size());
    return bytes.narrow(0, 0, static_cast<std::int64_t>(stored.storage.size() / width * width))
        .view(type)
        .as_strided(stored.shape, stored.strides, stored.offset)
        .clone(at::MemoryFormat::Contiguous);
}

namespace {
/// Matrices are published with or without the dims of a 1 x 1 kernel.
bool is_shape(const std::vector<std::int64_t>& stored, at::IntArrayRef wanted) {
    const auto shape = at::IntArrayRef(stored);
    return shape == wanted || (wanted.size() == 2 && shape.size() == 4 && shape.slice(0, 2) == wanted && shape[2] == 1 && shape[3] == 1);
}
}  // namespace

std::pair<const io::StoredTensor*, FileSource::File> FileSource::find(const std::string& key, at::IntArrayRef shape) const {
    const auto name = prefix_ + (name_in_file_ != nullptr ? name_in_file_(key) : key);
    for (const auto& file : files_) {
        const auto found = file->tensors().find(name);
        if (found == file->tensors().end()) continue;
        if (!is_shape(found->second.shape, shape))
            refuse(cat(file->path().string(), ": key ", name, " has shape ", io::shape_text(found->second.shape), ", wanted is ",
                       io::shape_text({shape.data(), shape.size()})));
        return {&found->second, file};
    }
    refuse(cat(files_.front()->path().string(), ": key ", name, " is missing"));
}

namespace {
/// In a rehearsal: what is mapped from the file takes no memory of the process.
at::Tensor without_data(const io::StoredTensor& stored, at::IntArrayRef shape, c10::ScalarType dtype, c10::MemoryFormat format) {
    const auto make = [&] { return at::empty(shape, at::TensorOptions{}.device(c10::kMeta).dtype(dtype), format); };
    const auto uncounted = [&] {
        const Rehearsal::Uncounted in_the_file;
        return make();
    }();
    const auto* const first = stored.storage.data() + static_cast<std::size_t>(stored.offset) * io::element_bytes(stored.type);
    const bool as_stored = scalar_type(stored.type) == dtype && on_border(first, 64) && stored.contiguous() && uncounted.is_contiguous();
    return as_stored && device_kind(uncounted) == c10::kCPU ? uncounted : make();
}
}  // namespace

at::Tensor FileSource::load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) {
    const OwnedBy owner(Owner::weights);
    const auto [stored, file] = find(key, shape);
    if (device_.is_meta()) return without_data(*stored, shape, dtype_, format);
    const auto tensor = as_tensor(*stored, file).view(shape);
    if (!device_.is_cpu()) return tensor.to(device_, dtype_).contiguous(format);
    // What has both layouts, as kernels of 1 x 1, stays mapped.
    return tensor.is_contiguous(format) ? tensor.to(dtype_) : tensor.to(device_, dtype_, /*non_blocking=*/false, /*copy=*/false, format);
}

void FileSource::expect(const std::string& key, at::IntArrayRef shape) {
    static_cast<void>(find(key, shape));
}

void check_wanted(std::span<const KeySpec> wanted, const io::WeightFile& file, Mistakes& mistakes) {
    std::set<std::string> names;
    for (const auto& [name, shape, needed] : wanted) {
        if (!names.insert(name).second) continue;  // asked for by two units
        const auto found = file.tensors().find(name);
        if (found == file.tensors().end())
            mistakes.add(cat(file.path().string(), ": key ", name, " is missing; wanted is ", io::shape_text(shape)));
        else if (!is_shape(found->second.shape, shape))
            mistakes.add(cat(file.path().string(), ": key ", name, " has shape ", io::shape_text(found->second.shape), ", wanted is ", io::shape_text(shape)));
        else if (const auto type = found->second.type;
                 type != io::ElementType::f16 && type != io::ElementType::bf16 && type != io::ElementType::f32 && type != io::ElementType::f64)
            mistakes.add(cat(file.path().string(), ": key ", name, " holds ", io::element_name(type), ", wanted are floating-point numbers"));
    }
}

void check_keys(std::span<const KeySpec> wanted, const io::WeightFile& file, std::span<const std::string> ignored, Mistakes& mistakes) {
    check_wanted(wanted, file, mistakes);
    std::set<std::string> names;
    for (const auto& spec : wanted) names.insert(spec.key);
    for (const auto& [name, stored] : file.tensors()) {
        const auto covers = [&name = name](const std::string& part) { return name.starts_with(part) || name.ends_with(part); };
        if (!names.contains(name) && std::ranges::none_of(ignored, covers))
            mistakes.add(cat(file.path().string(), ": key ", name, " ", io::shape_text(stored.shape),
                             " is surplus: no part of the model that the config files describe"));
    }
}

}  // namespace weft::model

#include "model/weights.hpp"

#include "device/meter.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

namespace weft::model {

std::int64_t KeySpec::elements() const {
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>{});
}

std::int64_t held_bytes(std::span<const KeySpec> keys, std::int64_t element_bytes) {
    constexpr std::int64_t border = 64;
    std::int64_t sum = 0;
    for (const auto& key : keys)
        if (key.needed && key.elements() > 1) sum += (key.elements() * element_bytes + border - 1) / border * border;
    return sum;
}

void KeyLister::add(const std::string& key, at::IntArrayRef shape, bool needed) {
    if (known_.insert(key).second) keys_.push_back({key, shape.vec(), needed});
}

at::Tensor KeyLister::load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat /*format*/) {
    add(key, shape, true);
    return at::empty(shape, at::TensorOptions{}.device(c10::kMeta).dtype(c10::kFloat));
}

void KeyLister::expect(const std::string& key, at::IntArrayRef shape) {
    add(key, shape, false);
}

namespace {
/// 64-bit FNV-1a of the key, so that every tensor has its own stream whatever the order of loading.
std::uint64_t stream_of(std::string_view key, std::uint64_t seed) {
    std::uint64_t hash = 0xcbf29ce484222325ULL ^ seed;
    for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    return hash;
}

/// SplitMix64: counter-based, so that filling 6 GB takes seconds and needs no state.
float uniform(std::uint64_t stream, std::uint64_t index) {
    std::uint64_t z = stream + (index + 1) * 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return static_cast<float>(z >> 40) * 0x1p-24F - 0.5F;  // [-0.5, 0.5)
}
}  // namespace

at::Tensor RandomSource::load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) {
    const OwnedBy owner(Owner::weights);
    if (device_.is_meta()) return at::empty(shape, at::TensorOptions{}.device(device_).dtype(dtype_), format);
    const auto made = at::empty(shape, at::TensorOptions{}.dtype(dtype_), format);
    const std::int64_t elements = made.numel();
    float centre = 0;
    float width = 0.1F;  // biases, mix factors
    if (shape.size() > 1)
        width = std::sqrt(12.0F / static_cast<float>(elements / shape[0]));
    else if (key.ends_with("norm.weight") || key.find("norm") != std::string::npos)
        centre = key.ends_with(".weight") ? 1.0F : 0.0F;
    else if (key.ends_with("scale"))
        centre = 1.0F;
    const auto stream = stream_of(key, seed_);
    const auto row = elements / shape[0];
    const auto step = std::clamp<std::int64_t>((std::int64_t{1} << 16) / row, 1, shape[0]);  // rows at once: little beside the tensor
    std::vector<float> values(static_cast<std::size_t>(step * row));
    for (std::int64_t first = 0; first < shape[0]; first += step) {
        auto into = made.narrow(0, first, std::min(step, shape[0] - first));
        for (std::int64_t i = 0; i < into.numel(); ++i)
            values[static_cast<std::size_t>(i)] = centre + width * uniform(stream, static_cast<std::uint64_t>(first * row + i));
        into.copy_(at::from_blob(values.data(), into.sizes(), at::TensorOptions{}.dtype(c10::kFloat)));
    }
    return made.to(device_);
}

}  // namespace weft::model

#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft::model {

/// Where networks get their tensors from, by published key. A network knows neither files nor residency.
class WeightSource {
  public:
    virtual ~WeightSource() = default;

    /// The tensor of `key`, of exactly `shape`, on the source's device and in its type, in the layout of `format`; data on a 64-byte border.
    virtual at::Tensor load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) = 0;

    /// The key is published but the mathematics does not need it (for example the queries of one-token attention): it must exist, nothing is loaded.
    virtual void expect(const std::string& key, at::IntArrayRef shape) = 0;
};

/// A source seen from below a key prefix.
class Weights {
  public:
    explicit Weights(WeightSource& source, std::string prefix = {}) : source_{&source}, prefix_{std::move(prefix)} {}

    /// `weights / "down_blocks.0"`
    [[nodiscard]] Weights operator/(std::string_view name) const { return Weights{*source_, key(name)}; }

    [[nodiscard]] at::Tensor take(std::string_view name, at::IntArrayRef shape, c10::MemoryFormat format = c10::MemoryFormat::Contiguous) const {
        return source_->load(key(name), shape, format);
    }
    void expect(std::string_view name, at::IntArrayRef shape) const { source_->expect(key(name), shape); }

  private:
    [[nodiscard]] std::string key(std::string_view name) const { return prefix_.empty() ? std::string(name) : prefix_ + "." + std::string(name); }

    WeightSource* source_;
    std::string prefix_;
};

struct KeySpec {
    std::string key;
    std::vector<std::int64_t> shape;
    bool needed = true;  ///< false: checked, but not loaded

    [[nodiscard]] std::int64_t elements() const;
};

/// Bytes that the tensors of these keys hold once a network has taken them, as the meter counts them: each starts on a 64-byte border. Single numbers (mix
/// factors, scales) are read and not kept. Tensors that are mapped from their file (weight_files.hpp) take as much of the page cache instead.
[[nodiscard]] std::int64_t held_bytes(std::span<const KeySpec> keys, std::int64_t element_bytes);

/// Writes down what a network asks for, each key once, and hands out tensors without data: the one list of keys that inspection, checks and made-up models
/// share.
class KeyLister final : public WeightSource {
  public:
    at::Tensor load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) override;
    void expect(const std::string& key, at::IntArrayRef shape) override;

    [[nodiscard]] std::vector<KeySpec> take() { return std::move(keys_); }

  private:
    void add(const std::string& key, at::IntArrayRef shape, bool needed);

    std::vector<KeySpec> keys_;
    std::set<std::string> known_;
};

/// Seeded noise of the right size for every key: the published architecture without its weights. The values of a key depend on nothing but key and seed.
/// Scaled so that activations stay of order one: deviation 1/sqrt(fan-in) for matrices, 1 + noise for norms' weights, small biases.
class RandomSource final : public WeightSource {
  public:
    RandomSource(std::uint64_t seed, c10::Device device, c10::ScalarType dtype) : seed_{seed}, device_{device}, dtype_{dtype} {}

    at::Tensor load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) override;
    void expect(const std::string&, at::IntArrayRef) override {}

  private:
    std::uint64_t seed_;
    c10::Device device_;
    c10::ScalarType dtype_;
};

}  // namespace weft::model

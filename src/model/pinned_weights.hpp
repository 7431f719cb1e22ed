#pragma once
#include "model/weights.hpp"

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace weft::model {

/// For weights that come to a GPU again and again: of each tensor, a copy in pinned host memory, in the type and layout that the networks run in, made when it
/// is first asked for. From there it travels at the full rate of the bus, queued on the current stream, and no thread waits. Where the host pins no more
/// memory, the rest comes from `host` each time.
class PinnedWeights final : public WeightSource {
  public:
    PinnedWeights(std::unique_ptr<WeightSource> host, c10::Device device) : host_{std::move(host)}, device_{device} {}

    at::Tensor load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) override;
    void expect(const std::string& key, at::IntArrayRef shape) override { host_->expect(key, shape); }

  private:
    /// The same values in pinned memory; as they are, where there is no more.
    [[nodiscard]] at::Tensor pinned(const at::Tensor& tensor);

    void take_slab(std::int64_t bytes);

    std::unique_ptr<WeightSource> host_;
    c10::Device device_;
    std::map<std::string, at::Tensor> kept_;
    at::Tensor slab_;          ///< uint8, pinned
    std::int64_t filled_ = 0;  ///< bytes of it
    bool can_pin_ = true;
};

}  // namespace weft::model

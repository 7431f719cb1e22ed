#include "model/pinned_weights.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"

#include <algorithm>

namespace weft::model {

namespace {
constexpr std::int64_t border = 64;
constexpr std::int64_t slab_bytes = std::int64_t{128} << 20;  // Torch rounds what it pins up to powers of two
}  // namespace

at::Tensor PinnedWeights::load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) {
    const OwnedBy owner(Owner::weights);
    auto found = kept_.find(key);
    if (found == kept_.end()) {
        const auto tensor = pinned(host_->load(key, shape, format));
        if (!tensor.is_pinned()) return tensor.to(device_);
        found = kept_.emplace(key, tensor).first;
    }
    return found->second.view(shape).to(device_, /*non_blocking=*/true);
}

at::Tensor PinnedWeights::pinned(const at::Tensor& tensor) {
    const auto bytes = static_cast<std::int64_t>(tensor.nbytes());
    filled_ = (filled_ + border - 1) / border * border;
    if (!slab_.defined() || filled_ + bytes > slab_.numel()) take_slab(std::max(bytes, slab_bytes));
    if (!can_pin_) return tensor;
    const auto room = slab_.narrow(0, filled_, bytes);
    filled_ += bytes;
    return room.view(tensor.scalar_type()).as_strided(tensor.sizes(), tensor.strides()).copy_(tensor);
}

void PinnedWeights::take_slab(std::int64_t bytes) {
    if (!can_pin_) return;
    try {
        slab_ = at::empty({bytes}, at::TensorOptions{}.dtype(c10::kByte).pinned_memory(true));
        filled_ = 0;
    } catch (const c10::Error& error) {
        can_pin_ = false;
        log::warn(cat("the host pins no more memory for streamed weights, which makes them slower: ", first_line(error.what_without_backtrace())));
    }
}

}  // namespace weft::model

#include "device/rehearsal.hpp"

#include "base/error.hpp"

#include <c10/core/Allocator.h>

#include <algorithm>
#include <mutex>

namespace weft {

struct Rehearsal::Counts {
    c10::DeviceType kind;
    std::int64_t now = 0;
    std::int64_t peak = 0;
    bool counting = true;

    void see(std::int64_t more) { peak = std::max(peak, now + more); }
};

namespace {

thread_local Rehearsal::Counts* current = nullptr;
thread_local std::shared_ptr<Rehearsal::Counts> current_owner;

/// CPUs: the meter's border of 64 bytes. GPUs: the caching allocator's smallest block.
std::int64_t rounded(std::int64_t bytes, c10::DeviceType kind) {
    const std::int64_t block = kind == c10::kCUDA ? 512 : 64;
    return (bytes + block - 1) / block * block;
}

struct Block {
    std::shared_ptr<Rehearsal::Counts> counts;
    std::int64_t bytes;
};

void free_block(void* block) {
    auto* const freed = static_cast<Block*>(block);
    freed->counts->now -= freed->bytes;
    delete freed;
}

class MetaAllocator final : public c10::Allocator {
  public:
    c10::DataPtr allocate(std::size_t bytes) override {
        const c10::Device device(c10::kMeta);
        if (current == nullptr || !current->counting || bytes == 0) return {nullptr, device};
        const auto held = rounded(static_cast<std::int64_t>(bytes), current->kind);
        current->now += held;
        current->see(0);
        return {nullptr, new Block{current_owner, held}, &free_block, device};
    }
    c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
    void copy_data(void*, const void*, std::size_t) const override {}
};

}  // namespace

Rehearsal::Rehearsal(c10::DeviceType kind) : counts_{std::make_shared<Counts>(Counts{.kind = kind})} {
    ensure(current == nullptr, "a thread rehearses one thing at a time");
    static MetaAllocator allocator;
    static std::once_flag installed;
    std::call_once(installed, [] { c10::SetAllocator(c10::kMeta, &allocator, /*priority=*/100); });
    current = counts_.get();
    current_owner = counts_;
}

Rehearsal::~Rehearsal() {
    current = nullptr;
    current_owner.reset();
}

std::int64_t Rehearsal::now() const {
    return counts_->now;
}

std::int64_t Rehearsal::peak() const {
    return counts_->peak;
}

void Rehearsal::reset_peak() {
    counts_->peak = counts_->now;
}

void Rehearsal::scratch(std::int64_t bytes) {
    if (current != nullptr) current->see(bytes);
}

Rehearsal::Uncounted::Uncounted() : before_{current == nullptr || current->counting} {
    if (current != nullptr) current->counting = false;
}

Rehearsal::Uncounted::~Uncounted() {
    if (current != nullptr) current->counting = before_;
}

c10::DeviceType device_kind(const at::Tensor& tensor) {
    if (!tensor.is_meta()) return tensor.device().type();
    return current == nullptr ? c10::kCPU : current->kind;
}

}  // namespace weft

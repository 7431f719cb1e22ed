#include "device/meter.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/util/Exception.h>

#include <malloc.h>
#include <sys/mman.h>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <limits>
#include <mutex>
#include <new>

namespace weft {

namespace {

constexpr std::size_t alignment = 64;  // MKL's rounding may depend on a tensor's border (design.md section 8)

thread_local Owner current_owner = Owner::other;

struct Count {
    std::atomic<std::int64_t> now{0};
    std::atomic<std::int64_t> peak_in_phase{0};

    std::int64_t add(std::int64_t bytes) {
        const auto total = now.fetch_add(bytes) + bytes;
        auto seen = peak_in_phase.load();
        while (total > seen && !peak_in_phase.compare_exchange_weak(seen, total)) {
        }
        return total;
    }
};

struct Counts {
    Count all;
    std::atomic<std::int64_t> limit{std::numeric_limits<std::int64_t>::max()};
    std::atomic<bool (*)(std::int64_t)> refuses{nullptr};
    std::array<Count, num_owners> by_owner;
    std::mutex mutex;
    std::vector<meter::Phase> phases;
    std::chrono::steady_clock::time_point phase_start;
    std::clock_t phase_start_cpu = 0;
    bool running = false;
};

Counts& counts() {
    static auto* const made = new Counts;  // outlives every tensor, those in static storage too
    return *made;
}

void count(Owner owner, std::int64_t bytes) {
    counts().all.add(bytes);
    counts().by_owner[static_cast<std::size_t>(owner)].add(bytes);
}

/// Stands in front of every block, as long as the alignment so that the block keeps it.
struct alignas(alignment) Header {
    std::int64_t bytes;
    Owner owner;
    bool mapped;
};
static_assert(sizeof(Header) == alignment);

/// Large weights come and go with their networks, and, where they are streamed, unit by unit. From the heap they would leave holes that the process keeps: 620
/// MB beside 656 MB of tensors, at full size with streamed weights. In pages of their own, large ones where the kernel has them, they go when they go: 160 MB.
constexpr std::size_t mapped_from = std::size_t{1} << 20;

void* take_block(std::size_t bytes, bool mapped) {
    if (!mapped) return std::aligned_alloc(alignment, bytes);
    void* const block = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED) return nullptr;
    ::madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

void free_block(void* block) {
    if (block == nullptr) return;
    auto* const header = static_cast<Header*>(block) - 1;
    count(header->owner, -header->bytes);
    if (header->mapped)
        ::munmap(header, sizeof(Header) + static_cast<std::size_t>(header->bytes));
    else
        std::free(header);
}

[[noreturn]] void refuse_memory(std::int64_t bytes, const std::string& why) {
    const auto text = cat(human_bytes(bytes), " beside the ", human_bytes(counts().all.now.load()), " that tensors hold: ", why);
    C10_THROW_ERROR(OutOfMemoryError, text);
}

void check_limit(std::int64_t bytes) {
    const auto& c = counts();
    if (const auto says = c.refuses.load(); says != nullptr && says(bytes)) refuse_memory(bytes, "a test refuses it");
    if (c.all.now.load() + bytes > c.limit.load()) refuse_memory(bytes, cat("the limit is ", human_bytes(c.limit.load())));
}

class MeteredAllocator final : public c10::Allocator {
  public:
    c10::DataPtr allocate(std::size_t bytes) override {
        check_limit(static_cast<std::int64_t>(bytes));
        if (bytes == 0) return {nullptr, nullptr, &free_block, c10::Device(c10::kCPU)};
        const std::size_t whole = (bytes + alignment - 1) / alignment * alignment;
        const bool mapped = current_owner == Owner::weights && whole >= mapped_from;
        auto* const header = static_cast<Header*>(take_block(sizeof(Header) + whole, mapped));
        if (header == nullptr) refuse_memory(static_cast<std::int64_t>(bytes), "the system gives no more");
        header->bytes = static_cast<std::int64_t>(whole);
        header->owner = current_owner;
        header->mapped = mapped;
        count(header->owner, header->bytes);
        void* const block = header + 1;
        return {block, block, &free_block, c10::Device(c10::kCPU)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &free_block; }
    void copy_data(void* to, const void* from, std::size_t bytes) const override { std::memcpy(to, from, bytes); }
};

void close_phase(Counts& c) {
    if (!c.running) return;
    auto& phase = c.phases.back();
    phase.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - c.phase_start).count();
    phase.cpu_seconds = static_cast<double>(std::clock() - c.phase_start_cpu) / CLOCKS_PER_SEC;
    phase.peak = std::max(phase.peak, std::max(c.all.peak_in_phase.load(), cuda::peak_bytes_since_reset()));
    for (std::size_t i = 0; i < num_owners; ++i) phase.owner_peak[i] = c.by_owner[i].peak_in_phase.load();
}

}  // namespace

std::string_view owner_name(Owner owner) {
    static constexpr std::array<std::string_view, num_owners> names{"other", "weights", "conditioning", "latents", "activations", "slots", "frames"};
    return names.at(static_cast<std::size_t>(owner));
}

OwnedBy::OwnedBy(Owner owner) : before_{current_owner} {
    current_owner = owner;
}

OwnedBy::~OwnedBy() {
    current_owner = before_;
}

namespace meter {

void install() {
    static MeteredAllocator allocator;
    // Tensors of up to 32 MiB come back from the heap and not from fresh pages that the kernel must clear: a tenth of a small model's time.
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
    ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
    c10::SetCPUAllocator(&allocator, /*priority=*/100);
}

void begin_phase(std::string_view name) {
    auto& c = counts();
    const std::lock_guard lock(c.mutex);
    close_phase(c);
    c.running = !name.empty();
    if (!c.running) return;
    c.phases.push_back({.name = std::string(name)});
    c.phase_start = std::chrono::steady_clock::now();
    c.phase_start_cpu = std::clock();
    c.all.peak_in_phase = c.all.now.load();
    for (auto& one : c.by_owner) one.peak_in_phase = one.now.load();
    cuda::reset_peak();
}

std::vector<Phase> phases() {
    auto& c = counts();
    const std::lock_guard lock(c.mutex);
    close_phase(c);
    return c.phases;
}

std::int64_t current() {
    return std::max(counts().all.now.load(), cuda::bytes_now());
}

std::int64_t current(Owner owner) {
    return counts().by_owner[static_cast<std::size_t>(owner)].now.load();
}

std::int64_t peak() {
    std::int64_t most = 0;
    for (const auto& phase : phases()) most = std::max(most, phase.peak);
    return most;
}

void set_limit(std::int64_t bytes) {
    counts().limit = bytes;
    cuda::set_limit(bytes);
}

void refuse_where(bool (*says)(std::int64_t bytes)) {
    counts().refuses = says;
}

}  // namespace meter

bool is_out_of_memory(const std::exception& error) {
    if (const auto* torch = dynamic_cast<const c10::Error*>(&error))
        return dynamic_cast<const c10::OutOfMemoryError*>(torch) != nullptr ||
               std::string_view(torch->what_without_backtrace()).find("DefaultCPUAllocator") != std::string_view::npos;
    return dynamic_cast<const std::bad_alloc*>(&error) != nullptr;
}

void release_caches() {
    cuda::release_cache();
    ::malloc_trim(0);
}

}  // namespace weft

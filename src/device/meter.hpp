#pragma once
#include <array>
#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// What bytes are for. The meter counts each owner apart.
enum class Owner : int { other, weights, conditioning, latents, activations, slots, frames };
inline constexpr std::size_t num_owners = 7;
[[nodiscard]] std::string_view owner_name(Owner owner);

/// Bytes that tensors hold on this process's compute device, by owner, with peaks by phase.
/// On CPUs every tensor allocation passes through it; on GPUs the caching allocator's own count is read, and owners are told by address.
/// Operator scratch that does not come from Torch's allocator (oneDNN, MKL, cuBLAS workspaces) is not in it.
namespace meter {

/// Counts all CPU tensor allocations from now on. Call once, before the first tensor.
void install();

struct Phase {
    std::string name;
    double seconds = 0;
    double cpu_seconds = 0;                             ///< of the whole process
    std::int64_t peak = 0;                              ///< bytes, all owners together
    std::array<std::int64_t, num_owners> owner_peak{};  ///< each owner's own peak; they need not coincide
};

/// Ends the running phase and begins the next; "" ends only.
void begin_phase(std::string_view name);

/// All phases so far, in order, the running one included.
[[nodiscard]] std::vector<Phase> phases();

/// Bytes held now.
[[nodiscard]] std::int64_t current();
[[nodiscard]] std::int64_t current(Owner owner);

/// Largest number of bytes held at once since the start of the process.
[[nodiscard]] std::int64_t peak();

/// From now on no more than so many bytes are given out; what would pass them ends with an out-of-memory error. On GPUs it is the caching allocator that
/// refuses, on CPUs the meter.
void set_limit(std::int64_t bytes);

/// For tests: asked before each allocation on a CPU, which ends with an out-of-memory error where the answer is yes. Any thread may ask.
void refuse_where(bool (*says)(std::int64_t bytes));

}  // namespace meter

/// Is this what the device's or the host's allocator throws when there is no more?
[[nodiscard]] bool is_out_of_memory(const std::exception& error);

/// Gives the system what allocators hold and do not use.
void release_caches();

/// Tensors made in this scope and thread belong to `owner`.
class OwnedBy {
  public:
    explicit OwnedBy(Owner owner);
    ~OwnedBy();
    OwnedBy(const OwnedBy&) = delete;
    OwnedBy& operator=(const OwnedBy&) = delete;

  private:
    Owner before_;
};

}  // namespace weft

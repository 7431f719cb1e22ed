#pragma once
#include "base/settings.hpp"

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

namespace weft {

/// Where this rank computes, decided once at the start.
struct ComputeDevice {
    c10::Device torch{c10::kCPU};
    c10::DeviceType rehearsed = c10::kCPU;  ///< what tensors without data stand for, where `torch` is the meta device
    std::string description;                ///< for the user: "CPU, AVX512, 1 thread" or "GPU 0, NVIDIA H200, 139 GiB"
    std::string numerics_class;             ///< what the bits depend on: instruction set and threads, or compute capability and SM count
    std::int64_t free_bytes = 0;            ///< free memory now

    [[nodiscard]] c10::DeviceType kind() const { return torch.is_meta() ? rehearsed : torch.type(); }
    [[nodiscard]] bool is_cuda() const { return kind() == c10::kCUDA; }
};

/// Takes the device that the settings ask for ("auto": a GPU where there is one), for the rank that is `node_rank`-th on its host:
/// local device = node rank modulo visible devices. Sets thread count, determinism and the meter of the process,
/// and that this thread needs no gradients. The thread that computes calls it, outside any Rehearsal.
[[nodiscard]] ComputeDevice open_device(const DeviceSettings& settings, int node_rank = 0);

/// For a Rehearsal of what such a device would hold.
[[nodiscard]] inline ComputeDevice rehearsal_device(c10::DeviceType kind) {
    return {.torch = c10::Device(c10::kMeta), .rehearsed = kind};
}

/// The type that `dtype` means on `device`. Refuses fp16 on CPUs.
[[nodiscard]] c10::ScalarType resolve_dtype(Dtype dtype, const ComputeDevice& device, std::string_view key);
/// "fp32", "fp16", "bf16".
[[nodiscard]] std::string_view dtype_name(c10::ScalarType dtype);

/// Total, free and largest-resident memory of this host and process, in bytes.
struct HostMemory {
    std::int64_t total = 0;
    std::int64_t available = 0;
    std::int64_t resident_anonymous = 0;  ///< RssAnon of this process
    std::int64_t peak_resident = 0;       ///< VmHWM
};
[[nodiscard]] HostMemory host_memory();

/// "2.11.0"
[[nodiscard]] std::string torch_version();

}  // namespace weft

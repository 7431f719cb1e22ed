#pragma once
#include <cstdint>
#include <string>

/// All that weft asks of CUDA, on plain types. A build without CUDA links cuda_absent.cpp: no devices, and `open` says how to enable it.
namespace weft::cuda {

/// Devices that the driver shows; 0 without a driver, without a GPU, or in a build without CUDA. `why_none` says which.
[[nodiscard]] int device_count();
[[nodiscard]] std::string why_none();

/// Loads Torch's CUDA half and takes device `index` for this thread: deterministic algorithms, no TF32, fixed cuBLAS workspace.
/// Throws (exit code 2 where the user asked for what is not there, else 1).
void open(int index);

struct DeviceFacts {
    std::string name;
    int capability_major = 0;
    int capability_minor = 0;
    int multiprocessors = 0;
    std::int64_t total_bytes = 0;
    std::int64_t free_bytes = 0;
};
[[nodiscard]] DeviceFacts facts(int index);

/// Waits until everything queued on the current stream is done.
void synchronize();

/// The caching allocator's count; 0 before `open`.
[[nodiscard]] std::int64_t bytes_now();
[[nodiscard]] std::int64_t peak_bytes_since_reset();
void reset_peak();
/// What the caching allocator has taken from the driver: what it gave out, and blocks that it holds for later.
[[nodiscard]] std::int64_t reserved_bytes();

/// The caching allocator gives out no more than that; nothing before `open`.
void set_limit(std::int64_t bytes);
/// Gives the driver what the caching allocator holds and does not use.
void release_cache();

/// "13.0 (driver 580.1)" or "none"
[[nodiscard]] std::string versions();

}  // namespace weft::cuda

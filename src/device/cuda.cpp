#include "device/cuda.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <ATen/Context.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAStream.h>
#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>

namespace weft::cuda {

namespace {
bool opened = false;

void check(cudaError_t code, std::string_view doing, std::source_location at = std::source_location::current()) {
    if (code != cudaSuccess) fail(cat("CUDA failed while ", doing, ": ", cudaGetErrorString(code)), at);
}

constexpr auto aggregate = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);

c10::CachingDeviceAllocator::DeviceStats stats() {
    return opened ? c10::cuda::CUDACachingAllocator::getDeviceStats(c10::cuda::current_device()) : c10::CachingDeviceAllocator::DeviceStats{};
}
}  // namespace

int device_count() {
    int count = 0;
    return cudaGetDeviceCount(&count) == cudaSuccess ? count : 0;
}

std::string why_none() {
    int count = 0;
    const auto code = cudaGetDeviceCount(&count);
    return code == cudaSuccess ? "the driver shows no GPU (CUDA_VISIBLE_DEVICES?)" : cudaGetErrorString(code);
}

void open(int index) {
    if (device_count() == 0) refuse(cat("device.kind = \"cuda\": no GPU: ", why_none()));
    // These must be there before the first cuBLAS handle and the first block (design.md section 8).
    ::setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/1);
    // Blocks that grow in place: without them tensors of some GB find no room between others, and a tenth of what is reserved lies idle.
    if (std::getenv("PYTORCH_ALLOC_CONF") == nullptr) ::setenv("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", /*overwrite=*/0);
    // libtorch_cuda registers its kernels when it is loaded. Loading it only here keeps runs on CPUs from paying for it.
    if (::dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr)
        fail(cat("libtorch's CUDA half cannot be loaded: ", ::dlerror(), ". Run launch/setup --cuda, which fetches NVIDIA's libraries for it."));
    // Torch looks for its CUDA half once, and some CPU operators already do (convolutions, manual_seed): then this load comes too late.
    ensure(at::Context::hasCUDA(), "a convolution or a seed before open_device has told Torch for good that there is no CUDA; open the device first");
    check(cudaSetDevice(index), "choosing the GPU");
    auto& context = at::globalContext();
    context.lazyInitDevice(c10::DeviceType::CUDA);
    context.setDeterministicAlgorithms(true, /*warn_only=*/false);
    context.setDeterministicFillUninitializedMemory(false);
    context.setDeterministicCuDNN(true);
    context.setBenchmarkCuDNN(false);
    context.setAllowTF32CuBLAS(false);
    context.setAllowTF32CuDNN(false);
    context.setAllowFP16ReductionCuBLAS(false);
    context.setAllowBF16ReductionCuBLAS(false);
    // Attention that fits no fused kernel is an error, not a silent matrix of scores (0.8 GB a frame at 576x1024).
    context.setSDPUseMath(false);
    opened = true;
}

DeviceFacts facts(int index) {
    cudaDeviceProp properties{};
    check(cudaGetDeviceProperties(&properties, index), "reading the GPU's properties");
    DeviceFacts facts{.name = properties.name,
                      .capability_major = properties.major,
                      .capability_minor = properties.minor,
                      .multiprocessors = properties.multiProcessorCount,
                      .total_bytes = static_cast<std::int64_t>(properties.totalGlobalMem),
                      .free_bytes = 0};
    std::size_t free = 0;
    std::size_t total = 0;
    int before = 0;
    check(cudaGetDevice(&before), "asking for the current GPU");
    check(cudaSetDevice(index), "choosing the GPU");
    check(cudaMemGetInfo(&free, &total), "asking for free memory");
    check(cudaSetDevice(before), "choosing the GPU");
    facts.free_bytes = static_cast<std::int64_t>(free);
    return facts;
}

void synchronize() {
    if (opened) check(cudaStreamSynchronize(c10::cuda::getCurrentCUDAStream()), "waiting for the compute stream");
}

std::int64_t bytes_now() {
    return stats().allocated_bytes[aggregate].current;
}

std::int64_t peak_bytes_since_reset() {
    return stats().allocated_bytes[aggregate].peak;
}

std::int64_t reserved_bytes() {
    return stats().reserved_bytes[aggregate].current;
}

void reset_peak() {
    if (opened) c10::cuda::CUDACachingAllocator::resetPeakStats(c10::cuda::current_device());
}

void set_limit(std::int64_t bytes) {
    if (!opened) return;
    const auto device = c10::cuda::current_device();
    const auto total = static_cast<double>(facts(device).total_bytes);
    c10::cuda::CUDACachingAllocator::setMemoryFraction(std::min(1.0, static_cast<double>(bytes) / total), device);
}

void release_cache() {
    if (opened) c10::cuda::CUDACachingAllocator::emptyCache();
}

std::string versions() {
    int runtime = 0;
    int driver = 0;
    cudaRuntimeGetVersion(&runtime);
    cudaDriverGetVersion(&driver);
    const auto text = [](int version) { return cat(version / 1000, ".", version % 1000 / 10); };
    return cat("runtime ", text(runtime), ", driver ", driver == 0 ? std::string{"none"} : text(driver));
}

}  // namespace weft::cuda

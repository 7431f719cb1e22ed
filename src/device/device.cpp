#include "device/device.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <torch/headeronly/version.h>

#include <fstream>

namespace weft {

namespace {
/// Libraries choose other kernels on other makers' processors, so the maker belongs to what the bits depend on.
std::string cpu_vendor() {
    std::ifstream in("/proc/cpuinfo");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("vendor_id")) return line.substr(line.find(':') + 2);
    return "unknown maker";
}

ComputeDevice open_cpu(std::int64_t threads) {
    at::set_num_threads(static_cast<int>(threads));
    const std::string isa = at::get_cpu_capability();
    return {.torch = c10::Device(c10::kCPU),
            .description = cat("CPU (", isa, "), ", threads, threads == 1 ? " thread" : " threads"),
            .numerics_class = cat("cpu ", cpu_vendor(), " ", isa, " threads=", threads),
            .free_bytes = host_memory().available};
}

ComputeDevice open_cuda(int node_rank) {
    const int count = cuda::device_count();
    const int index = count > 0 ? node_rank % count : 0;
    cuda::open(index);
    const auto facts = cuda::facts(index);
    return {.torch = c10::Device(c10::kCUDA, static_cast<c10::DeviceIndex>(index)),
            .description = cat("GPU ", index, ", ", facts.name, ", ", human_bytes(facts.total_bytes), " (", human_bytes(facts.free_bytes), " free)"),
            .numerics_class = cat("cuda ", facts.capability_major, ".", facts.capability_minor, " sms=", facts.multiprocessors),
            .free_bytes = facts.free_bytes};
}
}  // namespace

ComputeDevice open_device(const DeviceSettings& settings, int node_rank) {
    meter::install();
    thread_local const at::AutoDispatchBelowADInplaceOrView no_gradients;  // this thread's operators skip autograd
    at::globalContext().setDeterministicFillUninitializedMemory(false);
    if (settings.kind == DeviceKind::cuda || (settings.kind == DeviceKind::automatic && cuda::device_count() > 0)) {
        at::set_num_threads(static_cast<int>(settings.threads));
        return open_cuda(node_rank);
    }
    return open_cpu(settings.threads);
}

c10::ScalarType resolve_dtype(Dtype dtype, const ComputeDevice& device, std::string_view key) {
    switch (dtype) {
        case Dtype::fp32: return c10::kFloat;
        case Dtype::bf16: return c10::kBFloat16;
        case Dtype::fp16:
            if (!device.is_cuda()) refuse(cat(key, " = \"fp16\": not on a CPU (100 times slower than fp32); use \"fp32\" or \"bf16\""));
            return c10::kHalf;
        case Dtype::automatic: break;
    }
    return device.is_cuda() ? c10::kHalf : c10::kFloat;
}

std::string_view dtype_name(c10::ScalarType dtype) {
    ensure(dtype == c10::kFloat || dtype == c10::kHalf || dtype == c10::kBFloat16, "models run in fp32, fp16 or bf16");
    return dtype == c10::kFloat ? "fp32" : dtype == c10::kHalf ? "fp16" : "bf16";
}

std::string torch_version() {
    return TORCH_VERSION;
}

HostMemory host_memory() {
    HostMemory memory;
    const auto read = [](const char* path, std::initializer_list<std::pair<std::string_view, std::int64_t*>> wanted) {
        std::ifstream in(path);
        for (std::string word; in >> word;)
            for (const auto& [name, value] : wanted)
                if (word == name) {
                    in >> *value;
                    *value *= 1024;
                }
    };
    read("/proc/meminfo", {{"MemTotal:", &memory.total}, {"MemAvailable:", &memory.available}});
    read("/proc/self/status", {{"RssAnon:", &memory.resident_anonymous}, {"VmHWM:", &memory.peak_resident}});
    return memory;
}

}  // namespace weft

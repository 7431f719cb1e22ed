#include "app/command.hpp"
#include "base/build.hpp"
#include "base/log.hpp"
#include "base/settings.hpp"
#include "base/text.hpp"
#include "comm/device_transfers.hpp"
#include "comm/link.hpp"
#include "device/cuda.hpp"
#include "device/device.hpp"

#include <CLI/CLI.hpp>

#include <thread>

namespace weft::app {

namespace {

int run() {
    log::info(cat("weft      ", build::version, ", ", build::compiler, ", ", build::kind));
    log::info(cat("libtorch  ", torch_version()));
    const auto memory = host_memory();
    log::info(cat("host      ", std::thread::hardware_concurrency(), " cores, ", human_bytes(memory.total), " memory, ", human_bytes(memory.available),
                  " available"));
    log::info(cat("CPU       ", open_device({.kind = DeviceKind::cpu, .threads = 1}).description));
    log::info(cat("CUDA      ", cuda::versions()));
    const int count = cuda::device_count();
    for (int i = 0; i < count; ++i) {
        const auto facts = cuda::facts(i);
        log::info(cat("GPU ", i, "     ", facts.name, ", compute ", facts.capability_major, ".", facts.capability_minor, ", ", human_bytes(facts.free_bytes),
                      " free of ", human_bytes(facts.total_bytes)));
    }
    if (count == 0) log::info(cat("GPU       none: ", cuda::why_none()));
    const auto started_by = comm::launcher();
    log::info(cat("MPI       ", comm::mpi_version(), started_by.empty() ? "; no launcher started this process" : cat("; started by ", started_by)));
    log::info(cat("NCCL      ", comm::nccl_version()));
    return 0;
}

}  // namespace

void add_doctor(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("doctor", "what this machine has, and what is missing");
    actions[command] = [] { return run(); };
}

}  // namespace weft::app

#pragma once
#include <string>
#include <vector>

/// What machines look like. Knows nothing of weft's plans.
namespace weft::topology {

/// Where one rank really is, as the system says it.
struct Placement {
    int rank = 0;
    std::string host;
    int node_rank = 0;
    int node_size = 1;
    std::string device;          ///< "CPU" or "GPU 3 (NVIDIA H200, 0000:1b:00.0)"; given by who opened it
    bool shares_device = false;  ///< another rank of this host has the same GPU
    std::vector<int> cores;      ///< logical CPUs that the process may run on, ascending
    int pinned_core = -1;        ///< the one that the compute thread is held to; -1: none
    int host_cores = 0;          ///< logical CPUs of the host that are online
    int numa_node = -1;          ///< of `cores`, where they lie in one; else -1
};

/// Logical CPUs that this process may run on (its affinity and cpuset), ascending.
[[nodiscard]] std::vector<int> allowed_cores();

/// Fills cores, host_cores and numa_node for this process.
[[nodiscard]] Placement here(int rank, const std::string& host, int node_rank, int node_size);

/// The core for the compute thread of the `node_rank`-th of `node_size` ranks that all may run on `cores`: physical cores first, then their hyperthreads.
/// -1 where there are fewer cores than ranks, or the launcher has bound the process already (fewer cores allowed than online), or half of the cores would
/// stay free: then the system places the ranks well, and those of a second job too.
[[nodiscard]] int core_for(const std::vector<int>& cores, int host_cores, int node_rank, int node_size);

/// The same as it was before the first pin_this_thread() of the process.
[[nodiscard]] std::vector<int> process_cores();

/// Holds the calling thread to one core; threads that it makes afterwards inherit that. False where the system refuses.
bool pin_this_thread(int core);
/// Lets the calling thread run on all of `cores` again: for helper threads made by a pinned one.
void release_this_thread(const std::vector<int>& cores);

/// One line a rank: host, device, cores.
[[nodiscard]] std::string table(const std::vector<Placement>& all);

/// What will make ranks wait for each other, each with what to do: two ranks held to the same core, more ranks on a host than cores,
/// ranks sharing a GPU.
[[nodiscard]] std::vector<std::string> complaints(const std::vector<Placement>& all);

/// One line of text for sending it to another rank, and back.
[[nodiscard]] std::string to_line(const Placement& placement);
[[nodiscard]] Placement from_line(const std::string& line);

}  // namespace weft::topology

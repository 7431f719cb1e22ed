#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace weft::plan {

/// What the plan assumes of the ways between ranks, in bytes a second and seconds. Bytes of a pair of ranks move one message after the other, each direction on
/// its own. Defaults are assumptions, not measured: copies through host memory, and 10 Gbit/s between hosts.
struct Links {
    std::vector<int> host;           ///< by rank; empty: all on one
    double local_bytes_s = 20e9;     ///< between two ranks of a host, each direction
    double remote_bytes_s = 1.25e9;  ///< out of a host, and into it, shared by its ranks
    double local_latency_s = 50e-6;
    double remote_latency_s = 100e-6;
    bool gpu_to_gpu = true;  ///< tensors of ranks with GPUs travel by NCCL, not through the host's memory

    [[nodiscard]] int host_of(int rank) const { return host.empty() ? 0 : host.at(static_cast<std::size_t>(rank)); }
    [[nodiscard]] bool same_host(int a, int b) const { return host_of(a) == host_of(b); }
};

inline constexpr double nccl_bytes_s = 300e9;  ///< between GPUs of a host: NVLink

/// "300 GB/s within a host"; with several hosts also what lies between them.
[[nodiscard]] std::string describe(const Links& links);

/// When messages arrive that are given to the links in the order of their starts.
class LinkTimes {
  public:
    explicit LinkTimes(const Links& links) : links_{links} {}

    /// When the last byte is there.
    [[nodiscard]] std::int64_t send(int from, int to, std::int64_t bytes, std::int64_t now_ns);

  private:
    const Links& links_;
    std::map<std::pair<int, int>, std::int64_t> pair_free_;  ///< pair of ranks -> when its last message has left
    std::map<int, std::int64_t> out_free_, in_free_;         ///< the same of a host's way out and in
};

}  // namespace weft::plan

#pragma once
#include <string>
#include <vector>

namespace weft::comm {

/// One rank's place in the job. Rank and size come from the transport, never from a launcher's variables.
struct Identity {
    int rank = 0;
    int size = 1;
    std::string host;   ///< host name, as the system says it
    int node_rank = 0;  ///< position among the ranks of this host: picks the GPU and the core
    int node_size = 1;  ///< ranks on this host
    int pid = 0;

    /// "rank 3 on node2"
    [[nodiscard]] std::string name() const;
};

/// This machine's name, as the system says it.
[[nodiscard]] std::string this_host();

/// Sets node_rank and node_size: ranks with the same host name share a host.
void place_on_hosts(std::vector<Identity>& all);

}  // namespace weft::comm

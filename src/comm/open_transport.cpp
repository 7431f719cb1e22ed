#include "base/text.hpp"
#include "comm/transport.hpp"

#include <set>

namespace weft::comm {

// In a file of its own: a program that opens none needs no MPI.
std::unique_ptr<Transport> open_transport(Watch watch, std::string& reason) {
    const auto started_by = launcher();
    if (started_by.empty()) {
        reason = "alone: no launcher (mpirun, srun) started this process";
        return std::make_unique<Transport>(make_solo_link, std::move(watch));
    }
    auto transport = std::make_unique<Transport>(make_mpi_link, std::move(watch));
    std::set<std::string> hosts;
    for (const auto& one : transport->everyone()) hosts.insert(one.host);
    const auto ranks = transport->everyone().size();
    reason = cat("MPI (", mpi_version(), "), ", ranks, ranks == 1 ? " rank on " : " ranks on ", hosts.size(), hosts.size() == 1 ? " host" : " hosts",
                 ", started by ", started_by);
    return transport;
}

}  // namespace weft::comm

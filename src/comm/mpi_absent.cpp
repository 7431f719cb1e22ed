#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/link.hpp"

namespace weft::comm {

std::unique_ptr<Link> make_mpi_link() {
    refuse(cat("this build of weft has no MPI, but ", launcher(),
               " started this process as one of several ranks.\n  Configure with -DWEFT_MPI=on where MPI is installed (Debian: openmpi-bin libopenmpi-dev), or "
               "start weft alone."));
}

std::string mpi_version() {
    return "none (built without MPI)";
}

}  // namespace weft::comm

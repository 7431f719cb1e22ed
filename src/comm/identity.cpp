#include "comm/identity.hpp"

#include "base/text.hpp"

#include <unistd.h>

#include <array>

namespace weft::comm {

std::string Identity::name() const {
    return cat("rank ", rank, " on ", host);
}

std::string this_host() {
    std::array<char, 257> name{};
    if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "this host";
    return name.data();
}

void place_on_hosts(std::vector<Identity>& all) {
    for (auto& one : all) {
        one.node_rank = 0;
        one.node_size = 0;
        for (const auto& other : all) {
            if (other.host != one.host) continue;
            ++one.node_size;
            if (other.rank < one.rank) ++one.node_rank;
        }
    }
}

}  // namespace weft::comm

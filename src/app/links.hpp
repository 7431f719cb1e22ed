#pragma once
#include "base/error.hpp"
#include "plan/links.hpp"

#include <string>

namespace CLI {
class App;
}

namespace weft::app {

/// What a user says of the ways between ranks.
struct LinkArguments {
    int hosts = 1;
    std::string local;   ///< "300GB/s"; "": what plan::Links assumes
    std::string remote;  ///< "1Gbit/s"
};

/// Did the user say anything?
[[nodiscard]] inline bool told(const LinkArguments& arguments) {
    return arguments.hosts != 1 || !arguments.local.empty() || !arguments.remote.empty();
}

void add_link_options(CLI::App& command, LinkArguments& arguments);

/// Ranks in order, as many on each host; mistakes go to `mistakes`.
[[nodiscard]] plan::Links links_from(const LinkArguments& arguments, int num_ranks, Mistakes& mistakes);

}  // namespace weft::app

#include "app/command.hpp"
#include "base/error.hpp"

#include <CLI/CLI.hpp>

namespace weft::app {

void add_bench(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("bench", "seconds of encode, pass, step and decode");
    actions[command] = []() -> int { refuse("being written"); };
}

}  // namespace weft::app

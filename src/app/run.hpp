#pragma once
#include "app/command.hpp"

#include <span>
#include <vector>

namespace weft::app {

using AddCommand = void (*)(CLI::App&, Actions&);

/// Parses the command line, runs the command, and turns every error into its text and exit code.
[[nodiscard]] int run_program(int argc, char** argv, const std::vector<AddCommand>& commands);

}  // namespace weft::app

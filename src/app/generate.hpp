#pragma once
#include "app/command.hpp"
#include "pipeline/job.hpp"

namespace weft::app {

/// `weft generate` with options that no command line gives: tests make ranks fail by them.
void add_generate_with(CLI::App& root, Actions& actions, const pipeline::JobOptions& options);

}  // namespace weft::app

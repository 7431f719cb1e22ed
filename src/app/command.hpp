#pragma once
#include "base/error.hpp"

#include <exception>
#include <functional>
#include <map>
#include <string>

namespace CLI {
class App;
}

/// The commands of the program, one file each: what they take from the command line, and what they do.
namespace weft::app {

/// What a parsed command does; returns the exit code.
using Action = std::function<int()>;
using Actions = std::map<const CLI::App*, Action>;

void add_generate(CLI::App& root, Actions& actions);
void add_plan(CLI::App& root, Actions& actions);
void add_inspect(CLI::App& root, Actions& actions);
void add_trace(CLI::App& root, Actions& actions);
void add_bench(CLI::App& root, Actions& actions);
/// Below `bench`, which must be there.
void add_bench_units(CLI::App& root, Actions& actions);
void add_bench_scaling(CLI::App& root, Actions& actions);
void add_doctor(CLI::App& root, Actions& actions);
void add_make_model(CLI::App& root, Actions& actions);
void add_pose(CLI::App& root, Actions& actions);

}  // namespace weft::app

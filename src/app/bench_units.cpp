#include "app/command.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/settings.hpp"
#include "base/text.hpp"
#include "pipeline/bench.hpp"
#include "pipeline/unit_times.hpp"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <iostream>
#include <memory>

namespace weft::app {

namespace {

struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
    std::string out;
    int repeats = 3;
};

int run(const Arguments& arguments) {
    Mistakes mistakes;
    const auto settings = arguments.config.empty() ? parse_settings("", "weft bench units", arguments.overrides, mistakes)
                                                   : read_settings(arguments.config, arguments.overrides, mistakes);
    if (arguments.repeats < 1) mistakes.add("--repeats", cat(arguments.repeats), "must be at least 1", "3 is usual");
    mistakes.throw_if_any("weft bench units cannot go on:");
    const auto report = pipeline::bench_units(settings, arguments.repeats);
    std::cout << pipeline::as_table(report);
    const auto path = arguments.out.empty() ? report.path : std::filesystem::path(arguments.out);
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    write_atomically(path, pipeline::to_json(report.times, report.what));
    std::cout << "kept in " << path.string() << (arguments.out.empty() ? ": jobs of this model, size and device on this machine plan with it\n" : "\n");
    return 0;
}

}  // namespace

void add_bench_units(CLI::App& root, Actions& actions) {
    auto* const command = root.get_subcommand("bench")->add_subcommand("units", "seconds of each unit of the denoiser, by branch; kept for plans");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("CONFIG", arguments->config, "settings, TOML; without: the published model at its size, filled with noise (--set model.path=random)");
    command->add_option("--set", arguments->overrides, "table.key=value, in place of the file's; may be repeated");
    command->add_option("--repeats", arguments->repeats, "passes of each branch that count; the least time of each unit is kept");
    command->add_option("--out", arguments->out, "a file for weft plan --costs, in place of this machine's own");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

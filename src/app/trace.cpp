#include "app/command.hpp"
#include "app/trace_file.hpp"
#include "app/trace_perfetto.hpp"
#include "app/trace_picture.hpp"
#include "app/trace_table.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

namespace weft::app {

namespace {

struct Arguments {
    std::string events;
    std::string picture;
    std::string perfetto;
    std::optional<double> from_s;
    std::optional<double> to_s;
};

/// Of a file that is to be written: its folder must be there, and nothing else of the command's may be at its place.
void check_target(const char* key, const std::string& target, const std::string& other, Mistakes& mistakes) {
    if (target.empty()) return;
    const std::filesystem::path path{target};
    if (const auto why = why_not_writable(path.parent_path()); !why.empty())
        mistakes.add(key, in_quotes(target), cat("the folder ", path.parent_path().empty() ? "." : path.parent_path().string(), " cannot be written: ", why),
                     "name a folder that exists and can be written");
    else if (std::filesystem::is_directory(path))
        mistakes.add(key, in_quotes(target), "is a folder", "name a file");
    else if (path.lexically_normal() == std::filesystem::path(other).lexically_normal())
        mistakes.add(key, in_quotes(target), "is another file of this command", "name a file of its own");
}

Window window_of(const Arguments& arguments, const RecordedTrace& trace, Mistakes& mistakes) {
    const Window window{.begin_s = std::max(0.0, arguments.from_s.value_or(0)), .end_s = std::min(trace.seconds, arguments.to_s.value_or(trace.seconds))};
    const auto advice = cat("the trace is from 0 to ", fixed(trace.seconds, 3), " s");
    if (!(window.begin_s < trace.seconds))
        mistakes.add("--from", cat(window.begin_s), "nothing is there", advice);
    else if (!(window.begin_s < window.end_s))
        mistakes.add("--to", cat(*arguments.to_s), cat("must be more than ", window.begin_s), advice);
    return window;
}

int run(const Arguments& arguments) {
    Mistakes mistakes;
    check_target("--picture", arguments.picture, arguments.events, mistakes);
    check_target("--perfetto", arguments.perfetto, arguments.events, mistakes);
    if (!arguments.picture.empty()) check_target("--perfetto", arguments.perfetto, arguments.picture, mistakes);
    mistakes.throw_if_any("weft trace cannot go on:");
    const auto trace = read_trace(arguments.events);
    const auto window = window_of(arguments, trace, mistakes);
    mistakes.throw_if_any("weft trace cannot go on:");
    if (!arguments.picture.empty()) {
        write_atomically(arguments.picture, as_picture(trace, window));
        log::info(cat(arguments.picture, ": ", headline(trace, window)));
    }
    if (!arguments.perfetto.empty()) {
        write_atomically(arguments.perfetto, as_perfetto(trace, window));
        log::info(cat(arguments.perfetto, ": open it in ui.perfetto.dev"));
    }
    if (arguments.picture.empty() && arguments.perfetto.empty()) std::cout << as_table(trace, window);
    return 0;
}

}  // namespace

void add_trace(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("trace", "where the time of a denoising went, rank by rank");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("EVENTS", arguments->events, "what weft generate --events wrote; the newest complete trace in it counts")->required();
    command->add_option("--picture", arguments->picture, "draw a lane a rank over time into this file, SVG");
    command->add_option("--perfetto", arguments->perfetto, "write all of it to this file, which ui.perfetto.dev opens");
    command->add_option("--from", arguments->from_s, "seconds behind the start of the denoising: what lies before is left out");
    command->add_option("--to", arguments->to_s, "the same of what lies behind");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

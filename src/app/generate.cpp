#include "app/command.hpp"
#include "base/error.hpp"
#include "base/events.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/settings.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"
#include "io/run_file.hpp"
#include "pipeline/job.hpp"

#include <CLI/CLI.hpp>

#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>

namespace weft::app {

namespace {

struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
    std::string events;
    bool restart = false;
    bool print_config = false;
};

void tell(const pipeline::Report& report) {
    if (report.was_done) {
        log::info(cat("done      already: ", report.video.string(), " is there and nothing has changed"));
        return;
    }
    log::info(cat("memory    peak ", human_bytes(report.peak_bytes), " of tensors, ", human_bytes(report.peak_resident_bytes), " resident in the process"));
    log::info(cat("video     ", report.video.string(), ": ", report.frames, " frames, ", human_seconds(report.film_seconds)));
}

/// What an earlier start said no longer holds: should this one be killed, no status says so.
void remove_status(const Settings& settings) {
    std::error_code ignored;
    std::filesystem::remove(io::status_path(settings.output.run_file), ignored);
}

int run(const Arguments& arguments) {
    Mistakes mistakes;
    const auto settings = read_settings(arguments.config, arguments.overrides, mistakes);
    const auto about = cat(arguments.config, " has mistakes:");
    if (arguments.print_config) {
        mistakes.throw_if_any(about);
        std::cout << to_toml(settings);
        return 0;
    }

    stop::watch_signals();
    Events none;
    std::optional<Events> file;
    std::unique_ptr<pipeline::Job> job;
    io::RunStatus status{.phase = "prepare"};
    const auto ended = [&](int code, const std::string& text) {
        status.code = code;
        status.text = text;
        if (job) {
            status.phase = job->phase();
            status.step = job->steps_done();
        }
        const auto& run_file = settings.output.run_file;
        if (run_file.ends_with(".h5") && why_not_writable(std::filesystem::path(run_file).parent_path()).empty()) io::write_status(run_file, status);
    };
    try {
        if (!mistakes.empty()) check_settings(settings, mistakes);
        mistakes.throw_if_any(about);
        if (!arguments.events.empty()) file.emplace(arguments.events);
        job = std::make_unique<pipeline::Job>(settings, arguments.restart ? pipeline::Job::Restart::yes : pipeline::Job::Restart::no, file ? *file : none);
        remove_status(settings);
        tell(job->run());
        ended(0, "done");
        return 0;
    } catch (const std::exception& error) {
        ended(static_cast<int>(exit_code_of(error)), error.what());
        throw;
    }
}

}  // namespace

void add_generate(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("generate", "make a video; goes on from an unfinished run file of the same job");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("CONFIG", arguments->config, "settings, TOML")->required();
    command->add_option("--set", arguments->overrides, "table.key=value, in place of the file's; may be repeated");
    command->add_option("--events", arguments->events,
                        "progress, timings, memory and a hash of each step's latents, one JSON object a line, appended to this file");
    command->add_flag("--restart", arguments->restart, "start anew even if the run file holds a part of the job");
    command->add_flag("--print-config", arguments->print_config, "print the final settings and end");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

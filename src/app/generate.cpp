#include "app/generate.hpp"
#include "app/command.hpp"
#include "base/error.hpp"
#include "base/events.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/settings.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/transport.hpp"
#include "io/run_file.hpp"
#include "pipeline/job.hpp"

#include <CLI/CLI.hpp>

#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <mutex>

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
    log::info(cat("memory    peak ", human_bytes(report.peak_bytes), " of tensors, ", human_bytes(report.peak_resident_bytes), " resident in a process"));
    log::info(cat("video     ", report.video.string(), ": ", report.frames, " frames, ", human_seconds(report.film_seconds)));
}

/// `weft generate` on one rank, from the transport's start to its end.
class Generate {
  public:
    Generate(const Arguments& arguments, pipeline::JobOptions options) : arguments_{arguments}, options_{std::move(options)} {
        options_.restart = arguments.restart;
    }

    int print_config() {
        read();
        mistakes_.throw_if_any(about());
        std::cout << to_toml(settings_);
        return 0;
    }

    int run() {
        stop::watch_signals();
        comm::Watch watch;
        watch.on_verdict = [this](const comm::Verdict& verdict) { end_by(verdict); };
        std::string transport_text;
        transport_ = comm::open_transport(watch, transport_text);
        if (!transport_->speaks()) log::speak_only_of_trouble(transport_->who().name());
        if (!comm::launcher().empty()) log::never_rewrite_lines();
        if (transport_->who().size > 1) log::info(cat("transport ", transport_text));
        return run_on(*transport_);
    }

  private:
    void read() {
        auto settings = read_settings(arguments_.config, arguments_.overrides, mistakes_);
        const std::lock_guard lock(mutex_);
        settings_ = std::move(settings);
        read_ = true;
    }
    [[nodiscard]] std::string about() const { return arguments_.config + " has mistakes:"; }

    int run_on(comm::Transport& transport) {
        try {
            comm::together(transport, [this] {
                read();
                if (!mistakes_.empty()) check_settings(settings_, mistakes_);
                mistakes_.throw_if_any(about());
                if (!arguments_.events.empty() && transport_->speaks()) events_ = std::make_unique<Events>(arguments_.events);
            });
            transport.set_stall_s(settings_.watchdog.stall_s);
            auto made = std::make_shared<pipeline::Job>(settings_, options_, transport, *events_);
            set_job(made);
            if (transport.speaks()) remove_status();
            const auto report = made->run();
            if (transport.speaks()) {
                tell(report);
                end(ExitCode::done, "done", "");
            }
            return transport.leave(0);
        } catch (const comm::JobRefused& error) {
            return end_together(error, error.culprit());
        } catch (const std::exception& error) {
            const auto code = exit_code_of(error);
            if (code == ExitCode::stopped) return end_together(error, "");
            if (transport.who().size == 1) {
                end(code, text_of(error), "");
                throw;
            }
            transport.fail(code, text_of(error));  // over MPI, the end
            throw;
        }
    }

    /// All ranks end for one reason, which rank 0 tells.
    int end_together(const std::exception& error, const std::string& culprit) {
        const auto code = exit_code_of(error);
        // Told when all ranks leave: where one was killed, a launcher's TERM to the others looks like a request to stop, and is none.
        return transport_->leave(static_cast<int>(code), [&, this] {
            end(code, error.what(), culprit);
            log::error(error.what());
        });
    }

    /// The verdict of the communication thread, which is about to end all ranks.
    void end_by(const comm::Verdict& verdict) {
        log::error(verdict.culprit.empty() ? verdict.text : cat(verdict.culprit, ": ", verdict.text));
        end(verdict.code, verdict.text, verdict.culprit);
    }

    /// Writes RUN.status, from the main or the communication thread.
    void end(ExitCode code, const std::string& text, const std::string& culprit) {
        const std::lock_guard lock(mutex_);
        if (!read_ || done_) return;  // nobody knows where the status belongs; a film that is complete stays so, whoever fails on the way out
        done_ = code == ExitCode::done;
        io::RunStatus status{.code = static_cast<int>(code), .phase = "prepare", .step = 0, .text = text, .culprit = culprit};
        if (job_) {
            status.phase = job_->phase();
            status.step = job_->steps_done();
        }
        const auto& run_file = settings_.output.run_file;
        if (run_file.ends_with(".h5") && why_not_writable(std::filesystem::path(run_file).parent_path()).empty()) io::write_status(run_file, status);
    }

    /// What an earlier start said no longer holds: should this one be killed, no status says so.
    void remove_status() const {
        std::error_code ignored;
        std::filesystem::remove(io::status_path(settings_.output.run_file), ignored);
    }

    void set_job(std::shared_ptr<pipeline::Job> job) {
        const std::lock_guard lock(mutex_);
        job_ = std::move(job);
    }

    const Arguments& arguments_;
    pipeline::JobOptions options_;
    Mistakes mistakes_;
    std::unique_ptr<Events> events_ = std::make_unique<Events>();
    // Under mutex_, since a verdict may come at any time.
    std::mutex mutex_;
    Settings settings_;
    bool read_ = false;  ///< the settings
    bool done_ = false;  ///< and RUN.status says so
    std::shared_ptr<pipeline::Job> job_;
    std::unique_ptr<comm::Transport> transport_;
};

}  // namespace

void add_generate(CLI::App& root, Actions& actions) {
    add_generate_with(root, actions, {});
}

void add_generate_with(CLI::App& root, Actions& actions, const pipeline::JobOptions& options) {
    auto* const command = root.add_subcommand("generate", "make a video; goes on from an unfinished run file of the same job");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("CONFIG", arguments->config, "settings, TOML")->required();
    command->add_option("--set", arguments->overrides, "table.key=value, in place of the file's; may be repeated");
    command->add_option("--events", arguments->events,
                        "progress, timings, memory and a hash of each step's latents, one JSON object a line, appended to this file");
    command->add_flag("--restart", arguments->restart, "start anew even if the run file holds a part of the job");
    command->add_flag("--print-config", arguments->print_config, "print the final settings and end");
    actions[command] = [arguments, options] {
        Generate generate(*arguments, options);
        return arguments->print_config ? generate.print_config() : generate.run();
    };
}

}  // namespace weft::app

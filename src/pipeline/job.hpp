#pragma once
#include "base/events.hpp"
#include "base/settings.hpp"
#include "comm/transport.hpp"
#include "plan/pass.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weft::pipeline {

/// What is left to tell when a job is done; at the writer only.
struct Report {
    std::filesystem::path video;
    std::int64_t frames = 0;
    double film_seconds = 0;
    bool was_done = false;                 ///< an earlier run had finished this very job and its video is there
    std::int64_t peak_bytes = 0;           ///< of the rank that needed most
    std::int64_t peak_resident_bytes = 0;  ///< of the process that needed most, as the system counts
};

struct JobOptions {
    bool restart = false;                                ///< a run file that is there is replaced
    std::function<void(const plan::Task&)> before_task;  ///< called by the compute thread; tests make ranks fail here
};

/// One clip, from settings to film, on the ranks of a transport. All ranks make it and run it together.
/// Making it reads and checks everything but loads no weights: all mistakes come out here, together, from all ranks.
class Job {
  public:
    /// Throws JobRefused on all ranks: exit code 2 for wrong settings, inputs and models, the run file of another job, and ranks that differ; exit code 3 when
    /// the budget is too small.
    Job(const Settings& settings, JobOptions options, comm::Transport& transport, Events& events);
    ~Job();

    /// Encodes, denoises, decodes: whatever the run file says is not done yet.
    [[nodiscard]] Report run();

    /// For messages and RUN.status: the phase that runs, and so many steps are complete, as far as this rank knows. Thread-safe.
    [[nodiscard]] std::string phase() const;
    [[nodiscard]] std::int64_t steps_done() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weft::pipeline

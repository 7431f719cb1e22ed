#pragma once
#include "base/events.hpp"
#include "base/settings.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace weft::pipeline {

/// What is left to tell when a job is done.
struct Report {
    std::filesystem::path video;
    std::int64_t frames = 0;
    double film_seconds = 0;
    bool was_done = false;  ///< an earlier run had finished this very job and its video is there
    std::int64_t peak_bytes = 0;
    std::int64_t peak_resident_bytes = 0;  ///< of the process, as the system counts
};

/// One clip, from settings to film. Making it reads and checks everything but loads no weights: all mistakes come out here, together.
class Job {
  public:
    enum class Restart { no, yes };

    /// Refuses (exit code 2) wrong settings, inputs and models, and the run file of another job; exit code 3 when the budget is too small.
    Job(const Settings& settings, Restart restart, Events& events);
    ~Job();

    /// Encodes, denoises, decodes: whatever the run file says is not done yet.
    [[nodiscard]] Report run();

    /// For messages and RUN.status: the phase that runs, and so many steps are complete.
    [[nodiscard]] std::string phase() const;
    [[nodiscard]] std::int64_t steps_done() const;

    /// Slices, passes, chunks, sizes, in words.
    [[nodiscard]] std::string plan_text() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace weft::pipeline

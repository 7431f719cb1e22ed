#pragma once
#include "base/events.hpp"
#include "io/run_file.hpp"
#include "pipeline/denoiser.hpp"
#include "pipeline/progress.hpp"
#include "plan/plan.hpp"

#include <chrono>
#include <cstdint>

namespace weft::pipeline {

/// Executes one rank's program, operation by operation. Knows nothing of layouts, models or transports: who does what, and in which order,
/// was decided when the program was made (src/plan).
class Interpreter {
  public:
    Interpreter(Denoiser& denoiser, io::RunFile& run_file, const plan::Plan& plan, double save_every_s, Events& events, Progress& progress);

    /// Ends early with the Error of exit code 75 when a stop was requested; the newest complete step is saved then.
    void run(const plan::Program& program);

    /// So many steps are complete.
    [[nodiscard]] std::int64_t steps_done() const { return steps_done_; }

  private:
    void execute(const plan::Compute& compute);
    void execute(const plan::Advance& advance);
    void execute(const plan::Save& save);
    void save_now();

    Denoiser& denoiser_;
    io::RunFile& run_file_;
    const plan::Plan& plan_;
    double save_every_s_;
    Events& events_;
    Progress& progress_;
    std::int64_t steps_done_ = 0;
    std::int64_t steps_saved_ = 0;
    std::int64_t passes_done_ = 0;
    std::chrono::steady_clock::time_point last_save_;
    std::chrono::steady_clock::time_point step_start_;
};

}  // namespace weft::pipeline

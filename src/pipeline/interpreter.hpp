#pragma once
#include "base/events.hpp"
#include "comm/transport.hpp"
#include "pipeline/denoiser.hpp"
#include "pipeline/progress.hpp"
#include "pipeline/saver.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>

namespace weft::pipeline {

/// Executes one rank's program, operation by operation. Knows nothing of layouts, models or transports: who does what, and in which order,
/// was decided when the program was made (src/plan).
class Interpreter {
  public:
    /// `saver`: of the writer; none on other ranks.
    Interpreter(Denoiser& denoiser, comm::Transport& transport, const plan::Plan& plan, Saver* saver, Events& events, Progress& progress);

    /// Ends early with the Error of exit code 75 when a stop was requested.
    void run(const plan::Program& program);

    /// Called in front of each task, while the stall watch counts the task as running.
    std::function<void(const plan::Task&)> before_task;

  private:
    void execute(const plan::Receive& receive);
    void execute(const plan::Take& take);
    void execute(const plan::Compute& compute);
    void execute(const plan::Advance& advance);
    void execute(const plan::Send& send);
    void execute(const plan::Save& save);
    /// Forgets the sends that have ended.
    void reap_sends();

    struct Arrival {
        plan::Message message;
        comm::Buffer buffer;
        comm::Future future;
        int uses = 1;
    };
    /// The message for one of its uses; it is forgotten with the last.
    [[nodiscard]] Arrival use(std::int64_t number);

    Denoiser& denoiser_;
    comm::Transport& transport_;
    const plan::Plan& plan_;
    Saver* saver_;
    Events& events_;
    Progress& progress_;
    std::map<std::int64_t, Arrival> arrivals_;  ///< by number, until nobody needs the bytes any more
    std::deque<comm::Future> sends_;
    std::int64_t passes_done_ = 0;
    double task_seconds_ = 0;  ///< of the newest task
};

}  // namespace weft::pipeline

#pragma once
#include "base/events.hpp"
#include "comm/transport.hpp"
#include "pipeline/denoiser.hpp"
#include "pipeline/progress.hpp"
#include "pipeline/saver.hpp"
#include "pipeline/trace.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

namespace weft::pipeline {

/// Executes one rank's program, operation by operation. Knows nothing of layouts, models or transports: who does what, and in which order,
/// was decided when the program was made (src/plan).
class Interpreter {
  public:
    /// `saver`: of the writer; none on other ranks.
    Interpreter(Denoiser& denoiser, comm::Transport& transport, const plan::Plan& plan, Saver* saver, Events& events, Progress& progress, Trace& trace);

    /// Ends early with the Error of exit code 75 when a stop was requested: in front of the next task, or when what it waits for does not come in two seconds.
    /// Until then it goes on giving others what they need to complete their step.
    void run(const plan::Program& program);

    /// Called in front of each task, while the stall watch counts the task as running.
    std::function<void(const plan::Task&)> before_task;

  private:
    void execute(const plan::Receive& receive);
    void execute(const plan::Take& take);
    void execute(const plan::Compute& compute);
    void execute(const plan::Advance& advance);
    void execute(const plan::Send& send);
    void execute(const plan::Keep& keep);
    void execute(const plan::Save& save);
    void await(const comm::Future& arrival) const;
    /// This rank fails: frames that it has sent may complete a step elsewhere, and get a second to leave.
    void let_go() const noexcept;
    /// A stop was asked for at the first operation of `rest`, a task or a wait: of what stands behind it, does what completes steps that this rank has
    /// computed, and needs nothing that is skipped. Messages of a pair keep their order; over NCCL, which keeps that of a whole rank, a step under way may be
    /// lost.
    void complete_steps(std::span<const plan::Operation> rest);
    /// Forgets the sends that have ended.
    void reap_sends();
    /// Posts a transfer; one in device memory with its turn.
    [[nodiscard]] comm::Future post(comm::Transfer::Direction direction, const plan::Message& message, const comm::Buffer& buffer);
    void trace_transfer(Trace::Kind kind, std::int64_t operation, const plan::Message& message, double posted_s, const comm::Future& future);

    struct Arrival {
        plan::Message message;
        comm::Buffer buffer;
        comm::Future future;
        int uses = 1;
        double posted_s = 0;
        std::int64_t operation = 0;
    };
    struct Departure {
        plan::Message message;
        comm::Future future;
        double posted_s = 0;
        std::int64_t operation = 0;
    };
    /// The message for one of its uses; it is forgotten with the last.
    [[nodiscard]] Arrival use(std::int64_t number);

    Denoiser& denoiser_;
    comm::Transport& transport_;
    const plan::Plan& plan_;
    Saver* saver_;
    Events& events_;
    Progress& progress_;
    Trace& trace_;
    std::map<std::int64_t, std::int64_t> turns_;  ///< message -> place among those of this rank that may travel in device memory
    std::map<std::int64_t, Arrival> arrivals_;    ///< by number, until nobody needs the bytes any more
    std::deque<Departure> sends_;
    std::map<std::int64_t, std::vector<Saver::Part>> kept_;  ///< by steps done, until they are saved
    std::int64_t operation_ = 0;                             ///< place in the program
    std::int64_t tasks_done_ = 0;
    double task_seconds_ = 0;  ///< of the newest task
};

}  // namespace weft::pipeline

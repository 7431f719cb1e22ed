#pragma once
#include "base/events.hpp"
#include "base/stopwatch.hpp"
#include "comm/transfer.hpp"
#include "plan/plan.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace weft::pipeline {

/// Latents of all latent frames on the host, [frames, channels, h, w] fp32.
using HostLatents = std::shared_ptr<const std::vector<float>>;

/// The one writer of the run file: a thread on rank 0 that gathers the frames of each complete step and saves them, while the passes of the next step run.
/// It is not the communication thread (design.md section 7), since flushing to a slow disk takes seconds and heartbeats may not wait for it.
class Saver {
  public:
    /// Some frames of a step: there already, or on their way.
    struct Part {
        plan::FrameRanges frames;
        comm::Buffer buffer;
        comm::Future arrived;
    };

    /// Writes the latents of all frames with so many steps complete to where they are safe.
    using Write = std::function<void(std::int64_t steps_done, const std::vector<float>& latents)>;

    /// `steps_done` steps were complete before the first `add`; the thread counts on from there as steps are gathered. Steps are saved at most once in
    /// `save_every_s`, the last one always.
    Saver(Write write, const plan::Plan& plan, std::atomic<std::int64_t>& steps_done, double save_every_s, Events& events);
    ~Saver();  ///< drops what is not gathered yet
    Saver(const Saver&) = delete;
    Saver& operator=(const Saver&) = delete;

    /// All frames of the next step, in parts. Waits while two steps are still on their way. Throws what failed in the thread.
    void add(std::int64_t steps_done, std::vector<Part> parts);

    /// Waits until everything is gathered and the newest step saved; gives it. Throws what failed.
    [[nodiscard]] HostLatents finish();

    /// The job ends early: a step whose parts come within two seconds counts, and the newest complete one is saved. Gives what failed, if anything did.
    [[nodiscard]] std::exception_ptr finish_early() noexcept;

  private:
    struct Step {
        std::int64_t steps_done = 0;
        std::vector<Part> parts;
    };

    void work() noexcept;
    /// False when the job ends before the parts are there.
    [[nodiscard]] bool gather(const Step& step);
    void save();
    void throw_if_given_up() const;
    void end_thread();

    Write write_;
    const plan::Plan& plan_;
    double save_every_s_;
    Events& events_;

    std::shared_ptr<std::vector<float>> newest_;
    std::atomic<std::int64_t>& steps_done_;
    std::int64_t steps_saved_;
    Stopwatch since_save_;
    Stopwatch since_step_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Step> queue_;    // under mutex_
    bool ending_ = false;       // under mutex_: no step comes any more
    bool gave_up_ = false;      // under mutex_: the job ends before a step's frames have come
    std::exception_ptr error_;  // under mutex_
    std::atomic<bool> dropped_{false};
    std::atomic<bool> hurried_{false};
    std::thread thread_;
};

}  // namespace weft::pipeline

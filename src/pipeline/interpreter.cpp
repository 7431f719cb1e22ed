#include "pipeline/interpreter.hpp"

#include "base/digest.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"

#include <span>
#include <variant>

namespace weft::pipeline {

namespace {
double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}
}  // namespace

Interpreter::Interpreter(Denoiser& denoiser, io::RunFile& run_file, const plan::Plan& plan, double save_every_s, Events& events, Progress& progress)
    : denoiser_{denoiser}, run_file_{run_file}, plan_{plan}, save_every_s_{save_every_s}, events_{events}, progress_{progress} {}

void Interpreter::run(const plan::Program& program) {
    last_save_ = step_start_ = std::chrono::steady_clock::now();
    for (const auto& operation : program) {
        std::visit([this](const auto& one) { execute(one); }, operation);
        if (stop::requested()) {
            if (steps_done_ > steps_saved_) save_now();
            stop::here_if_requested();
        }
    }
}

void Interpreter::execute(const plan::Compute& compute) {
    const auto start = std::chrono::steady_clock::now();
    const auto& pass = compute.task.pass;
    denoiser_.compute(compute.task);
    ++passes_done_;
    events_.emit(
        "pass",
        {{"step", pass.step}, {"slice", pass.slice}, {"branch", std::int64_t{pass.branch == plan::Branch::conditional}}, {"seconds", seconds_since(start)}});
    progress_.show(passes_done_, cat("step ", pass.step + 1, "/", plan_.steps, ", slice ", pass.slice + 1, "/", plan_.slices.size()));
}

void Interpreter::execute(const plan::Advance& advance) {
    denoiser_.advance(advance);
}

void Interpreter::execute(const plan::Save& save) {
    steps_done_ = save.steps_done;
    if (seconds_since(last_save_) >= save_every_s_ || steps_done_ == plan_.steps) save_now();
    const auto latents = denoiser_.latents();
    events_.emit("step", {{"step", steps_done_},
                          {"seconds", seconds_since(step_start_)},
                          {"saved", steps_saved_ == steps_done_},
                          {"hash", hex_digest(std::as_bytes(std::span(latents)))}});
    step_start_ = std::chrono::steady_clock::now();
}

void Interpreter::save_now() {
    run_file_.save(steps_done_, denoiser_.latents());
    steps_saved_ = steps_done_;
    last_save_ = std::chrono::steady_clock::now();
}

}  // namespace weft::pipeline

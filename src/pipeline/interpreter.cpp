#include "pipeline/interpreter.hpp"

#include "base/error.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "pipeline/kinds.hpp"

#include <variant>

namespace weft::pipeline {

namespace {
comm::Tag tag_of(const plan::Message& message) {
    return tag(static_cast<Kind>(message.cargo), message.number);
}
}  // namespace

Interpreter::Interpreter(Denoiser& denoiser, comm::Transport& transport, const plan::Plan& plan, Saver* saver, Events& events, Progress& progress)
    : denoiser_{denoiser}, transport_{transport}, plan_{plan}, saver_{saver}, events_{events}, progress_{progress} {}

void Interpreter::run(const plan::Program& program) {
    for (const auto& operation : program) {
        std::visit([this](const auto& one) { execute(one); }, operation);
        reap_sends();
        stop::here_if_requested();
    }
    for (const auto& send : sends_) {
        transport_.pulse().waiting("the last sends");
        send.wait();
    }
    sends_.clear();
    ensure(arrivals_.empty(), "a program uses all that it receives");
}

void Interpreter::reap_sends() {
    while (!sends_.empty() && sends_.front().ready()) {
        sends_.front().wait();  // throws what failed
        sends_.pop_front();
    }
}

void Interpreter::execute(const plan::Receive& receive) {
    const auto& message = receive.message;
    auto buffer = denoiser_.room(message);
    auto future = transport_.receive(message.from, tag_of(message), buffer, plan::describe(message));
    arrivals_.emplace(message.number, Arrival{message, std::move(buffer), std::move(future), receive.uses});
}

Interpreter::Arrival Interpreter::use(std::int64_t number) {
    const auto found = arrivals_.find(number);
    ensure(found != arrivals_.end(), "a message is used after its receive was posted");
    if (--found->second.uses > 0) return found->second;
    return std::move(arrivals_.extract(found).mapped());
}

void Interpreter::execute(const plan::Take& take) {
    const auto arrival = use(take.message.number);
    transport_.pulse().waiting(plan::describe(take.message));
    arrival.future.wait();
    denoiser_.take(arrival.message, arrival.buffer);
}

void Interpreter::execute(const plan::Compute& compute) {
    const Stopwatch watch;
    const auto& pass = compute.task.pass;
    transport_.pulse().working(cat("the pass of ", plan::describe(pass)), task_seconds_);
    if (before_task) before_task(compute.task);
    denoiser_.compute(compute.task);
    task_seconds_ = watch.seconds();
    ++passes_done_;
    events_.emit("pass", {{"step", pass.step},
                          {"slice", pass.slice},
                          {"branch", std::int64_t{pass.branch == plan::Branch::conditional}},
                          {"rank", std::int64_t{compute.task.rank}},
                          {"seconds", task_seconds_}});
    progress_.show(passes_done_, cat("step ", pass.step + 1, "/", plan_.steps, ", slice ", pass.slice + 1, "/", plan_.slices.size()));
}

void Interpreter::execute(const plan::Advance& advance) {
    denoiser_.advance(advance);
}

void Interpreter::execute(const plan::Send& send) {
    const auto& message = send.message;
    sends_.push_back(transport_.send(message.to, tag_of(message), denoiser_.pack(message), plan::describe(message)));
}

void Interpreter::execute(const plan::Save& save) {
    ensure(saver_ != nullptr, "only the writer saves");
    std::vector<Saver::Part> parts;
    if (!save.own.empty()) parts.push_back({save.own, denoiser_.latents(save.own), {}});
    for (const auto number : save.messages) {
        auto arrival = use(number);
        parts.push_back({std::move(arrival.message.frames), std::move(arrival.buffer), std::move(arrival.future)});
    }
    transport_.pulse().idle();  // a slow disk is no stall
    saver_->add(save.steps_done, std::move(parts));
}

}  // namespace weft::pipeline

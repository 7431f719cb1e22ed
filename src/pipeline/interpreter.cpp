#include "pipeline/interpreter.hpp"

#include "base/error.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "pipeline/kinds.hpp"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <variant>

namespace weft::pipeline {

namespace {
constexpr double seconds_between_looks = 0.2;  // at whether a stop was asked for
constexpr double seconds_after_stop = 2;
constexpr double seconds_to_let_go = 1;

comm::Tag tag_of(const plan::Message& message) {
    return tag(static_cast<Kind>(message.cargo), message.number);
}
}  // namespace

Interpreter::Interpreter(Denoiser& denoiser, comm::Transport& transport, const plan::Plan& plan, Saver* saver, Events& events, Progress& progress, Trace& trace)
    : denoiser_{denoiser}, transport_{transport}, plan_{plan}, saver_{saver}, events_{events}, progress_{progress}, trace_{trace} {}

void Interpreter::run(const plan::Program& program) {
    turns_ = plan::device_turns(program);
    operation_ = 0;
    for (const auto& operation : program) {
        trace_.at(operation_);
        try {
            if (std::holds_alternative<plan::Compute>(operation)) stop::here_if_requested();
            std::visit([this](const auto& one) { execute(one); }, operation);
        } catch (const std::exception& error) {
            if (exit_code_of(error) == ExitCode::stopped)
                complete_steps(std::span(program).subspan(static_cast<std::size_t>(operation_)));
            else
                let_go();
            throw;
        }
        ++operation_;
        reap_sends();
    }
    for (const auto& send : sends_) {
        transport_.pulse().waiting("the last sends");
        send.future.wait();
        trace_transfer(Trace::Kind::send, send.operation, send.message, send.posted_s, send.future);
    }
    sends_.clear();
    ensure(arrivals_.empty(), "a program uses all that it receives");
}

void Interpreter::reap_sends() {
    while (!sends_.empty() && sends_.front().future.ready()) {
        const auto& send = sends_.front();
        static_cast<void>(send.future.wait_for(0));  // throws what failed
        trace_transfer(Trace::Kind::send, send.operation, send.message, send.posted_s, send.future);
        sends_.pop_front();
    }
}

comm::Future Interpreter::post(comm::Transfer::Direction direction, const plan::Message& message, const comm::Buffer& buffer) {
    comm::Transfer transfer{.direction = direction,
                            .peer = direction == comm::Transfer::Direction::send ? message.to : message.from,
                            .tag = tag_of(message),
                            .buffer = buffer,
                            .what = plan::describe(message)};
    if (buffer.memory == comm::Buffer::Memory::device) transfer.turn = turns_.at(message.number);
    std::vector<comm::Transfer> group;
    group.push_back(std::move(transfer));
    return transport_.post(std::move(group)).front();
}

void Interpreter::trace_transfer(Trace::Kind kind, std::int64_t operation, const plan::Message& message, double posted_s, const comm::Future& future) {
    if (!trace_.on()) return;
    trace_.at(operation);
    trace_.add(kind, message.number, posted_s, future.ended_s());
    trace_.at(operation_);
}

void Interpreter::execute(const plan::Receive& receive) {
    const auto& message = receive.message;
    auto buffer = message.cargo == plan::Cargo::slot ? comm::make_buffer(static_cast<std::size_t>(message.bytes)) : denoiser_.room(message);
    auto future = post(comm::Transfer::Direction::receive, message, buffer);
    arrivals_.emplace(message.number, Arrival{message, std::move(buffer), std::move(future), receive.uses, Trace::now(), operation_});
}

Interpreter::Arrival Interpreter::use(std::int64_t number) {
    const auto found = arrivals_.find(number);
    ensure(found != arrivals_.end(), "a message is used after its receive was posted");
    if (--found->second.uses > 0) return found->second;
    return std::move(arrivals_.extract(found).mapped());
}

void Interpreter::await(const comm::Future& arrival) const {
    while (!stop::requested())
        if (arrival.wait_for(seconds_between_looks)) return;
    if (!arrival.wait_for(seconds_after_stop)) stop::here_if_requested();
    arrival.wait();
}

void Interpreter::execute(const plan::Take& take) {
    const auto arrival = use(take.message.number);
    if (!arrival.future.ready()) {
        const auto begin_s = Trace::now();
        transport_.pulse().waiting(plan::describe(take.message));
        await(arrival.future);
        trace_.add(Trace::Kind::wait, take.message.number, begin_s, Trace::now());
    }
    static_cast<void>(arrival.future.wait_for(0));  // throws what failed
    trace_transfer(Trace::Kind::receive, arrival.operation, arrival.message, arrival.posted_s, arrival.future);
    if (take.message.cargo != plan::Cargo::slot) denoiser_.take(arrival.message, arrival.buffer);
}

namespace {

/// The step that an operation helps to complete; none for what moves a pass on.
struct StepOf {
    std::optional<std::int64_t> operator()(const plan::Advance& o) const { return o.step; }
    std::optional<std::int64_t> operator()(const plan::Keep& o) const { return o.steps_done - 1; }
    std::optional<std::int64_t> operator()(const plan::Save& o) const { return o.steps_done - 1; }
    std::optional<std::int64_t> operator()(const plan::Take& o) const {
        return o.message.cargo == plan::Cargo::prediction ? std::optional(o.message.pass.step) : std::nullopt;  // latents are for the next step's passes
    }
    std::optional<std::int64_t> operator()(const plan::Send& o) const { return of(o.message); }
    std::optional<std::int64_t> operator()(const plan::Receive&) const { return std::nullopt; }
    std::optional<std::int64_t> operator()(const plan::Compute&) const { return std::nullopt; }

    static std::optional<std::int64_t> of(const plan::Message& message) {
        const bool moves_frames = message.cargo == plan::Cargo::prediction || message.cargo == plan::Cargo::latents || message.cargo == plan::Cargo::saved;
        return moves_frames ? std::optional(message.pass.step) : std::nullopt;
    }
};

}  // namespace

void Interpreter::let_go() const noexcept {
    const Stopwatch watch;
    try {
        for (const auto& send : sends_) static_cast<void>(send.future.wait_for(std::max(0.0, seconds_to_let_go - watch.seconds())));
    } catch (const std::exception&) {
        return;  // what failed first is told
    }
}

void Interpreter::complete_steps(std::span<const plan::Operation> rest) {
    auto computed = std::numeric_limits<std::int64_t>::max();  // steps before this one are through with computing here
    std::set<int> passed_over;                                 // ranks to which something is not sent
    for (const auto& operation : rest) {
        const bool stopped_here = &operation == &rest.front();
        if (const auto* compute = std::get_if<plan::Compute>(&operation)) computed = std::min(computed, compute->task.pass.step);
        const auto* send = std::get_if<plan::Send>(&operation);
        const auto step = std::visit(StepOf{}, operation);
        bool possible = !stopped_here && step && *step < computed && (send == nullptr || !passed_over.contains(send->message.to));
        if (const auto* take = std::get_if<plan::Take>(&operation)) possible = possible && arrivals_.contains(take->message.number);
        if (const auto* save = std::get_if<plan::Save>(&operation))
            possible = possible && std::ranges::all_of(save->messages, [this](auto number) { return arrivals_.contains(number); });
        if (possible)
            std::visit([this](const auto& one) { execute(one); }, operation);
        else if (send != nullptr)
            passed_over.insert(send->message.to);
        else if (step)
            computed = std::min(computed, *step);
    }
}

void Interpreter::execute(const plan::Compute& compute) {
    const Stopwatch watch;
    const auto& pass = compute.task.pass;
    transport_.pulse().working(cat("the pass of ", plan::describe(pass)), task_seconds_);
    if (before_task) before_task(compute.task);
    denoiser_.compute(compute.task);
    task_seconds_ = watch.seconds();
    const auto now_s = Trace::now();
    trace_.add(Trace::Kind::task, -1, now_s - task_seconds_, now_s);
    ++tasks_done_;
    const auto& pieces = compute.task.pieces;
    events_.emit("pass", {{"step", pass.step},
                          {"slice", pass.slice},
                          {"branch", std::int64_t{pass.branch == plan::Branch::conditional}},
                          {"first_piece", pieces.begin},
                          {"last_piece", pieces.end - 1},
                          {"rank", std::int64_t{compute.task.rank}},
                          {"seconds", task_seconds_}});
    progress_.show(tasks_done_, cat("step ", pass.step + 1, "/", plan_.steps, ", slice ", pass.slice + 1, "/", plan_.slices.size()));
}

void Interpreter::execute(const plan::Advance& advance) {
    const auto begin_s = Trace::now();
    denoiser_.advance(advance);
    trace_.add(Trace::Kind::advance, -1, begin_s, Trace::now());
}

void Interpreter::execute(const plan::Send& send) {
    const auto& message = send.message;
    const auto buffer = message.cargo == plan::Cargo::slot ? comm::make_buffer(static_cast<std::size_t>(message.bytes)) : denoiser_.pack(message);
    sends_.push_back({message, post(comm::Transfer::Direction::send, message, buffer), Trace::now(), operation_});
}

void Interpreter::execute(const plan::Keep& keep) {
    kept_[keep.steps_done].push_back({keep.frames, denoiser_.latents(keep.frames), {}});
}

void Interpreter::execute(const plan::Save& save) {
    ensure(saver_ != nullptr, "only the writer saves");
    auto parts = std::move(kept_[save.steps_done]);
    kept_.erase(save.steps_done);
    for (const auto number : save.messages) {
        auto arrival = use(number);
        parts.push_back({std::move(arrival.message.frames), std::move(arrival.buffer), std::move(arrival.future)});
    }
    transport_.pulse().idle();  // a slow disk is no stall
    saver_->add(save.steps_done, std::move(parts));
}

}  // namespace weft::pipeline

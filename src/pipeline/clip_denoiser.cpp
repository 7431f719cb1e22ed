#include "pipeline/clip_denoiser.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "pipeline/once_more.hpp"
#include "plan/memory.hpp"
#include "plan/weight_window.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

namespace weft::pipeline {

void load_denoiser(model::Family& family, const plan::Plan& plan, int rank) {
    const auto units = plan.shape.units_of(plan.deal.pieces_of(rank));
    auto choice = plan.memory;
    auto windows = plan::weight_windows(plan, rank, plan::pass_bytes(plan, rank));
    once_more(
        "loading the denoiser",
        [&] {
            family.drop_denoiser();
            choice.keep_pose_features = false;
            windows.chosen = windows.least;
        },
        [&] { family.load_denoiser(units, choice, windows); });
}

ClipDenoiser::ClipDenoiser(model::Family& family, const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance, comm::Pulse& pulse,
                           Trace& trace, Travel travel)
    : family_{family}, plan_{plan}, rank_{rank}, pulse_{pulse}, trace_{trace}, travel_{travel}, frames_{plan, rank, std::move(latents), guidance} {
    for (auto& seconds : piece_seconds_) seconds.resize(static_cast<std::size_t>(plan.shape.num_pieces()));
    make_slots();
}

void ClipDenoiser::make_slots() {
    const OwnedBy owner(Owner::slots);
    const auto options = at::TensorOptions{}.dtype(family_.prediction_type()).device(family_.device());
    for (const auto& route : plan_.deal.routes()) {
        auto& way = ways_.emplace_back();
        way.rooms = plan::rooms_of(plan_.shape, route);
        way.slots.resize(way.rooms.size());
        way.outgoing.resize(way.rooms.size());
        for (std::size_t room = 0; room < way.rooms.size(); ++room) {
            const auto& one = way.rooms[room];
            if (one.to != rank_ && one.from != rank_) continue;
            const auto size = frame_size(one);
            const auto make = [&] {
                auto made = at::empty({one.slots.size(), size.height, size.width, size.channels}, options);
                ensure(static_cast<std::int64_t>(made.nbytes()) == one.bytes, "a room is as large as the plan says");
                return made;
            };
            if (one.to == rank_)
                for (std::int64_t slot = 0; slot < route.slots; ++slot) way.slots[room].push_back(make());
            else
                way.outgoing[room].tensor = make();
        }
    }
}

model::FrameSize ClipDenoiser::frame_size(const plan::Room& room) const {
    const auto& layout = family_.layout();
    if (room.content == plan::Room::Content::skip) return layout.skips.at(static_cast<std::size_t>(room.item));
    const auto piece = static_cast<std::size_t>(room.item);
    const auto& state = plan_.shape.pieces.at(piece).state;
    const auto part = std::find_if(state.begin(), state.end(), [&](const plan::Part& one) { return one.tensor == room.tensor; });
    ensure(part != state.end(), "a room for a part of the state that is not there");
    return layout.state.at(piece).at(static_cast<std::size_t>(part - state.begin()));
}

model::PassState ClipDenoiser::state_of(const plan::Task& task, std::size_t leg) {
    const auto& pass = task.pass;
    if (leg == 0) {
        const auto& slice = plan_.slices.at(static_cast<std::size_t>(pass.slice));
        std::vector<std::int64_t> shown;
        shown.reserve(slice.frames.size());
        for (const auto frame : slice.frames) shown.push_back(plan_.shown(frame));
        return family_.begin(pass, frames_.gather(slice), shown);
    }
    auto state = family_.resume(pass);
    auto& way = way_of(pass);
    for (std::size_t room = 0; room < way.rooms.size(); ++room) {
        const auto& one = way.rooms[room];
        if (one.to_leg != leg) continue;
        auto tensor = way.slots[room].at(static_cast<std::size_t>(task.slot));
        if (one.slots.size() < plan_.shape.num_slots) {  // units know their frames by where they lie in a tensor for all
            const auto size = frame_size(one);
            auto whole = at::empty({plan_.shape.num_slots, size.height, size.width, size.channels}, tensor.options());
            whole.narrow(0, one.slots.begin, one.slots.size()).copy_(tensor);
            tensor = std::move(whole);
        }
        if (one.content == plan::Room::Content::state)
            model::tensor_of(state, static_cast<model::StateTensor>(one.tensor)) = std::move(tensor);
        else
            state.skips.push_back(std::move(tensor));  // rooms of a leg are in the order in which the way down made them
    }
    return state;
}

model::PassState ClipDenoiser::run_pieces(const plan::Task& task, std::size_t leg) {
    const auto& pass = task.pass;
    const auto what = cat("the pass of ", plan::describe(pass));
    auto& seconds = piece_seconds_[static_cast<std::size_t>(pass.branch)];
    const OwnedBy owner(Owner::activations);
    pulse_.working(what, begin_seconds_);
    const Stopwatch watch;
    auto state = state_of(task, leg);
    begin_seconds_ = watch.seconds();
    for (auto piece = task.pieces.begin; piece < task.pieces.end; ++piece) {
        auto& expected = seconds.at(static_cast<std::size_t>(piece));
        const auto& one = plan_.shape.pieces.at(static_cast<std::size_t>(piece));
        const auto unit = static_cast<std::size_t>(one.unit);
        pulse_.working(cat(what, ", unit ", family_.units().at(unit)->name()), expected);
        const auto begin_s = Trace::now();
        family_.run(unit, state, one.slots);
        const auto end_s = Trace::now();
        expected = end_s - begin_s;
        trace_.add(Trace::Kind::unit, piece, begin_s, end_s);
        stop::here_if_requested();
    }
    return state;
}

void ClipDenoiser::compute(const plan::Task& task) {
    const auto& pass = task.pass;
    frames_.forget_used(ahead_);  // of passes before, sent since
    frames_.begin_with(pass.step);
    if (ahead_.erase(pass) > 0) return;
    std::int64_t passes = 1;
    if (batches_ && plan_.deal.route(pass.slice, pass.branch).legs.size() == 1)
        passes = compute_with_others(pass);
    else
        compute_leg(task);
    if (family_.device().is_cuda()) {  // once a task, so that the stall watch and the events know when it has really ended; the queue is short again soon
        pulse_.working(cat("the pass of ", plan::describe(pass), ", on the GPU"), gpu_seconds_ * static_cast<double>(passes));
        const Stopwatch watch;
        cuda::synchronize();
        gpu_seconds_ = watch.seconds() / static_cast<double>(passes);
    }
    for (const auto& one : family_.take_stream_stretches())
        trace_.add(one.kind == model::StreamStretch::Kind::fetch ? Trace::Kind::fetch : Trace::Kind::stall, static_cast<std::int64_t>(one.unit), one.begin_s,
                   one.end_s);
}

void ClipDenoiser::compute_leg(const plan::Task& task) {
    const auto& pass = task.pass;
    const auto leg = plan_.deal.route(pass.slice, pass.branch).leg_of(task.pieces.begin);
    const auto work = [&] {
        auto state = run_pieces(task, leg);
        if (task.pieces.end == plan_.shape.num_pieces())
            frames_.add(pass, frames_.prediction_of(pass, family_.finish(state)));
        else
            leave(task, leg, state);
    };
    // A later leg works in the slot in which it found its tensors: what is half done cannot be begun again.
    if (leg == 0)
        once_more(
            cat("in the pass of ", plan::describe(pass)), [this] { family_.relieve(); }, work);
    else
        work();
}

std::vector<plan::Pass> ClipDenoiser::ready_with(const plan::Pass& pass) const {
    std::vector<plan::Pass> ready{pass};
    for (std::int64_t slice = 0; slice < plan_.num_slices(); ++slice) {
        const auto& frames = plan_.slices[static_cast<std::size_t>(slice)].frames;
        for (const auto branch : plan_.deal.branches()) {
            const plan::Pass other{pass.step, slice, branch};
            const auto& route = plan_.deal.route(slice, branch);
            const bool runs_here = route.legs.size() == 1 && route.first_rank() == rank_;
            if (other != pass && runs_here && !ran_.contains(other) && frames_.are_behind(frames, pass.step)) ready.push_back(other);
        }
    }
    return ready;
}

/// When memory runs out, first fewer passes run side by side, then what keeps the bits is done, then operations take fewer rows at once.
std::int64_t ClipDenoiser::compute_with_others(const plan::Pass& pass) {
    std::erase_if(ran_, [done = frames_.least_step()](const auto& one) { return one.step < done; });
    auto together = ready_with(pass);
    while (true) {
        const auto fitting = batches_->fitting(static_cast<std::int64_t>(together.size()), meter::current(), pass.step);
        together.resize(static_cast<std::size_t>(fitting));
        try {
            run_together(together);
            break;
        } catch (const std::exception& error) {
            if (!is_out_of_memory(error)) throw;
            if (together.size() > 1)
                batches_->ran_out(fitting, pass.step);
            else if (!std::exchange(relieved_, true))
                log::warn(cat("out of memory in the pass of ", plan::describe(pass), ": ", first_line(error.what()), "; from now on weights are streamed"));
            else if (runs_whole_passes_only() && family_.take_smaller_chunks())
                batches_->note("operations take half as many rows at once as before", pass.step);
            else
                throw;
        }
        relieved_ ? family_.relieve() : release_caches();
    }
    ran_.insert(together.begin(), together.end());
    ahead_.insert(together.begin() + 1, together.end());
    return static_cast<std::int64_t>(together.size());
}

/// Other passes are cut at the borders of the chunks that they began with.
bool ClipDenoiser::runs_whole_passes_only() const {
    return std::ranges::all_of(plan_.deal.routes(), [this](const plan::Route& route) {
        return route.legs.size() == 1 || std::ranges::find(route.legs, rank_, &plan::Leg::rank) == route.legs.end();
    });
}

void ClipDenoiser::run_together(std::vector<plan::Pass> passes) {
    const auto what = cat("the pass of ", plan::describe(passes.front()), passes.size() > 1 ? cat(" and ", passes.size() - 1, " beside it") : "");
    const auto count = static_cast<double>(passes.size());
    auto& seconds = piece_seconds_[static_cast<std::size_t>(passes.front().branch)];
    std::ranges::stable_sort(passes, {}, &plan::Pass::branch);
    std::vector<KeptFrames::Prediction> predictions;
    {
        const OwnedBy owner(Owner::activations);
        pulse_.working(what, begin_seconds_ * count);
        const Stopwatch watch;
        std::vector<model::PassState> states;
        states.reserve(passes.size());
        for (const auto& pass : passes) states.push_back(state_of({.pass = pass, .pieces = {0, plan_.shape.num_pieces()}, .rank = rank_}, 0));
        auto state = model::side_by_side(std::move(states));
        begin_seconds_ = watch.seconds() / count;
        for (std::size_t piece = 0; piece < plan_.shape.pieces.size(); ++piece) {
            const auto& one = plan_.shape.pieces[piece];
            if (one.slots.begin > 0) continue;  // the unit has run, on all frames
            const auto unit = static_cast<std::size_t>(one.unit);
            pulse_.working(cat(what, ", unit ", family_.units().at(unit)->name()), seconds[piece] * count);
            const auto begin_s = Trace::now();
            family_.run(unit, state, model::all_slots(state));
            const auto end_s = Trace::now();
            seconds[piece] = (end_s - begin_s) / count;
            trace_.add(Trace::Kind::unit, static_cast<std::int64_t>(piece), begin_s, end_s);
            stop::here_if_requested();
        }
        const auto rows = family_.finish(state);
        state = {};
        const OwnedBy keeper(Owner::latents);
        const auto slots = rows.size(0) / static_cast<std::int64_t>(passes.size());
        for (std::size_t i = 0; i < passes.size(); ++i) {
            const auto own = rows.narrow(0, static_cast<std::int64_t>(i) * slots, slots);
            predictions.push_back(frames_.prediction_of(passes[i], passes.size() > 1 ? own.clone() : own));
        }
    }
    for (std::size_t i = 0; i < passes.size(); ++i) frames_.add(passes[i], std::move(predictions[i]));  // all of them, or memory ran out before the first
}

void ClipDenoiser::leave(const plan::Task& task, std::size_t leg, model::PassState& state) {
    auto& way = way_of(task.pass);
    // On the stack of skips lie those that this leg made for later ones; or only the one that the unit in its midst takes frame by frame.
    std::vector<std::int64_t> made;
    for (const auto& room : way.rooms)
        if (room.from_leg == leg && room.content == plan::Room::Content::skip && (made.empty() || made.back() != room.item)) made.push_back(room.item);
    ensure(made.empty() || made.size() == state.skips.size(), "a leg leaves the skips that the plan says");
    for (std::size_t room = 0; room < way.rooms.size(); ++room) {
        const auto& one = way.rooms[room];
        if (one.from_leg != leg) continue;
        at::Tensor tensor;
        if (one.content == plan::Room::Content::state)
            tensor = model::tensor_of(state, static_cast<model::StateTensor>(one.tensor));
        else
            tensor = state.skips.at(static_cast<std::size_t>(std::find(made.begin(), made.end(), one.item) - made.begin()));
        ensure(tensor.defined() && tensor.size(0) == plan_.shape.num_slots, "what a leg leaves is there");
        tensor = tensor.narrow(0, one.slots.begin, one.slots.size());
        if (one.to != rank_) await_departure(way.outgoing[room], plan::describe(task.pass));
        (one.to == rank_ ? way.slots[room].at(static_cast<std::size_t>(task.slot)) : way.outgoing[room].tensor).copy_(tensor);
    }
}

/// The message before needs no pass behind it to arrive: its receive was posted when its pass was let in, with smaller numbers than all that waits here.
void ClipDenoiser::await_departure(const Outgoing& outgoing, const std::string& what) const {
    constexpr double seconds_after_stop = 2;
    double stopped_s = 0;
    for (constexpr std::chrono::microseconds nap(100); !outgoing.travelling.expired(); std::this_thread::sleep_for(nap)) {
        pulse_.waiting(cat("what the pass before left to travel on, to leave ", what));
        if (!stop::requested()) continue;
        if (stopped_s == 0) stopped_s = Trace::now();
        if (Trace::now() - stopped_s > seconds_after_stop) stop::here_if_requested();
    }
}

void ClipDenoiser::advance(const plan::Advance& advance) {
    pulse_.working(cat("blending step ", advance.step + 1));
    const OwnedBy owner(Owner::latents);
    for (const auto& frames : frames_.some_at_a_time(advance.frames))
        once_more(
            cat("blending step ", advance.step + 1), [this] { family_.relieve(); }, [&] {  // nothing is written before all is known
                const auto next = family_.step(frames_.latents(frames), frames_.guided_prediction(advance.step, frames), advance.step);
                if (!std::isfinite(next.sum().item<double>())) throw not_finite(advance);
                frames_.put({frames}, next, advance.step + 1);
            });
    frames_.forget_advanced(advance, ahead_);
}

Error ClipDenoiser::not_finite(const plan::Advance& advance) const {
    const bool fp16 = family_.prediction_type() == c10::kHalf;
    return Error(ExitCode::failure,
                 cat("step ", advance.step + 1, ": latents with numbers that are not finite",
                     fp16 ? ", as when a network passes the 65504 of fp16; try model.dtype = \"bf16\"" : ". Are the weights whole? weft inspect MODEL tells",
                     ". The steps before it are saved"));
}

comm::Buffer ClipDenoiser::sent(const plan::Message& message, const at::Tensor& tensor) const {
    ensure(static_cast<std::int64_t>(tensor.nbytes()) == message.bytes, "a message is as long as the plan says");
    return by_device(message) ? on_device(tensor) : to_host(tensor);
}

comm::Buffer ClipDenoiser::pack(const plan::Message& message) {
    if (plan::between_legs(message.cargo)) {
        auto& outgoing = way_of(message.pass).outgoing.at(message.room);
        auto buffer = sent(message, outgoing.tensor);
        if (by_device(message) || !outgoing.tensor.is_cuda()) outgoing.travelling = buffer.keeper;
        return buffer;
    }
    const OwnedBy owner(Owner::latents);
    return sent(message, message.cargo == plan::Cargo::prediction ? frames_.prediction(message.pass, message.frames) : frames_.gather(message.frames));
}

comm::Buffer ClipDenoiser::room(const plan::Message& message) {
    if (message.cargo == plan::Cargo::saved) return comm::make_buffer(static_cast<std::size_t>(message.bytes));  // never goes to the device
    if (plan::between_legs(message.cargo)) {
        const auto& slot = way_of(message.pass).slots.at(message.room).at(static_cast<std::size_t>(message.slot));
        if (by_device(message)) return on_device(slot);
        return slot.is_cuda() ? room_for(slot.sizes(), slot.scalar_type(), slot.device()) : to_host(slot);
    }
    const auto type = message.cargo == plan::Cargo::prediction ? family_.prediction_type() : c10::kFloat;
    const std::array<std::int64_t, 4> sizes{plan::count(message.frames), plan_.latent_channels, plan_.latent_height, plan_.latent_width};
    if (by_device(message)) {
        const OwnedBy owner(Owner::latents);
        return on_device(at::empty(sizes, frames_.latents().options().dtype(type)));
    }
    auto buffer = room_for(sizes, type, frames_.latents().device());
    ensure(static_cast<std::int64_t>(buffer.bytes.size()) == message.bytes, "a message is as long as the plan says");
    return buffer;
}

void ClipDenoiser::take(const plan::Message& message, const comm::Buffer& buffer) {
    const OwnedBy owner(Owner::latents);
    if (plan::between_legs(message.cargo)) {
        auto& slot = way_of(message.pass).slots.at(message.room).at(static_cast<std::size_t>(message.slot));
        if (slot.is_cuda() && !by_device(message)) slot.copy_(from_host(buffer, slot.device()));
        return;  // elsewhere it was received where it belongs
    }
    auto rows = tensor_in(buffer, frames_.latents().device());
    if (message.cargo == plan::Cargo::prediction)
        frames_.add(message.pass, frames_.prediction_of(message.frames, std::move(rows)));
    else
        frames_.put(message.frames, rows, message.pass.step + 1);
}

comm::Buffer ClipDenoiser::latents(const plan::FrameRanges& frames) const {
    const OwnedBy owner(Owner::latents);
    return to_host(frames_.gather(frames));
}

}  // namespace weft::pipeline

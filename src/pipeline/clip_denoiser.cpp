#include "pipeline/clip_denoiser.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "pipeline/once_more.hpp"
#include "pipeline/staging.hpp"
#include "plan/weight_window.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>
#include <thread>

namespace weft::pipeline {

namespace {
using plan::FrameRange;
using plan::FrameRanges;

/// A part of a tensor whose rows stand for the frames of some ranges: `count` rows from `row` on are the frames from `frame` on.
struct Run {
    std::int64_t row, frame, count;
};

/// The rows that stand for frames of `wanted`.
std::vector<Run> runs_of(const FrameRanges& rows, FrameRange wanted) {
    std::vector<Run> runs;
    std::int64_t row = 0;
    for (const auto& range : rows) {
        const auto begin = std::max(range.begin, wanted.begin);
        const auto end = std::min(range.end, wanted.end);
        if (begin < end) runs.push_back({row + begin - range.begin, begin, end - begin});
        row += range.size();
    }
    return runs;
}

/// The frames of a slice as its slots have them: a private anchor comes first, though its number is the largest.
std::vector<Run> runs_of_slots(const plan::Slice& slice, FrameRange wanted) {
    std::vector<Run> runs;
    for (std::size_t slot = 0; slot < slice.frames.size(); ++slot) {
        const auto frame = slice.frames[slot];
        if (frame < wanted.begin || frame >= wanted.end) continue;
        const auto row = static_cast<std::int64_t>(slot);
        if (!runs.empty() && runs.back().row + runs.back().count == row && runs.back().frame + runs.back().count == frame)
            ++runs.back().count;
        else
            runs.push_back({row, frame, 1});
    }
    return runs;
}

at::Tensor column(const std::vector<float>& values) {
    auto made = at::empty({static_cast<std::int64_t>(values.size()), 1, 1, 1}, at::TensorOptions{}.dtype(c10::kFloat));
    std::memcpy(made.mutable_data_ptr(), values.data(), values.size() * sizeof(float));
    return made;
}

/// Linear over the clip; what stands for another frame is guided as that is.
at::Tensor guidance_of(const plan::Plan& plan, std::array<double, 2> ends) {
    const auto clip = at::linspace(ends[0], ends[1], plan.num_frames, at::TensorOptions{}.dtype(c10::kFloat));
    std::vector<std::int64_t> shown;
    for (std::int64_t latent = 0; latent < plan.num_latents; ++latent) shown.push_back(plan.shown(latent));
    return clip.index_select(0, at::tensor(shown, at::TensorOptions{}.dtype(c10::kLong))).view({-1, 1, 1, 1});
}

}  // namespace

void load_denoiser(model::Family& family, const plan::Plan& plan, int rank) {
    const auto units = plan.shape.units_of(plan.deal.pieces_of(rank));
    auto choice = plan.memory;
    auto windows = plan::weight_windows(plan, rank);
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
    : family_{family},
      plan_{plan},
      rank_{rank},
      pulse_{pulse},
      trace_{trace},
      travel_{travel},
      kept_{plan.kept(rank)},
      latents_{std::move(latents)},
      guidance_{guidance_of(plan, guidance).to(latents_.device())} {
    ensure(latents_.size(0) == plan::count(kept_), "a rank's latents are those that it keeps");
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

void ClipDenoiser::append_rows(std::vector<at::Tensor>& parts, FrameRange frames) const {
    for (const auto& run : runs_of(kept_, frames)) parts.push_back(latents_.narrow(0, run.row, run.count));
}

/// Rows of the kept latents, in order; always a copy.
at::Tensor ClipDenoiser::gather(const FrameRanges& frames) const {
    std::vector<at::Tensor> parts;
    for (const auto& range : frames) append_rows(parts, range);
    return at::cat(parts);
}

std::int64_t ClipDenoiser::owned_among(const FrameRanges& frames) const {
    std::int64_t owned = 0;
    for (const auto& range : frames)
        for (auto frame = range.begin; frame < range.end; ++frame) owned += plan_.owner.at(static_cast<std::size_t>(frame)) == rank_ ? 1 : 0;
    return owned;
}

model::PassState ClipDenoiser::state_of(const plan::Task& task, std::size_t leg) {
    const auto& pass = task.pass;
    if (leg == 0) {
        const auto& slice = plan_.slices.at(static_cast<std::size_t>(pass.slice));
        std::vector<at::Tensor> slots;
        for (const auto& run : runs_of_slots(slice, {0, plan_.num_latents})) append_rows(slots, {run.frame, run.frame + run.count});
        std::vector<std::int64_t> shown;
        shown.reserve(slice.frames.size());
        for (const auto frame : slice.frames) shown.push_back(plan_.shown(frame));
        return family_.begin(pass, at::cat(slots), shown);
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
    std::erase_if(predictions_,
                  [this](const auto& entry) { return entry.second.awaited == 0 && !ahead_.contains(entry.first); });  // of passes before, sent since
    if (row_steps_.empty()) row_steps_.assign(static_cast<std::size_t>(plan::count(kept_)), pass.step);
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
            add_prediction(pass, prediction_of(pass, family_.finish(state)));
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
        const auto is_ready = [&](std::int64_t frame) {
            const auto rows = runs_of(kept_, plan::FrameRange{frame, frame + 1});
            return !rows.empty() && row_steps_[static_cast<std::size_t>(rows.front().row)] == pass.step;
        };
        for (const auto branch : plan_.deal.branches()) {
            const plan::Pass other{pass.step, slice, branch};
            const auto& route = plan_.deal.route(slice, branch);
            const bool runs_here = route.legs.size() == 1 && route.first_rank() == rank_;
            if (other != pass && runs_here && !ran_.contains(other) && std::ranges::all_of(frames, is_ready)) ready.push_back(other);
        }
    }
    return ready;
}

/// When memory runs out, first fewer passes run side by side, then what keeps the bits is done, then operations take fewer rows at once.
std::int64_t ClipDenoiser::compute_with_others(const plan::Pass& pass) {
    std::erase_if(ran_, [done = std::ranges::min(row_steps_)](const auto& one) { return one.step < done; });
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
    std::vector<Prediction> predictions;
    {
        const OwnedBy owner(Owner::activations);
        pulse_.working(what, begin_seconds_ * count);
        const Stopwatch watch;
        std::vector<model::PassState> states;
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
            predictions.push_back(prediction_of(passes[i], passes.size() > 1 ? own.clone() : own));
        }
    }
    for (std::size_t i = 0; i < passes.size(); ++i) add_prediction(passes[i], std::move(predictions[i]));  // all of them, or memory ran out before the first
}

ClipDenoiser::Prediction ClipDenoiser::prediction_of(const plan::Pass& pass, at::Tensor rows) const {
    auto frames = plan_.slices.at(static_cast<std::size_t>(pass.slice)).frames;
    rows = rows.to(latents_.device());
    if (!std::ranges::is_sorted(frames)) {  // a private anchor, whose slot comes first and its number last; a slice around the end of a ring
        std::vector<std::int64_t> order(frames.size());
        std::iota(order.begin(), order.end(), 0);
        std::ranges::sort(order, [&frames](auto a, auto b) { return frames[static_cast<std::size_t>(a)] < frames[static_cast<std::size_t>(b)]; });
        rows = rows.index_select(0, at::tensor(order, at::TensorOptions{}.dtype(c10::kLong)).to(rows.device()));
    }
    auto ranges = plan::ranges_of(std::move(frames));
    const auto awaited = owned_among(ranges);
    return {std::move(ranges), std::move(rows), awaited};
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

void ClipDenoiser::add_prediction(const plan::Pass& pass, Prediction prediction) {
    const auto [place, is_new] = predictions_.emplace(pass, std::move(prediction));
    ensure(is_new, "a pass gives each rank its prediction once");
}

at::Tensor ClipDenoiser::blend(std::int64_t step, plan::Branch branch, FrameRange frames) const {
    auto shape = latents_.sizes().vec();
    shape.front() = frames.size();
    auto sum = at::zeros(shape, latents_.options());
    std::vector<float> weight_sum(static_cast<std::size_t>(frames.size()), 0.0F);
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan_.slices.size()); ++slice) {
        for (const auto& slots : runs_of_slots(plan_.slices[static_cast<std::size_t>(slice)], frames)) {
            const auto found = predictions_.find({step, slice, branch});
            ensure(found != predictions_.end(), "frames are advanced when all their predictions are there");
            const auto rows = runs_of(found->second.frames, {slots.frame, slots.frame + slots.count});
            ensure(rows.size() == 1 && rows.front().count == slots.count, "a prediction holds the frames that are advanced");
            const auto first = plan_.slot_weights.begin() + slots.row;
            const auto weights = column({first, first + slots.count}).to(latents_.device());
            sum.narrow(0, slots.frame - frames.begin, slots.count).add_(found->second.rows.narrow(0, rows.front().row, slots.count).to(c10::kFloat) * weights);
            for (std::int64_t i = 0; i < slots.count; ++i)
                weight_sum[static_cast<std::size_t>(slots.frame - frames.begin + i)] += plan_.slot_weights[static_cast<std::size_t>(slots.row + i)];
        }
    }
    return sum.div_(column(weight_sum).to(latents_.device()));
}

/// The same frames in ranges that blending can hold in the caches of a CPU.
FrameRanges ClipDenoiser::some_at_a_time(const FrameRanges& frames) const {
    if (latents_.is_cuda()) return frames;
    constexpr std::int64_t elements = 1 << 19;
    const auto most = std::max<std::int64_t>(1, elements / plan_.frame_elements());
    FrameRanges ranges;
    for (const auto& range : frames)
        for (auto begin = range.begin; begin < range.end; begin += most) ranges.push_back({begin, std::min(range.end, begin + most)});
    return ranges;
}

void ClipDenoiser::advance(const plan::Advance& advance) {
    pulse_.working(cat("blending step ", advance.step + 1));
    const OwnedBy owner(Owner::latents);
    for (const auto& frames : some_at_a_time(advance.frames))
        once_more(
            cat("blending step ", advance.step + 1), [this] { family_.relieve(); }, [&] {  // nothing is written before all is known
                auto prediction = blend(advance.step, plan::Branch::conditional, frames);
                if (plan_.guided) {
                    const auto unconditional = blend(advance.step, plan::Branch::unconditional, frames);
                    prediction = unconditional + guidance_.narrow(0, frames.begin, frames.size()) * (prediction - unconditional);
                }
                const auto rows = runs_of(kept_, frames);
                ensure(rows.size() == 1 && rows.front().count == frames.size(), "a rank keeps the frames that it owns");
                auto target = latents_.narrow(0, rows.front().row, frames.size());
                const auto next = family_.step(target, prediction, advance.step);
                if (!std::isfinite(next.sum().item<double>())) throw not_finite(advance);
                target.copy_(next);
                note_steps(rows.front().row, frames.size(), advance.step + 1);
            });
    forget_advanced(advance);
}

Error ClipDenoiser::not_finite(const plan::Advance& advance) const {
    const bool fp16 = family_.prediction_type() == c10::kHalf;
    return Error(ExitCode::failure,
                 cat("step ", advance.step + 1, ": latents with numbers that are not finite",
                     fp16 ? ", as when a network passes the 65504 of fp16; try model.dtype = \"bf16\"" : ". Are the weights whole? weft inspect MODEL tells",
                     ". The steps before it are saved"));
}

void ClipDenoiser::note_steps(std::int64_t row, std::int64_t count, std::int64_t steps) {
    if (!row_steps_.empty()) std::fill_n(row_steps_.begin() + row, count, steps);
}

void ClipDenoiser::forget_advanced(const plan::Advance& advance) {
    for (auto entry = predictions_.begin(); entry != predictions_.end();) {
        auto& prediction = entry->second;
        if (entry->first.step == advance.step)
            for (const auto& range : advance.frames)
                for (const auto& run : runs_of(prediction.frames, range)) prediction.awaited -= run.count;
        entry = prediction.awaited == 0 && !ahead_.contains(entry->first) ? predictions_.erase(entry) : std::next(entry);
    }
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
    if (message.cargo != plan::Cargo::prediction) return sent(message, gather(message.frames));
    const auto found = predictions_.find(message.pass);
    ensure(found != predictions_.end(), "a prediction is sent when its pass has run");
    std::vector<at::Tensor> parts;
    for (const auto& range : message.frames)
        for (const auto& run : runs_of(found->second.frames, range)) parts.push_back(found->second.rows.narrow(0, run.row, run.count));
    return sent(message, at::cat(parts));
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
        return on_device(at::empty(sizes, latents_.options().dtype(type)));
    }
    auto buffer = room_for(sizes, type, latents_.device());
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
    auto rows = tensor_in(buffer, latents_.device());
    if (message.cargo == plan::Cargo::prediction) {
        add_prediction(message.pass, {message.frames, std::move(rows), owned_among(message.frames)});
        return;
    }
    std::int64_t row = 0;
    for (const auto& range : message.frames)
        for (const auto& run : runs_of(kept_, range)) {
            latents_.narrow(0, run.row, run.count).copy_(rows.narrow(0, row, run.count));
            note_steps(run.row, run.count, message.pass.step + 1);
            row += run.count;
        }
    ensure(row == rows.size(0), "a rank keeps the latents that it is sent");
}

comm::Buffer ClipDenoiser::latents(const FrameRanges& frames) const {
    const OwnedBy owner(Owner::latents);
    return to_host(gather(frames));
}

}  // namespace weft::pipeline

#include "pipeline/clip_denoiser.hpp"

#include "base/error.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "pipeline/staging.hpp"

#include <algorithm>
#include <cstring>

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

/// Linear over the clip; a private anchor is guided as the frame that it stands for.
at::Tensor guidance_of(const plan::Plan& plan, std::array<double, 2> ends) {
    const auto clip = at::linspace(ends[0], ends[1], plan.num_frames, at::TensorOptions{}.dtype(c10::kFloat));
    const auto anchors = clip.narrow(0, 0, 1).expand({plan.num_latents - plan.num_frames});
    return at::cat({clip, anchors}).view({-1, 1, 1, 1});
}

}  // namespace

ClipDenoiser::ClipDenoiser(model::Family& family, const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance, comm::Pulse& pulse)
    : family_{family},
      plan_{plan},
      rank_{rank},
      pulse_{pulse},
      kept_{plan.kept(rank)},
      latents_{std::move(latents)},
      guidance_{guidance_of(plan, guidance).to(latents_.device())},
      slot_weights_{plan::slot_weights(static_cast<std::int64_t>(plan.slices.front().frames.size()))} {
    ensure(latents_.size(0) == plan::count(kept_), "a rank's latents are those that its passes read");
    for (auto& seconds : unit_seconds_) seconds.resize(static_cast<std::size_t>(plan.num_units));
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

void ClipDenoiser::compute(const plan::Task& task) {
    const auto& pass = task.pass;
    const auto& slice = plan_.slices.at(static_cast<std::size_t>(pass.slice));
    const auto what = cat("the pass of ", plan::describe(pass));
    std::erase_if(predictions_, [](const auto& entry) { return entry.second.awaited == 0; });  // of passes before, sent since
    auto& seconds = unit_seconds_[static_cast<std::size_t>(pass.branch)];
    pulse_.working(what, begin_seconds_);
    model::PassState state;
    if (task.units.begin == 0) {
        const Stopwatch watch;
        std::vector<at::Tensor> slots;
        for (const auto& run : runs_of_slots(slice, {0, plan_.num_latents})) append_rows(slots, {run.frame, run.frame + run.count});
        std::vector<std::int64_t> shown;
        shown.reserve(slice.frames.size());
        for (const auto frame : slice.frames) shown.push_back(plan_.shown(frame));
        state = family_.begin(pass, at::cat(slots), shown);
        begin_seconds_ = watch.seconds();
    } else {
        auto found = in_flight_.extract(pass);
        ensure(!found.empty(), "a task goes on with a pass that is not in flight");
        state = std::move(found.mapped());
    }
    const auto& units = family_.units();
    {
        const OwnedBy owner(Owner::activations);
        for (auto unit = task.units.begin; unit < task.units.end; ++unit) {
            auto& expected = seconds.at(static_cast<std::size_t>(unit));
            const auto& one = *units.at(static_cast<std::size_t>(unit));
            pulse_.working(cat(what, ", unit ", one.name()), expected);
            const Stopwatch watch;
            one.run(state);
            expected = watch.seconds();
            stop::here_if_requested();
        }
    }
    if (task.units.end == static_cast<std::int64_t>(units.size())) {
        std::vector<std::int64_t> frames = slice.frames;
        auto rows = family_.finish(state);
        state = {};
        if (!std::ranges::is_sorted(frames)) {  // a private anchor: its slot comes first, its number last
            std::ranges::rotate(frames, frames.begin() + 1);
            rows = at::cat({rows.narrow(0, 1, rows.size(0) - 1), rows.narrow(0, 0, 1)});
        }
        add_prediction(pass, plan::ranges_of(std::move(frames)), std::move(rows));
    } else {
        in_flight_.emplace(pass, std::move(state));
    }
    if (latents_.is_cuda()) {  // once a pass, so that the stall watch and the events know when it has really ended; the queue is short again soon
        pulse_.working(cat(what, ", on the GPU"), gpu_seconds_);
        const Stopwatch watch;
        cuda::synchronize();
        gpu_seconds_ = watch.seconds();
    }
}

void ClipDenoiser::add_prediction(const plan::Pass& pass, FrameRanges frames, at::Tensor rows) {
    const auto awaited = owned_among(frames);
    const auto [place, is_new] = predictions_.insert({pass, {std::move(frames), std::move(rows), awaited}});
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
            const auto first = slot_weights_.begin() + slots.row;
            const auto weights = column({first, first + slots.count}).to(latents_.device());
            sum.narrow(0, slots.frame - frames.begin, slots.count).add_(found->second.rows.narrow(0, rows.front().row, slots.count).to(c10::kFloat) * weights);
            for (std::int64_t i = 0; i < slots.count; ++i)
                weight_sum[static_cast<std::size_t>(slots.frame - frames.begin + i)] += slot_weights_[static_cast<std::size_t>(slots.row + i)];
        }
    }
    return sum.div_(column(weight_sum).to(latents_.device()));
}

void ClipDenoiser::advance(const plan::Advance& advance) {
    pulse_.working(cat("blending step ", advance.step + 1));
    const OwnedBy owner(Owner::latents);
    for (const auto& frames : advance.frames) {
        auto prediction = blend(advance.step, plan::Branch::conditional, frames);
        if (plan_.guided) {
            const auto unconditional = blend(advance.step, plan::Branch::unconditional, frames);
            prediction = unconditional + guidance_.narrow(0, frames.begin, frames.size()) * (prediction - unconditional);
        }
        const auto rows = runs_of(kept_, frames);
        ensure(rows.size() == 1 && rows.front().count == frames.size(), "a rank keeps the frames that it owns");
        auto target = latents_.narrow(0, rows.front().row, frames.size());
        target.copy_(family_.step(target, prediction, advance.step));
    }
    forget_advanced(advance);
}

void ClipDenoiser::forget_advanced(const plan::Advance& advance) {
    for (auto entry = predictions_.begin(); entry != predictions_.end();) {
        auto& prediction = entry->second;
        if (entry->first.step == advance.step)
            for (const auto& range : advance.frames)
                for (const auto& run : runs_of(prediction.frames, range)) prediction.awaited -= run.count;
        entry = prediction.awaited == 0 ? predictions_.erase(entry) : std::next(entry);
    }
}

comm::Buffer ClipDenoiser::pack(const plan::Message& message) {
    const OwnedBy owner(Owner::latents);
    if (message.cargo != plan::Cargo::prediction) return to_host(gather(message.frames));
    const auto found = predictions_.find(message.pass);
    ensure(found != predictions_.end(), "a prediction is sent when its pass has run");
    std::vector<at::Tensor> parts;
    for (const auto& range : message.frames)
        for (const auto& run : runs_of(found->second.frames, range)) parts.push_back(found->second.rows.narrow(0, run.row, run.count));
    return to_host(at::cat(parts));
}

comm::Buffer ClipDenoiser::room(const plan::Message& message) {
    if (message.cargo == plan::Cargo::saved) return comm::make_buffer(static_cast<std::size_t>(plan::bytes_of(plan_, message)));  // never goes to the device
    const auto type = message.cargo == plan::Cargo::prediction ? family_.prediction_type() : c10::kFloat;
    auto buffer = room_for({plan::count(message.frames), plan_.latent_channels, plan_.latent_height, plan_.latent_width}, type, latents_.device());
    ensure(static_cast<std::int64_t>(buffer.bytes.size()) == plan::bytes_of(plan_, message), "a message is as long as the plan says");
    return buffer;
}

void ClipDenoiser::take(const plan::Message& message, const comm::Buffer& buffer) {
    const OwnedBy owner(Owner::latents);
    auto rows = from_host(buffer, latents_.device());
    if (message.cargo == plan::Cargo::prediction) {
        add_prediction(message.pass, message.frames, std::move(rows));
        return;
    }
    std::int64_t row = 0;
    for (const auto& range : message.frames)
        for (const auto& run : runs_of(kept_, range)) {
            latents_.narrow(0, run.row, run.count).copy_(rows.narrow(0, row, run.count));
            row += run.count;
        }
    ensure(row == rows.size(0), "a rank keeps the latents that it is sent");
}

comm::Buffer ClipDenoiser::latents(const FrameRanges& frames) const {
    const OwnedBy owner(Owner::latents);
    return to_host(gather(frames));
}

}  // namespace weft::pipeline

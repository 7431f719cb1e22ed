#include "pipeline/kept_frames.hpp"

#include "base/error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

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

KeptFrames::KeptFrames(const plan::Plan& plan, int rank, at::Tensor latents, std::array<double, 2> guidance)
    : plan_{plan}, rank_{rank}, kept_{plan.kept(rank)}, latents_{std::move(latents)}, guidance_{guidance_of(plan, guidance).to(latents_.device())} {
    ensure(latents_.size(0) == plan::count(kept_), "a rank's latents are those that it keeps");
}

at::Tensor KeptFrames::latents(FrameRange frames) const {
    const auto rows = runs_of(kept_, frames);
    ensure(rows.size() == 1 && rows.front().count == frames.size(), "a rank keeps the frames that it owns");
    return latents_.narrow(0, rows.front().row, frames.size());
}

at::Tensor KeptFrames::gather(const FrameRanges& frames) const {
    std::vector<at::Tensor> parts;
    for (const auto& range : frames)
        for (const auto& run : runs_of(kept_, range)) parts.push_back(latents_.narrow(0, run.row, run.count));
    return at::cat(parts);
}

at::Tensor KeptFrames::gather(const plan::Slice& slice) const {
    FrameRanges frames;
    for (const auto& run : runs_of_slots(slice, {0, plan_.num_latents})) frames.push_back({run.frame, run.frame + run.count});
    return gather(frames);
}

void KeptFrames::put(const FrameRanges& frames, const at::Tensor& rows, std::int64_t steps) {
    std::int64_t row = 0;
    for (const auto& range : frames)
        for (const auto& run : runs_of(kept_, range)) {
            latents_.narrow(0, run.row, run.count).copy_(rows.narrow(0, row, run.count));
            if (!row_steps_.empty()) std::fill_n(row_steps_.begin() + run.row, run.count, steps);
            row += run.count;
        }
    ensure(row == rows.size(0), "a rank keeps the latents that it is given");
}

void KeptFrames::begin_with(std::int64_t steps) {
    if (row_steps_.empty()) row_steps_.assign(static_cast<std::size_t>(plan::count(kept_)), steps);
}

std::int64_t KeptFrames::least_step() const {
    return std::ranges::min(row_steps_);
}

bool KeptFrames::are_behind(const std::vector<std::int64_t>& frames, std::int64_t steps) const {
    return std::ranges::all_of(frames, [&](std::int64_t frame) {
        const auto rows = runs_of(kept_, FrameRange{frame, frame + 1});
        return !rows.empty() && row_steps_[static_cast<std::size_t>(rows.front().row)] == steps;
    });
}

KeptFrames::Prediction KeptFrames::prediction_of(const plan::Pass& pass, at::Tensor rows) const {
    auto frames = plan_.slices.at(static_cast<std::size_t>(pass.slice)).frames;
    rows = rows.to(latents_.device());
    if (!std::ranges::is_sorted(frames)) {  // a private anchor, whose slot comes first and its number last; a slice around the end of a ring
        std::vector<std::int64_t> order(frames.size());
        std::iota(order.begin(), order.end(), 0);
        std::ranges::sort(order, [&frames](auto a, auto b) { return frames[static_cast<std::size_t>(a)] < frames[static_cast<std::size_t>(b)]; });
        rows = rows.index_select(0, at::tensor(order, at::TensorOptions{}.dtype(c10::kLong)).to(rows.device()));
    }
    return prediction_of(plan::ranges_of(std::move(frames)), std::move(rows));
}

KeptFrames::Prediction KeptFrames::prediction_of(FrameRanges frames, at::Tensor rows) const {
    const auto awaited = owned_among(frames);
    return {std::move(frames), std::move(rows), awaited};
}

void KeptFrames::add(const plan::Pass& pass, Prediction prediction) {
    const auto [place, is_new] = predictions_.emplace(pass, std::move(prediction));
    ensure(is_new, "a pass gives each rank its prediction once");
}

at::Tensor KeptFrames::prediction(const plan::Pass& pass, const FrameRanges& frames) const {
    const auto found = predictions_.find(pass);
    ensure(found != predictions_.end(), "a prediction is sent when its pass has run");
    std::vector<at::Tensor> parts;
    for (const auto& range : frames)
        for (const auto& run : runs_of(found->second.frames, range)) parts.push_back(found->second.rows.narrow(0, run.row, run.count));
    return at::cat(parts);
}

at::Tensor KeptFrames::blend(std::int64_t step, plan::Branch branch, FrameRange frames) const {
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

at::Tensor KeptFrames::guided_prediction(std::int64_t step, FrameRange frames) const {
    const auto prediction = blend(step, plan::Branch::conditional, frames);
    if (!plan_.guided) return prediction;
    const auto unconditional = blend(step, plan::Branch::unconditional, frames);
    return unconditional + guidance_.narrow(0, frames.begin, frames.size()) * (prediction - unconditional);
}

FrameRanges KeptFrames::some_at_a_time(const FrameRanges& frames) const {
    if (latents_.is_cuda()) return frames;
    constexpr std::int64_t elements = 1 << 19;
    const auto most = std::max<std::int64_t>(1, elements / plan_.frame_elements());
    FrameRanges ranges;
    for (const auto& range : frames)
        for (auto begin = range.begin; begin < range.end; begin += most) ranges.push_back({begin, std::min(range.end, begin + most)});
    return ranges;
}

void KeptFrames::forget_used(const std::set<plan::Pass>& but) {
    std::erase_if(predictions_, [&but](const auto& entry) { return entry.second.awaited == 0 && !but.contains(entry.first); });
}

void KeptFrames::forget_advanced(const plan::Advance& advance, const std::set<plan::Pass>& but) {
    for (auto& [pass, prediction] : predictions_)
        if (pass.step == advance.step)
            for (const auto& range : advance.frames)
                for (const auto& run : runs_of(prediction.frames, range)) prediction.awaited -= run.count;
    forget_used(but);
}

std::int64_t KeptFrames::owned_among(const FrameRanges& frames) const {
    std::int64_t owned = 0;
    for (const auto& range : frames)
        for (auto frame = range.begin; frame < range.end; ++frame) owned += plan_.owner.at(static_cast<std::size_t>(frame)) == rank_ ? 1 : 0;
    return owned;
}

}  // namespace weft::pipeline

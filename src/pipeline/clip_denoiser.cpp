#include "pipeline/clip_denoiser.hpp"

#include "base/error.hpp"
#include "device/meter.hpp"

#include <cstring>

namespace weft::pipeline {

ClipDenoiser::ClipDenoiser(model::Family& family, const plan::Plan& plan, at::Tensor latents, std::array<double, 2> guidance)
    : family_{family},
      plan_{plan},
      latents_{std::move(latents)},
      guidance_{at::linspace(guidance[0], guidance[1], plan.num_frames, at::TensorOptions{}.dtype(c10::kFloat)).view({-1, 1, 1, 1}).to(latents_.device())},
      slot_weights_{plan::slot_weights(static_cast<std::int64_t>(plan.slices.front().frames.size()))} {}

namespace {
/// Runs of slots whose frames follow each other: of slot 0 (the anchor) and the rest, usually two.
struct Run {
    std::int64_t slot, frame, count;
};
std::vector<Run> runs_of(const plan::Slice& slice, plan::FrameRange frames) {
    std::vector<Run> runs;
    for (std::size_t slot = 0; slot < slice.frames.size(); ++slot) {
        const auto frame = slice.frames[slot];
        if (frame < frames.begin || frame >= frames.end) continue;
        const auto position = static_cast<std::int64_t>(slot);
        if (!runs.empty() && runs.back().slot + runs.back().count == position && runs.back().frame + runs.back().count == frame)
            ++runs.back().count;
        else
            runs.push_back({position, frame, 1});
    }
    return runs;
}
}  // namespace

void ClipDenoiser::compute(const plan::Task& task) {
    const auto& pass = task.pass;
    const auto& frames = plan_.slices.at(static_cast<std::size_t>(pass.slice)).frames;
    const auto key = std::pair{pass.slice, pass.branch};
    model::PassState state;
    if (task.units.begin == 0) {
        std::vector<at::Tensor> parts;
        for (const auto& run : runs_of({frames}, {0, plan_.num_frames})) parts.push_back(latents_.narrow(0, run.frame, run.count));
        state = family_.begin(pass, at::cat(parts), frames);
    } else {
        const auto found = in_flight_.find(key);
        ensure(found != in_flight_.end(), "a task goes on with a pass that is not in flight");
        state = std::move(found->second);
        in_flight_.erase(found);
    }
    const auto& units = family_.units();
    {
        const OwnedBy owner(Owner::activations);
        for (auto unit = task.units.begin; unit < task.units.end; ++unit) units.at(static_cast<std::size_t>(unit))->run(state);
    }
    if (task.units.end == static_cast<std::int64_t>(units.size()))
        predictions_[pass.slice].branch[static_cast<std::size_t>(pass.branch)] = family_.finish(state);
    else
        in_flight_.emplace(key, std::move(state));
}

at::Tensor ClipDenoiser::blend(plan::Branch branch, plan::FrameRange frames) const {
    auto shape = latents_.sizes().vec();
    shape.front() = frames.size();
    auto sum = at::zeros(shape, latents_.options());
    std::vector<float> weight_sum(static_cast<std::size_t>(frames.size()), 0.0F);
    for (std::size_t slice = 0; slice < plan_.slices.size(); ++slice) {
        const auto runs = runs_of(plan_.slices[slice], frames);
        if (runs.empty()) continue;
        const auto& prediction = predictions_.at(static_cast<std::int64_t>(slice)).branch[static_cast<std::size_t>(branch)];
        ensure(prediction.defined(), "frames are advanced before a prediction of theirs is there");
        for (const auto& run : runs) {
            const auto weights = at::empty({run.count, 1, 1, 1}, at::TensorOptions{}.dtype(c10::kFloat));
            std::memcpy(weights.mutable_data_ptr(), slot_weights_.data() + run.slot, static_cast<std::size_t>(run.count) * sizeof(float));
            sum.narrow(0, run.frame - frames.begin, run.count).add_(prediction.narrow(0, run.slot, run.count) * weights.to(latents_.device()));
            for (std::int64_t i = 0; i < run.count; ++i)
                weight_sum[static_cast<std::size_t>(run.frame - frames.begin + i)] += slot_weights_[static_cast<std::size_t>(run.slot + i)];
        }
    }
    const auto divisor = at::empty({frames.size(), 1, 1, 1}, at::TensorOptions{}.dtype(c10::kFloat));
    std::memcpy(divisor.mutable_data_ptr(), weight_sum.data(), weight_sum.size() * sizeof(float));
    return sum.div_(divisor.to(latents_.device()));
}

void ClipDenoiser::advance(const plan::Advance& advance) {
    const OwnedBy owner(Owner::latents);
    const auto frames = advance.frames;
    auto prediction = blend(plan::Branch::conditional, frames);
    if (plan_.guided) {
        const auto unconditional = blend(plan::Branch::unconditional, frames);
        prediction = unconditional + guidance_.narrow(0, frames.begin, frames.size()) * (prediction - unconditional);
    }
    auto target = latents_.narrow(0, frames.begin, frames.size());
    target.copy_(family_.step(target, prediction, advance.step));
    if (frames.size() == plan_.num_frames) predictions_.clear();
}

std::vector<float> ClipDenoiser::latents() const {
    const auto host = latents_.to(c10::kCPU).contiguous();
    const auto* const first = host.const_data_ptr<float>();
    return {first, first + host.numel()};
}

}  // namespace weft::pipeline

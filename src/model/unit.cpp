#include "model/unit.hpp"

#include "base/error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace weft::model {

at::Tensor& tensor_of(PassState& state, StateTensor which) {
    switch (which) {
        case StateTensor::hidden: return state.hidden;
        case StateTensor::partial: return state.partial;
        case StateTensor::residual: return state.residual;
    }
    ensure(false, "a tensor that no state has");
    return state.hidden;
}

PassState side_by_side(std::vector<PassState> passes) {
    ensure(!passes.empty(), "passes that run side by side are there");
    if (passes.size() == 1) return std::move(passes.front());
    PassState state = passes.front();
    const auto frames = state.num_frames();
    std::vector<at::Tensor> hidden;
    std::vector<std::function<at::Tensor(plan::FrameRange)>> poses;
    state.branches.clear();
    for (auto& pass : passes) {
        state.branches.push_back(pass.branches.front());
        hidden.push_back(std::exchange(pass.hidden, {}));
        poses.push_back(std::move(pass.pose));
    }
    state.hidden = at::cat(hidden);
    state.pose = {};
    if (std::ranges::none_of(poses, [](const auto& pose) { return static_cast<bool>(pose); })) return state;
    state.pose = [poses, frames](plan::FrameRange slots) {
        at::Tensor any;
        std::vector<std::pair<std::int64_t, at::Tensor>> pieces;  // count and features; undefined where a pass sees no poses
        for (auto slot = slots.begin; slot < slots.end;) {
            const auto pass = slot / frames;
            const auto end = std::min(slots.end, (pass + 1) * frames);
            const auto& pose = poses[static_cast<std::size_t>(pass)];
            pieces.emplace_back(end - slot, pose ? pose({slot - pass * frames, end - pass * frames}) : at::Tensor{});
            if (pieces.back().second.defined()) any = pieces.back().second;
            slot = end;
        }
        if (!any.defined()) return any;
        std::vector<at::Tensor> parts;
        for (const auto& [count, features] : pieces)
            parts.push_back(features.defined() ? features : at::zeros({count, any.size(1), any.size(2), any.size(3)}, any.options()));
        return parts.size() == 1 ? parts.front() : at::cat(parts);
    };
    return state;
}

void run_all(const Units& units, PassState& state) {
    for (const auto& unit : units) unit->run(state, all_slots(state));
}

}  // namespace weft::model

#include "pipeline/workbench.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/open_model.hpp"

#include <numeric>

namespace weft::pipeline {

Workbench open_workbench(Settings settings, Mistakes& mistakes, const std::string& command) {
    check_settings(settings, mistakes);
    settings.layout = {.kind = LayoutKind::whole};
    const auto head = cat(command, " cannot go on:");
    mistakes.throw_if_any(head);
    Workbench bench;
    bench.device = open_device(settings.device);
    bench.model = model::open_model(settings, mistakes);
    mistakes.throw_if_any(head);
    bench.plan = plan_one_slice(*bench.model, settings, bench.device.kind());
    bench.family = bench.model->for_clip(settings, bench.plan, bench.device, [height = settings.video.height, width = settings.video.width](const auto& some) {
        return made_up(static_cast<std::int64_t>(some.size()), height, width);
    });
    return bench;
}

plan::Plan plan_one_slice(const model::Model& model, const Settings& settings, c10::DeviceType kind, const plan::MemoryChoice& choice) {
    const auto frames = settings.slices.length;
    auto shape = model.shape(settings, frames, frames, kind, choice);
    shape.memory = choice;
    return plan::make_plan(settings, plan::Slices{plan::Slice{clip_frames(frames)}}, frames, frames, shape, /*num_ranks=*/1, {});
}

at::Tensor made_up(std::int64_t frames, std::int64_t height, std::int64_t width) {
    const auto row = at::arange(width, at::TensorOptions{}.dtype(c10::kFloat)).remainder(256).to(c10::kByte);
    return row.view({1, 1, width, 1}).expand({frames, height, width, 3}).contiguous();
}

std::vector<std::int64_t> clip_frames(std::int64_t count) {
    std::vector<std::int64_t> frames(static_cast<std::size_t>(count));
    std::iota(frames.begin(), frames.end(), 0);
    return frames;
}

}  // namespace weft::pipeline

#include "model/model.hpp"

#include "model/rehearse.hpp"

#include <algorithm>

namespace weft::model {

PassLayout Model::pass_layout(const Settings& settings, std::int64_t num_slots, const ComputeDevice& device) const {
    const auto kind = device.kind();
    const auto dtype = resolve_dtype(settings.model.dtype, device, "model.dtype");
    return pass_layout(settings, num_slots, chunks_for(kind), dtype, assumed_flops_per_second(kind, dtype));
}

plan::ModelShape Model::shape(const Settings& settings, std::int64_t num_frames, std::int64_t num_slots, c10::DeviceType kind, const plan::MemoryChoice& choice,
                              double flops_per_second) const {
    const auto device = rehearsal_device(kind);
    const auto dtype = resolve_dtype(settings.model.dtype, device, "model.dtype");
    const auto rate = flops_per_second > 0 ? flops_per_second : assumed_flops_per_second(kind, dtype);
    plan::ModelShape shape{.latent_channels = latent_channels(),
                           .prediction_bytes = static_cast<std::int64_t>(c10::elementSize(dtype)),
                           .pass = pass_layout(settings, num_slots, divided(chunks_for(kind), choice.chunk_divisor), dtype, rate).shape,
                           .on_gpu = kind == c10::kCUDA};
    plan::Plan clip;  // of one slice
    clip.num_frames = clip.num_latents = num_slots;
    clip.memory = choice;
    clip.slices.resize(1);
    for (std::int64_t frame = 0; frame < num_slots; ++frame) clip.slices.front().frames.push_back(frame);
    rehearse([&](const ComputeDevice& on, PoseMaps maps) { return for_clip(settings, clip, on, std::move(maps)); }, kind,
             {.num_slots = num_slots,
              .latent_channels = shape.latent_channels,
              .height = settings.video.height / 8,
              .width = settings.video.width / 8,
              .decode_chunk = std::min(settings.decode.chunk, num_frames),
              .last_chunk = num_frames % std::min(settings.decode.chunk, num_frames),
              .side_by_side = settings.memory.numerics == NumericsRule::free,
              .choice = choice},
             shape);
    return shape;
}

double assumed_flops_per_second(c10::DeviceType kind, c10::ScalarType dtype) {
    if (kind != c10::kCUDA) return 50e9;
    return dtype == c10::kFloat ? 50e12 : 400e12;
}

}  // namespace weft::model

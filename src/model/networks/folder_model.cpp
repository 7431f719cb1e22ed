#include "model/networks/folder_model.hpp"

namespace weft::model {

ClipForm form_of(const Settings& settings, const plan::Plan& plan, const ComputeDevice& device) {
    const auto dtype = resolve_dtype(settings.model.dtype, device, "model.dtype");
    return {.height = settings.video.height,
            .width = settings.video.width,
            .slice_length = static_cast<std::int64_t>(plan.slices.front().frames.size()),
            .steps = settings.sampling.steps,
            .seed = settings.sampling.seed,
            .dtype = dtype,
            .decode_dtype = resolve_dtype(settings.decode.dtype, device, "decode.dtype"),
            .chunks = divided(chunks_for(device.kind()), plan.memory.chunk_divisor),
            .flops_per_second = assumed_flops_per_second(device.kind(), dtype)};
}

}  // namespace weft::model

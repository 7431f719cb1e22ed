#include "pipeline/preview.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "model/model.hpp"
#include "pipeline/inputs.hpp"
#include "plan/plan.hpp"

namespace weft::pipeline {

namespace {
/// The network's type on this machine, without opening a device.
Dtype network_dtype(const Settings& settings) {
    if (settings.model.dtype != Dtype::automatic) return settings.model.dtype;
    const bool has_gpu = settings.device.kind == DeviceKind::cuda || (settings.device.kind == DeviceKind::automatic && cuda::device_count() > 0);
    return has_gpu ? Dtype::fp16 : Dtype::fp32;
}
}  // namespace

std::string preview(const Settings& settings, int num_ranks) {
    Mistakes mistakes;
    auto sizes = model::sizes_of(settings, mistakes);
    mistakes.throw_if_any("weft plan cannot go on:");
    const auto poses = count_poses(settings);
    const auto dtype = network_dtype(settings);
    sizes.shape.prediction_bytes = dtype == Dtype::fp32 ? 4 : 2;
    const auto plan = plan::make_plan(settings, poses, sizes.shape, num_ranks);
    std::string text = plan::describe(plan);
    text += cat("types     network ", name_of(dtype), settings.model.dtype == Dtype::automatic ? " (what \"auto\" means here)" : "", ", latents fp32\n");
    const auto weights = [&](const char* phase, std::int64_t elements) {
        return cat(" ", phase, " ", human_bytes(2 * elements), " (fp16) or ", human_bytes(4 * elements), " (fp32)");
    };
    text += cat("weights  ", weights("encode", sizes.encode_elements), ",", weights("denoise", sizes.denoise_elements), ",",
                weights("decode", sizes.decode_elements), "\n");
    return text;
}

}  // namespace weft::pipeline

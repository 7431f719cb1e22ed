#include "pipeline/preview.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "model/open_model.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/unit_times.hpp"
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

std::string preview(const PreviewRequest& request) {
    const auto& settings = request.settings;
    Mistakes mistakes;
    const auto model = model::open_model(settings, mistakes, model::Need::configs);
    mistakes.throw_if_any("weft plan cannot go on:");
    const auto sizes = model->sizes();
    const auto poses = count_poses(settings);
    const auto dtype = network_dtype(settings);
    const bool on_gpu = dtype == Dtype::fp16 || settings.device.kind == DeviceKind::cuda;
    const auto type = dtype == Dtype::fp32 ? c10::kFloat : dtype == Dtype::fp16 ? c10::kHalf : c10::kBFloat16;
    const auto kind = on_gpu ? c10::kCUDA : c10::kCPU;
    auto shape = model->pass_layout(settings, plan::slots_of(settings, poses), kind, type, model::assumed_flops_per_second(kind, type)).shape;
    std::string costs = "modelled: FLOPs at the rates that src/model/model.hpp assumes; measure them with weft bench units and give the file by --costs";
    if (!request.costs.empty()) {
        const auto text = read_unit_times(request.costs);
        if (text.empty()) refuse(cat("--costs ", request.costs.string(), ": there is no such file, or it is empty"));
        shape = with_unit_times(std::move(shape), parse_unit_times(text));
        costs = cat("measured: ", request.costs.string());
    }
    const plan::ModelShape model_shape{.latent_channels = sizes.latent_channels, .prediction_bytes = dtype == Dtype::fp32 ? 4 : 2, .pass = std::move(shape)};
    const plan::Links usual{.local_bytes_s = on_gpu ? plan::nccl_bytes_s : plan::Links{}.local_bytes_s};
    const auto plan = plan::make_plan(settings, poses, model_shape, request.num_ranks, request.links.value_or(usual));
    std::string text = plan::describe(plan);
    text += cat("costs     ", costs, "\n");
    text += cat("types     network ", name_of(dtype), settings.model.dtype == Dtype::automatic ? " (what \"auto\" means here)" : "", ", latents fp32\n");
    const auto weights = [&](const char* phase, std::int64_t elements) {
        return cat(" ", phase, " ", human_bytes(2 * elements), " (fp16) or ", human_bytes(4 * elements), " (fp32)");
    };
    text += cat("weights  ", weights("encode", sizes.encode_elements), ",", weights("denoise", sizes.denoise_elements), ",",
                weights("decode", sizes.decode_elements), "\n");
    return text;
}

}  // namespace weft::pipeline

#include "model/model.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/musepose/shape.hpp"

#include <algorithm>
#include <optional>

namespace weft::model {

namespace {

ModelSizes sizes_of_config(const mimicmotion::Config& config) {
    const auto elements = [&](mimicmotion::Part part) {
        std::int64_t sum = 0;
        for (const auto& key : mimicmotion::keys_of(part, config))
            if (key.needed) sum += key.elements();
        return sum;
    };
    const auto vae = elements(mimicmotion::Part::vae);
    return {.latent_channels = config.vae.latent_channels,
            .encode_elements = std::max(elements(mimicmotion::Part::image_encoder), vae),
            .denoise_elements = elements(mimicmotion::Part::unet) + elements(mimicmotion::Part::pose_net),
            .decode_elements = vae};
}

PassLayout layout_of_config(const mimicmotion::Config& config, const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype,
                            double flops_per_second) {
    const PassSize size{.frames = num_slots,
                        .height = settings.video.height / 8,
                        .width = settings.video.width / 8,
                        .element_bytes = static_cast<std::int64_t>(c10::elementSize(dtype))};
    return mimicmotion::lay_out_pass(config, size, chunks_for(kind), flops_per_second);
}

/// The config of the model that the settings name; nothing where it has mistakes.
std::optional<mimicmotion::Config> read_mimicmotion(const Settings& settings, Mistakes& mistakes) {
    if (settings.model.path == "random") return mimicmotion::Config{};
    const auto before = mistakes.texts().size();
    auto config = mimicmotion::read_config(mimicmotion::find_files(settings.input_path(settings.model.path), /*weights=*/false, mistakes), mistakes);
    if (mistakes.texts().size() != before) return std::nullopt;
    return config;
}

class MimicMotionModel final : public Model {
  public:
    explicit MimicMotionModel(mimicmotion::ModelFolder folder) : folder_{std::move(folder)} {}

    ModelSizes sizes() const override { return sizes_of_config(folder_.config()); }

    std::map<std::string, std::string> digests() const override { return folder_.digests(); }

    PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, const ComputeDevice& device) const override {
        const auto kind = device.torch.type();
        const auto dtype = resolve_dtype(settings.model.dtype, device, "model.dtype");
        return layout_of_config(folder_.config(), settings, num_slots, kind, dtype, assumed_flops_per_second(kind, dtype));
    }

    std::unique_ptr<Family> for_clip(const Settings& s, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) const override {
        mimicmotion::ClipSettings clip;
        clip.height = s.video.height;
        clip.width = s.video.width;
        clip.num_frames = plan.num_frames;
        clip.slice_length = static_cast<std::int64_t>(plan.slices.front().frames.size());
        clip.steps = s.sampling.steps;
        clip.seed = s.sampling.seed;
        clip.noise_aug = s.sampling.noise_aug;
        clip.fps = s.sampling.fps;
        clip.motion_bucket = s.sampling.motion_bucket;
        clip.dtype = resolve_dtype(s.model.dtype, device, "model.dtype");
        clip.decode_dtype = resolve_dtype(s.decode.dtype, device, "decode.dtype");
        clip.chunks = chunks_for(device);
        clip.flops_per_second = assumed_flops_per_second(device.torch.type(), clip.dtype);
        return mimicmotion::make_mimicmotion(folder_, clip, device, std::move(maps));
    }

  private:
    mimicmotion::ModelFolder folder_;
};

}  // namespace

std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes) {
    ensure(settings.model.family == FamilyName::mimicmotion, "a family that check_settings lets through must be known here");
    if (settings.model.path == "random") return std::make_unique<MimicMotionModel>(mimicmotion::ModelFolder::random({}));
    const auto before = mistakes.texts().size();
    auto folder = mimicmotion::ModelFolder::open(settings.input_path(settings.model.path), mistakes);
    if (mistakes.texts().size() != before) return nullptr;
    return std::make_unique<MimicMotionModel>(std::move(folder));
}

ModelSizes sizes_of(const Settings& settings, Mistakes& mistakes) {
    const auto config = read_mimicmotion(settings, mistakes);
    return config ? sizes_of_config(*config) : ModelSizes{};
}

double assumed_flops_per_second(c10::DeviceType kind, c10::ScalarType dtype) {
    if (kind != c10::kCUDA) return 50e9;
    return dtype == c10::kFloat ? 50e12 : 400e12;
}

plan::PassShape pass_shape_of(const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype, double flops_per_second,
                              Mistakes& mistakes) {
    const bool musepose = settings.model.family == FamilyName::musepose;
    const auto rate = flops_per_second > 0 ? flops_per_second
                      : musepose           ? assumed_flops_per_second(c10::kCUDA, c10::kHalf)
                                           : assumed_flops_per_second(kind, dtype);
    if (musepose) return musepose::musepose_shape(settings.video.width, settings.video.height, num_slots, rate);
    const auto config = read_mimicmotion(settings, mistakes);
    return config ? layout_of_config(*config, settings, num_slots, kind, dtype, rate).shape : plan::PassShape{};
}

std::int64_t other_weight_bytes(const ModelSizes& sizes, const Settings& settings, const ComputeDevice& device) {
    const auto width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.model.dtype, device, "model.dtype")));
    const auto decode_width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.decode.dtype, device, "decode.dtype")));
    return std::max(sizes.encode_elements * width, sizes.decode_elements * decode_width);
}

}  // namespace weft::model

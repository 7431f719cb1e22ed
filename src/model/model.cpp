#include "model/model.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/mimicmotion/unet.hpp"

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
    return {.shape = {.latent_channels = config.vae.latent_channels, .num_units = static_cast<std::int64_t>(mimicmotion::make_unet(config.unet).size())},
            .encode_elements = std::max(elements(mimicmotion::Part::image_encoder), vae),
            .denoise_elements = elements(mimicmotion::Part::unet) + elements(mimicmotion::Part::pose_net),
            .decode_elements = vae};
}

class MimicMotionModel final : public Model {
  public:
    explicit MimicMotionModel(mimicmotion::ModelFolder folder) : folder_{std::move(folder)} {}

    ModelSizes sizes() const override { return sizes_of_config(folder_.config()); }

    std::map<std::string, std::string> digests() const override { return folder_.digests(); }

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
    if (settings.model.path == "random") return sizes_of_config({});
    const auto before = mistakes.texts().size();
    const auto config = mimicmotion::read_config(mimicmotion::find_files(settings.input_path(settings.model.path), /*weights=*/false, mistakes), mistakes);
    return mistakes.texts().size() == before ? sizes_of_config(config) : ModelSizes{};
}

std::int64_t weight_bytes(const ModelSizes& sizes, const Settings& settings, const ComputeDevice& device) {
    const auto width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.model.dtype, device, "model.dtype")));
    const auto decode_width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.decode.dtype, device, "decode.dtype")));
    return std::max({sizes.encode_elements * width, sizes.denoise_elements * width, sizes.decode_elements * decode_width});
}

Chunks chunks_for(const ComputeDevice& device) {
    // GPUs: eight frames of 576x1024 at the outermost level. CPUs: what stays near the caches, in buffers that the heap reuses.
    if (device.is_cuda()) return {.frame_rows = 73728, .pixel_rows = 73728};
    return {.frame_rows = 2048, .pixel_rows = 2048};
}

}  // namespace weft::model

#include "model/mimicmotion/open.hpp"

#include "model/mimicmotion/mimicmotion.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

class OpenModel final : public Model {
  public:
    explicit OpenModel(ModelFolder folder) : folder_{std::move(folder)} {}

    ModelSizes sizes() const override {
        const auto vae = elements(Part::vae);
        return {.latent_channels = folder_.config().vae.latent_channels,
                .encode_elements = std::max(elements(Part::image_encoder), vae),
                .denoise_elements = elements(Part::unet) + elements(Part::pose_net),
                .decode_elements = vae};
    }

    std::map<std::string, std::string> digests() const override { return folder_.digests(); }

    PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype,
                           double flops_per_second) const override {
        const PassSize size{.frames = num_slots,
                            .height = settings.video.height / 8,
                            .width = settings.video.width / 8,
                            .element_bytes = static_cast<std::int64_t>(c10::elementSize(dtype))};
        return lay_out_pass(folder_.config(), size, chunks_for(kind), flops_per_second);
    }

    std::unique_ptr<Family> for_clip(const Settings& s, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) const override {
        ClipSettings clip;
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
        return make_mimicmotion(folder_, clip, device, std::move(maps));
    }

  private:
    [[nodiscard]] std::int64_t elements(Part part) const {
        std::int64_t sum = 0;
        for (const auto& key : keys_of(part, folder_.config()))
            if (key.needed) sum += key.elements();
        return sum;
    }

    ModelFolder folder_;
};

}  // namespace

std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need) {
    if (settings.model.path == "random") return std::make_unique<OpenModel>(ModelFolder::random({}));
    const auto before = mistakes.texts().size();
    auto folder = ModelFolder::open(settings.input_path(settings.model.path), mistakes, need == Need::weights);
    if (mistakes.texts().size() != before) return nullptr;
    return std::make_unique<OpenModel>(std::move(folder));
}

}  // namespace weft::model::mimicmotion

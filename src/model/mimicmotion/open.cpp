#include "model/mimicmotion/open.hpp"

#include "model/mimicmotion/mimicmotion.hpp"
#include "model/networks/open_model.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

class OpenModel final : public FolderModel<ModelFolder> {
  public:
    using FolderModel::FolderModel;

    ModelSizes sizes() const override {
        const auto vae = elements(Part::vae);
        return {.latent_channels = folder_.config().vae.latent_channels,
                .encode_elements = std::max(elements(Part::image_encoder), vae),
                .denoise_elements = elements(Part::unet) + elements(Part::pose_net),
                .decode_elements = vae};
    }

    std::unique_ptr<Family> for_clip(const Settings& s, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) const override {
        ClipSettings clip;
        fill(clip, s, plan, device);
        clip.num_frames = plan.num_frames;
        clip.noise_aug = s.sampling.noise_aug;
        clip.fps = s.sampling.fps;
        clip.motion_bucket = s.sampling.motion_bucket;
        return make_mimicmotion(folder_, clip, device, std::move(maps));
    }
};

}  // namespace

std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need) {
    return open_folder<OpenModel, ModelFolder>(settings, mistakes, need);
}

}  // namespace weft::model::mimicmotion

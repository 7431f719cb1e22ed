#include "model/musepose/open.hpp"

#include "model/musepose/musepose.hpp"
#include "model/networks/open_model.hpp"

#include <algorithm>

namespace weft::model::musepose {

namespace {

class OpenModel final : public FolderModel<ModelFolder> {
  public:
    using FolderModel::FolderModel;

    ModelSizes sizes() const override {
        // The reference UNet is loaded unit by unit, none as large as CLIP.
        const auto vae = elements(Part::vae);
        return {.latent_channels = folder_.config().vae.latent_channels,
                .encode_elements = std::max(elements(Part::image_encoder), vae),
                .denoise_elements = elements(Part::denoiser) + elements(Part::pose_guider),
                .decode_elements = vae};
    }

    std::unique_ptr<Family> for_clip(const Settings& s, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) const override {
        ClipSettings clip;
        fill(clip, s, plan, device);
        clip.num_latents = plan.num_latents;
        return make_musepose(folder_, clip, device, std::move(maps));
    }
};

}  // namespace

std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need) {
    return open_folder<OpenModel, ModelFolder>(settings, mistakes, need);
}

}  // namespace weft::model::musepose

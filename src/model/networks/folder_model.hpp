#pragma once
#include "model/model.hpp"
#include "model/networks/unet_family.hpp"

#include <functional>
#include <memory>
#include <utility>

namespace weft::model {

/// The half of a clip's settings that all families have.
[[nodiscard]] ClipForm form_of(const Settings& settings, const plan::Plan& plan, const ComputeDevice& device);

/// A Model over the folder of a family.
template <class Config>
class FolderModel final : public Model {
  public:
    /// Sets the family up for a clip.
    using ForClip = std::unique_ptr<Family> (*)(const FolderOf<Config>&, const Settings&, const plan::Plan&, const ComputeDevice&, PoseMaps);
    FolderModel(FolderOf<Config> folder, ForClip make) : folder_{std::move(folder)}, for_clip_{make} {}

    std::int64_t latent_channels() const override { return folder_.networks().vae.latent_channels; }

    std::map<std::string, std::string> digests() const override { return folder_.digests(); }

    PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, const Chunks& chunks, c10::ScalarType dtype,
                           double flops_per_second) const override {
        ClipForm form;
        form.height = settings.video.height;
        form.width = settings.video.width;
        form.slice_length = num_slots;
        form.dtype = dtype;
        return folder_.networks().lay_out_pass(form.pass_size(), chunks, flops_per_second);
    }

    std::unique_ptr<Family> for_clip(const Settings& settings, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) const override {
        return for_clip_(folder_, settings, plan, device, std::move(maps));
    }

  private:
    FolderOf<Config> folder_;
    ForClip for_clip_;
};

/// Opens the folder that the settings name, or noise in place of it; nothing where there are mistakes. Without `weights` from its config files alone.
template <class Config>
[[nodiscard]] std::unique_ptr<Model> open_folder(const Settings& settings, Mistakes& mistakes, bool weights, typename FolderModel<Config>::ForClip for_clip) {
    if (settings.model.path == "random") return std::make_unique<FolderModel<Config>>(FolderOf<Config>::random({}), for_clip);
    const auto before = mistakes.texts().size();
    auto folder = FolderOf<Config>::open(settings.input_path(settings.model.path), mistakes, weights);
    if (mistakes.texts().size() != before) return nullptr;
    return std::make_unique<FolderModel<Config>>(std::move(folder), for_clip);
}

}  // namespace weft::model

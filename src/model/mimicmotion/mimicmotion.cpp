#include "model/mimicmotion/mimicmotion.hpp"

#include "device/meter.hpp"
#include "model/mimicmotion/clip_pixels.hpp"
#include "model/mimicmotion/euler.hpp"
#include "model/networks/folder_model.hpp"
#include "model/pictures.hpp"

#include <ATen/CPUGeneratorImpl.h>

namespace weft::model::mimicmotion {

namespace {

class MimicMotion final : public UNetFamily {
  public:
    MimicMotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps)
        : UNetFamily{folder, settings, device, std::move(maps)},
          config_{folder.config()},
          settings_{settings},
          sampler_{settings.steps, config_.scheduler.sigma_min, config_.scheduler.sigma_max} {}

    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override;
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const override {
        return sampler_.step(latents, prediction, step);
    }

  private:
    Pixels pixels_of(const at::Tensor& reference) const override;
    void keep(const at::Tensor& latents, const at::Tensor& /*embedding*/) override { image_latents_ = latents; }
    at::Tensor input_of(const plan::Pass& pass, const at::Tensor& latents) const override;
    at::Tensor pose_input(const at::Tensor& maps) const override { return maps / 127.5 - 1.0; }
    bool sees_pose(Branch branch) const override { return branch == Branch::conditional; }
    double timestep(std::int64_t step) const override { return sampler_.timestep(step); }
    std::vector<double> ids() const override {
        // The model is told fps - 1, as published.
        return {static_cast<double>(settings_.fps - 1), static_cast<double>(settings_.motion_bucket), settings_.noise_aug};
    }

    const Config& config_;
    ClipSettings settings_;
    EulerSampler sampler_;
    at::Tensor image_latents_;  ///< [1, h, w, channels], unscaled mean
};

UNetFamily::Pixels MimicMotion::pixels_of(const at::Tensor& reference) const {
    const auto used = truncated_round_trip(cover_bilinear(reference, settings_.height, settings_.width));
    return {clip_pixels(used, config_.clip.image, config_.preprocessor), vae_pixels(used, settings_, config_.vae.latent_channels)};
}

at::Tensor MimicMotion::initial_latents(const std::vector<std::int64_t>& frames) {
    const auto noise = draw_noise(settings_, config_.vae.latent_channels).latents * static_cast<double>(sampler_.init_noise_sigma());
    const OwnedBy owner(Owner::latents);
    std::vector<std::int64_t> slots;
    for (const auto frame : frames)
        slots.push_back(frame < settings_.num_frames ? frame % settings_.slice_length : 0);  // behind the clip stand private anchors
    return noise.index_select(0, at::tensor(slots, at::TensorOptions{}.dtype(c10::kLong)));
}

/// Beside the noisy latents stand those of the picture, or nothing.
at::Tensor MimicMotion::input_of(const plan::Pass& pass, const at::Tensor& latents) const {
    const auto noisy = sampler_.scale_input(latents, pass.step).to(settings_.dtype).permute({0, 2, 3, 1});
    const bool conditional = pass.branch == Branch::conditional;
    const auto picture = conditional ? image_latents_.expand(noisy.sizes()) : at::zeros_like(image_latents_).expand(noisy.sizes());
    return at::cat({noisy.contiguous(), picture}, -1);
}

}  // namespace

std::unique_ptr<Family> make_mimicmotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps) {
    return std::make_unique<MimicMotion>(folder, settings, device, std::move(maps));
}

std::unique_ptr<Family> for_clip(const ModelFolder& folder, const Settings& settings, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) {
    ClipSettings clip(form_of(settings, plan, device));
    clip.num_frames = plan.num_frames;
    clip.noise_aug = settings.sampling.noise_aug;
    clip.fps = settings.sampling.fps;
    clip.motion_bucket = settings.sampling.motion_bucket;
    return make_mimicmotion(folder, clip, device, std::move(maps));
}

at::Tensor vae_pixels(const at::Tensor& reference, const ClipSettings& settings, std::int64_t channels) {
    const auto pixels = reference.unsqueeze(0).to(c10::kFloat) / 255.0 * 2.0 - 1.0;
    if (settings.noise_aug == 0) return pixels;
    return (pixels + settings.noise_aug * draw_noise(settings, channels).picture.permute({0, 2, 3, 1})).contiguous();
}

Draws draw_noise(const ClipSettings& settings, std::int64_t channels) {
    const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(settings.seed));
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    Draws draws;
    draws.picture = at::randn({1, 3, settings.height, settings.width}, generator, options);
    draws.latents = at::randn({1, settings.slice_length, channels, settings.height / 8, settings.width / 8}, generator, options)[0];
    return draws;
}

}  // namespace weft::model::mimicmotion

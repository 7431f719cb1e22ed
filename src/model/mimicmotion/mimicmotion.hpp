#pragma once
#include "base/settings.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/networks/unet_family.hpp"
#include "plan/plan.hpp"

#include <memory>

namespace weft::model::mimicmotion {

/// What of a job MimicMotion itself must know. Its noise repeats with the period of a slice.
struct ClipSettings : ClipForm {
    ClipSettings() {
        steps = 25;
        seed = 42;
    }
    explicit ClipSettings(const ClipForm& form) : ClipForm{form} {}
    std::int64_t num_frames = 0;  ///< with frame 0
    double noise_aug = 0;
    std::int64_t fps = 7;
    std::int64_t motion_bucket = 127;
};

/// MimicMotion on `device`. `maps` are the clip's pose maps; frame 0 is the reference's.
[[nodiscard]] std::unique_ptr<Family> make_mimicmotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps);
/// The same for the clip of a job.
[[nodiscard]] std::unique_ptr<Family> for_clip(const ModelFolder& folder, const Settings& settings, const plan::Plan& plan, const ComputeDevice& device,
                                               PoseMaps maps);

/// Draw 1 (unit normal [1, 3, height, width], added to the picture times noise_aug) and draw 2 (unit normal [period, channels, h, w]) of the one
/// CPU generator that the seed starts, as the published program draws them.
struct Draws {
    at::Tensor picture;
    at::Tensor latents;
};
[[nodiscard]] Draws draw_noise(const ClipSettings& settings, std::int64_t channels);

/// What the VAE's encoder takes: the reference [height, width, 3] uint8 in [-1, 1] with noise_aug times draw 1 on top, [1, height, width, 3] fp32.
/// `channels`: of the latents, for the draws.
[[nodiscard]] at::Tensor vae_pixels(const at::Tensor& reference, const ClipSettings& settings, std::int64_t channels);

}  // namespace weft::model::mimicmotion

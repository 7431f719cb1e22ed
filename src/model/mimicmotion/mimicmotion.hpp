#pragma once
#include "device/device.hpp"
#include "model/euler.hpp"
#include "model/family.hpp"
#include "model/mimicmotion/model_folder.hpp"
#include "model/networks/unet_family.hpp"

#include <memory>

namespace weft::model::mimicmotion {

/// What of a job MimicMotion itself must know. Its noise repeats with the period of a slice.
struct ClipSettings : ClipForm {
    ClipSettings() {
        steps = 25;
        seed = 42;
    }
    std::int64_t num_frames = 0;  ///< with frame 0
    double noise_aug = 0;
    std::int64_t fps = 7;
    std::int64_t motion_bucket = 127;
};

/// A pass over one slice, from the config alone: what Family::layout() gives. PoseNet counts to the first unit, time and size embedding to every rank.
[[nodiscard]] PassLayout lay_out_pass(const Config& config, const PassSize& size, const Chunks& chunks, double flops_per_second);

/// MimicMotion on `device`. `maps` are the clip's pose maps; frame 0 is the reference's.
[[nodiscard]] std::unique_ptr<Family> make_mimicmotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps);

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

#pragma once
#include "base/settings.hpp"
#include "model/musepose/config.hpp"
#include "model/networks/unet_family.hpp"
#include "plan/plan.hpp"

#include <map>
#include <memory>
#include <string>

namespace weft::model::musepose {

/// What of a job MusePose itself must know.
struct ClipSettings : ClipForm {
    ClipSettings() {
        steps = 20;
        seed = 99;
    }
    explicit ClipSettings(const ClipForm& form) : ClipForm{form} {}
    std::int64_t num_latents = 0;  ///< frames with repeats: the noise's length
};

/// MusePose on `device`. `maps` are the clip's pose maps.
[[nodiscard]] std::unique_ptr<Family> make_musepose(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps);
/// The same for the clip of a job.
[[nodiscard]] std::unique_ptr<Family> for_clip(const ModelFolder& folder, const Settings& settings, const plan::Plan& plan, const ComputeDevice& device,
                                               PoseMaps maps);

/// What CLIP takes: the reference [height, width, 3] uint8 squashed to image x image with Pillow's bicubic filter and normalised, [1, image, image, 3] fp32.
[[nodiscard]] at::Tensor clip_pixels(const at::Tensor& reference, std::int64_t image);
[[nodiscard]] at::Tensor clip_picture(const at::Tensor& reference, std::int64_t image);  ///< the same before it is normalised, [image, image, 3] uint8

/// The picture squashed with Pillow's Lanczos filter, [height, width, 3] uint8: what the VAE sees of the reference, in [-1, 1], and the pose guider of a map,
/// in [0, 1].
[[nodiscard]] at::Tensor squashed(const at::Tensor& picture, std::int64_t height, std::int64_t width);

/// Unit noise of the whole clip, [frames, channels, h, w] fp32, drawn as the published program draws it in fp32.
[[nodiscard]] at::Tensor draw_noise(const ClipSettings& settings, std::int64_t channels);

/// What the reference UNet's self-attentions see of `latents` [1, h, w, channels], by transformer block, [tokens, channels]; fp32 unless cast by
/// `as_published`: the published program keeps it in fp16 whatever the model's type.
using Bank = std::map<std::string, at::Tensor>;
[[nodiscard]] Bank make_bank(const ModelFolder& folder, const at::Tensor& latents, const at::Tensor& embedding, const Chunks& chunks);
[[nodiscard]] Bank as_published(const Bank& bank);

}  // namespace weft::model::musepose

#pragma once
#include "base/error.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace weft::model::musepose {

/// sd-image-variations-diffusers/unet/config.json, for the reference and the denoising UNet, and what configs/inference_v2.yaml adds to the latter.
struct UNetConfig {
    std::int64_t in_channels = 4;
    std::int64_t out_channels = 4;
    std::vector<std::int64_t> channels{320, 640, 1280, 1280};
    std::int64_t layers = 2;  ///< a level on the way down; one more on the way up
    std::vector<bool> attention{true, true, true, false};
    std::int64_t heads = 8;         ///< of spatial attention; published as "attention_head_dim"
    std::int64_t motion_heads = 8;  ///< of attention over frames
    std::int64_t cross_attention_dim = 768;

    [[nodiscard]] std::int64_t embedding_dim() const { return 4 * channels.front(); }
};

/// Widths of pose_guider.pth, which no config file tells.
struct PoseGuiderConfig {
    std::array<std::int64_t, 4> channels{16, 32, 96, 256};
};

/// noise_scheduler_kwargs of configs/inference_v2.yaml. Zero terminal SNR, v-prediction and trailing timesteps are MusePose's only ones.
struct SchedulerConfig {
    std::int64_t train_steps = 1000;
    double beta_start = 0.00085;
    double beta_end = 0.012;
};

inline constexpr std::int64_t longest_window = 128;  ///< rows of the motion modules' table of positions

struct Config {
    UNetConfig unet;
    PoseGuiderConfig pose_guider;
    VaeConfig vae;
    ClipConfig clip{
        .hidden = 1024, .intermediate = 4096, .layers = 24, .heads = 16, .patch = 14, .image = 224, .projection = 768, .eps = 1e-5, .gelu = Gelu::quick};
    SchedulerConfig scheduler;
};

/// Where the published files of a model folder lie. Weight files that are not there are empty paths.
struct Files {
    std::filesystem::path root;  ///< pretrained_weights, or a folder laid out like it
    std::filesystem::path yaml;  ///< inference_v2.yaml; without it the published values count
    std::filesystem::path base;  ///< the base UNet; every value of it is overwritten where denoising_unet.pth is whole
    std::filesystem::path denoising, motion, reference, pose_guider;
    std::filesystem::path vae, encoder;
};

/// Finds the files in the folder of the program (holding pretrained_weights/ and configs/) or in pretrained_weights itself; what is missing goes to
/// `mistakes`. Weight files may be absent when `weights` is false.
[[nodiscard]] Files find_files(const std::filesystem::path& folder, bool weights, Mistakes& mistakes);

/// Reads the config files; the pose guider's widths from its weights, where they are there. What weft does not know goes to `mistakes`.
[[nodiscard]] Config read_config(const Files& files, Mistakes& mistakes);

}  // namespace weft::model::musepose

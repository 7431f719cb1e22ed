#pragma once
#include "model/networks/model_folder.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace weft::model::musepose {

/// sd-image-variations-diffusers/unet/config.json, for the reference and the denoising UNet, and what configs/inference_v2.yaml adds to the latter.
struct UNetConfig : model::UNetConfig {
    UNetConfig() { cross_attention_dim = 768; }
    std::int64_t motion_heads = 8;  ///< of attention over frames
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

/// A MusePose model, as the files of its folder have it; and how that folder is laid out (see FolderOf).
struct Config {
    UNetConfig unet;
    PoseGuiderConfig pose_guider;
    VaeConfig vae;
    ClipConfig clip{
        .hidden = 1024, .intermediate = 4096, .layers = 24, .heads = 16, .patch = 14, .image = 224, .projection = 768, .eps = 1e-5, .gelu = Gelu::quick};
    SchedulerConfig scheduler;

    /// Finds the files in the folder of the program (holding pretrained_weights/ and configs/) or in pretrained_weights itself; what is missing goes to
    /// `mistakes`. Weight files may be absent when `weights` is false.
    [[nodiscard]] static Files find(const std::filesystem::path& folder, bool weights, Mistakes& mistakes);
    /// Where the files lie in a folder as published.
    [[nodiscard]] static Files published(const std::filesystem::path& folder);
    [[nodiscard]] static std::vector<PartFiles> parts();

    /// Reads the config files, or writes them; the pose guider's widths are read from its weights, where they are there. Without inference_v2.yaml the
    /// published values count. What weft does not know is a mistake.
    void read_or_write(const ConfigFiles& files);

    [[nodiscard]] Networks networks() const;
};

using ModelFolder = FolderOf<Config>;

}  // namespace weft::model::musepose

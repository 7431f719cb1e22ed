#pragma once
#include "base/error.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace weft::model::mimicmotion {

/// unet/config.json. One entry a level where the published file has a list.
struct UNetConfig {
    std::int64_t in_channels = 8;
    std::int64_t out_channels = 4;
    std::vector<std::int64_t> channels{320, 640, 1280, 1280};
    std::vector<std::int64_t> layers{2, 2, 2, 2};
    std::vector<std::int64_t> heads{5, 10, 20, 20};
    std::vector<std::int64_t> transformer_layers{1, 1, 1, 1};
    std::vector<bool> down_attention{true, true, true, false};
    std::vector<bool> up_attention{false, true, true, true};
    std::int64_t cross_attention_dim = 1024;
    std::int64_t addition_time_embed_dim = 256;
    std::int64_t projection_input_dim = 768;

    [[nodiscard]] std::int64_t embedding_dim() const { return 4 * channels.front(); }
};

/// feature_extractor/preprocessor_config.json
struct PreprocessorConfig {
    std::vector<double> mean{0.48145466, 0.4578275, 0.40821073};
    std::vector<double> deviation{0.26862954, 0.26130258, 0.27577711};
};

/// scheduler/scheduler_config.json; only Karras sigmas with v-prediction and continuous timesteps are MimicMotion's.
struct SchedulerConfig {
    double sigma_min = 0.002;
    double sigma_max = 700.0;
};

struct Config {
    UNetConfig unet;
    VaeConfig vae;
    ClipConfig clip;
    PreprocessorConfig preprocessor;
    SchedulerConfig scheduler;
};

/// Where the published files of a model folder lie.
struct Files {
    std::filesystem::path base;     ///< holds unet/, vae/, image_encoder/, scheduler/
    std::filesystem::path pth;      ///< MimicMotion*.pth: UNet and PoseNet
    std::filesystem::path vae;      ///< the VAE's safetensors, fp16 preferred
    std::filesystem::path encoder;  ///< the image encoder's
};

/// Finds the files; what is missing goes to `mistakes` with where it was looked for. Weight files may be absent when `weights` is false.
[[nodiscard]] Files find_files(const std::filesystem::path& folder, bool weights, Mistakes& mistakes);

/// Reads the config files. Values that the published classes cannot have or weft does not know go to `mistakes`.
[[nodiscard]] Config read_config(const Files& files, Mistakes& mistakes);

}  // namespace weft::model::mimicmotion

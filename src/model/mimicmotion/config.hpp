#pragma once
#include "model/networks/model_folder.hpp"

#include <cstdint>
#include <filesystem>
#include <vector>

namespace weft::model::mimicmotion {

/// unet/config.json
struct UNetConfig : model::UNetConfig {
    UNetConfig() {
        in_channels = 8;
        heads = {5, 10, 20, 20};
    }
    std::vector<std::int64_t> transformer_layers{1, 1, 1, 1};
    std::int64_t addition_time_embed_dim = 256;
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

/// A MimicMotion model, as the config files of its folder have it; and how that folder is laid out (see FolderOf).
struct Config {
    UNetConfig unet;
    VaeConfig vae;
    ClipConfig clip;
    PreprocessorConfig preprocessor;
    SchedulerConfig scheduler;

    /// Finds the files; what is missing goes to `mistakes` with where it was looked for. Weight files may be absent when `weights` is false.
    [[nodiscard]] static Files find(const std::filesystem::path& folder, bool weights, Mistakes& mistakes);
    /// Where the files lie in a folder as published.
    [[nodiscard]] static Files published(const std::filesystem::path& folder);
    [[nodiscard]] static std::vector<PartFiles> parts();

    /// Reads the config files, or writes them. Values that the published classes cannot have or weft does not know are mistakes.
    void read_or_write(const ConfigFiles& files);

    [[nodiscard]] Networks networks() const;
};

using ModelFolder = FolderOf<Config>;

}  // namespace weft::model::mimicmotion

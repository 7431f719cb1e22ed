#include "model/mimicmotion/config.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "model/networks/config_reader.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

namespace fs = std::filesystem;

UNetConfig read_unet(const fs::path& path, Mistakes& mistakes) {
    ConfigReader reader(path, mistakes);
    UNetConfig unet;
    const auto levels = std::clamp<std::size_t>(reader.length("block_out_channels", 4), 1, 8);
    reader.levels("block_out_channels", unet.channels, levels);
    reader.whole("in_channels", unet.in_channels);
    reader.whole("out_channels", unet.out_channels);
    reader.levels("layers_per_block", unet.layers, levels, 64);
    reader.levels("num_attention_heads", unet.heads, levels);
    reader.levels("transformer_layers_per_block", unet.transformer_layers, levels, 64);
    reader.blocks("down_block_types", unet.down_attention, levels, "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal");
    reader.blocks("up_block_types", unet.up_attention, levels, "CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal");
    reader.whole("cross_attention_dim", unet.cross_attention_dim);
    reader.whole("addition_time_embed_dim", unet.addition_time_embed_dim, 2);
    reader.whole("projection_class_embeddings_input_dim", unet.projection_input_dim);
    reader.must_divide("block_out_channels", unet.channels, 32, "group norms have 32 groups");
    if (unet.projection_input_dim != 3 * unet.addition_time_embed_dim)
        reader.wrong("projection_class_embeddings_input_dim", cat("must be 3 * addition_time_embed_dim = ", 3 * unet.addition_time_embed_dim));
    if (unet.in_channels != 2 * unet.out_channels) reader.wrong("in_channels", cat("must be 2 * out_channels = ", 2 * unet.out_channels));
    for (std::size_t i = 0; i < levels; ++i)
        if (unet.channels[i] % unet.heads[i] != 0) reader.wrong("num_attention_heads", "must divide block_out_channels level by level");
    return unet;
}

SchedulerConfig read_scheduler(const fs::path& path, Mistakes& mistakes) {
    ConfigReader reader(path, mistakes);
    SchedulerConfig scheduler;
    reader.real("sigma_min", scheduler.sigma_min);
    reader.real("sigma_max", scheduler.sigma_max);
    reader.must_be("prediction_type", "v_prediction");
    reader.must_be("timestep_type", "continuous");
    reader.must_be("use_karras_sigmas", true);
    if (scheduler.sigma_min >= scheduler.sigma_max) reader.wrong("sigma_min", "must be less than sigma_max");
    return scheduler;
}

PreprocessorConfig read_preprocessor(const fs::path& path, Mistakes& mistakes) {
    PreprocessorConfig preprocessor;
    if (!fs::exists(path)) return preprocessor;  // the values are CLIP's and the same everywhere
    ConfigReader reader(path, mistakes);
    reader.reals("image_mean", preprocessor.mean, 3);
    reader.reals("image_std", preprocessor.deviation, 3);
    return preprocessor;
}

/// The safetensors of a diffusers folder: half precision first, then full.
fs::path find_weights(const fs::path& folder, const char* stem, bool needed, Mistakes& mistakes) {
    const fs::path half = folder / cat(stem, ".fp16.safetensors");
    const fs::path full = folder / cat(stem, ".safetensors");
    if (fs::exists(half)) return half;
    if (fs::exists(full)) return full;
    if (needed)
        mistakes.add(cat(half.string(), ": missing, and so is ", full.filename().string(), "; fetch it from the Stable Video Diffusion XT 1.1 repository"));
    return {};
}

}  // namespace

Files find_files(const fs::path& folder, bool weights, Mistakes& mistakes) {
    Files files;
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        mistakes.add("model.path", in_quotes(folder.string()), "is not a folder", "name the folder with the published files, or \"random\"");
        return files;
    }
    std::vector<fs::path> bases;
    std::vector<fs::path> checkpoints;
    if (fs::exists(folder / "unet" / "config.json")) bases.push_back(folder);
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const auto name = entry.path().filename().string();
        if (entry.is_directory() && fs::exists(entry.path() / "unet" / "config.json")) bases.push_back(entry.path());
        if (entry.is_regular_file() && name.starts_with("MimicMotion") && name.ends_with(".pth")) checkpoints.push_back(entry.path());
    }
    std::sort(checkpoints.begin(), checkpoints.end());
    if (bases.empty()) {
        mistakes.add("model.path", in_quotes(folder.string()), "holds no unet/config.json, neither itself nor a folder in it",
                     "put stable-video-diffusion-img2vid-xt-1-1 there");
        return files;
    }
    if (bases.size() > 1)
        mistakes.add("model.path", in_quotes(folder.string()), cat("holds more than one base model: ", bases[0].string(), " and ", bases[1].string()),
                     "leave one");
    files.base = bases.front();
    if (checkpoints.size() > 1)
        mistakes.add("model.path", in_quotes(folder.string()),
                     cat("holds more than one MimicMotion*.pth: ", checkpoints[0].filename().string(), " and ", checkpoints[1].filename().string()),
                     "leave one");
    if (!checkpoints.empty())
        files.pth = checkpoints.front();
    else if (weights)
        mistakes.add("model.path", in_quotes(folder.string()), "holds no MimicMotion*.pth", "put MimicMotion_1-1.pth there");
    for (const char* const part : {"unet", "vae", "image_encoder", "scheduler"}) {
        const auto config = files.base / part / (std::string_view(part) == "scheduler" ? "scheduler_config.json" : "config.json");
        if (!fs::exists(config)) mistakes.add(cat(config.string(), ": missing"));
    }
    files.vae = find_weights(files.base / "vae", "diffusion_pytorch_model", weights, mistakes);
    files.encoder = find_weights(files.base / "image_encoder", "model", weights, mistakes);
    return files;
}

Config read_config(const Files& files, Mistakes& mistakes) {
    Config config;
    if (files.base.empty()) return config;
    config.unet = read_unet(files.base / "unet" / "config.json", mistakes);
    config.vae = read_vae(files.base / "vae" / "config.json", mistakes);
    config.clip = read_clip(files.base / "image_encoder" / "config.json", config.clip, mistakes);
    config.scheduler = read_scheduler(files.base / "scheduler" / "scheduler_config.json", mistakes);
    config.preprocessor = read_preprocessor(files.base / "feature_extractor" / "preprocessor_config.json", mistakes);
    if (mistakes.empty() && config.unet.out_channels != config.vae.latent_channels)
        mistakes.add(cat(files.base.string(), ": the UNet's out_channels = ", config.unet.out_channels,
                         " and the VAE's latent_channels = ", config.vae.latent_channels, " must be equal"));
    if (mistakes.empty() && config.unet.cross_attention_dim != config.clip.projection)
        mistakes.add(cat(files.base.string(), ": the UNet's cross_attention_dim = ", config.unet.cross_attention_dim,
                         " and the image encoder's projection_dim = ", config.clip.projection, " must be equal"));
    return config;
}

}  // namespace weft::model::mimicmotion

#include "model/musepose/config.hpp"

#include "base/text.hpp"
#include "io/weight_file.hpp"
#include "model/networks/config_reader.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>

namespace weft::model::musepose {

namespace {

namespace fs = std::filesystem;

UNetConfig read_unet(const fs::path& path, Mistakes& mistakes) {
    ConfigReader reader(path, mistakes);
    UNetConfig unet;
    const auto levels = std::clamp<std::size_t>(reader.length("block_out_channels", 4), 1, 8);
    reader.levels("block_out_channels", unet.channels, levels);
    reader.whole("in_channels", unet.in_channels);
    reader.whole("out_channels", unet.out_channels);
    reader.whole("layers_per_block", unet.layers);
    reader.whole("attention_head_dim", unet.heads);
    reader.whole("cross_attention_dim", unet.cross_attention_dim);
    reader.blocks("down_block_types", unet.attention, levels, "CrossAttnDownBlock2D", "DownBlock2D");
    std::vector<bool> up(unet.attention.rbegin(), unet.attention.rend());
    reader.blocks("up_block_types", up, levels, "CrossAttnUpBlock2D", "UpBlock2D");
    if (up != std::vector<bool>(unet.attention.rbegin(), unet.attention.rend())) reader.wrong("up_block_types", "must be down_block_types turned round");
    reader.must_be("act_fn", "silu");
    reader.must_be("norm_num_groups", std::int64_t{32});
    reader.must_be("flip_sin_to_cos", true);
    reader.must_be("freq_shift", std::int64_t{0});
    reader.must_be("downsample_padding", std::int64_t{1});
    reader.must_be("use_linear_projection", false);
    reader.must_divide("block_out_channels", unet.channels, 32, "group norms have 32 groups");
    reader.must_divide("block_out_channels", unet.channels, unet.heads, "attention_head_dim is their number of heads");
    if (unet.in_channels != unet.out_channels) reader.wrong("in_channels", cat("must be out_channels = ", unet.out_channels));
    return unet;
}

/// What inference_v2.yaml says of the motion modules and of the sampler.
void read_yaml(const fs::path& path, Config& config, Mistakes& mistakes) {
    const auto must_be = [&](const YAML::Node& table, const std::string& name, const char* key, const std::string& wanted) {
        if (!table[key]) return;
        const auto value = table[key].as<std::string>();
        if (value != wanted)
            mistakes.add(cat(path.string(), ": ", name, ".", key), value, cat("must be ", wanted),
                         "MusePose's published weights were trained for nothing else");
    };
    try {
        const auto all = YAML::LoadFile(path.string());
        if (const auto unet = all["unet_additional_kwargs"]) {
            const std::string name = "unet_additional_kwargs";
            must_be(unet, name, "use_inflated_groupnorm", "true");
            must_be(unet, name, "unet_use_cross_frame_attention", "false");
            must_be(unet, name, "unet_use_temporal_attention", "false");
            must_be(unet, name, "use_motion_module", "true");
            must_be(unet, name, "motion_module_mid_block", "true");
            must_be(unet, name, "motion_module_decoder_only", "false");
            must_be(unet, name, "motion_module_type", "Vanilla");
            if (const auto motion = unet["motion_module_kwargs"]) {
                const auto inner = cat(name, ".motion_module_kwargs");
                must_be(motion, inner, "num_transformer_block", "1");
                must_be(motion, inner, "temporal_position_encoding", "true");
                must_be(motion, inner, "temporal_position_encoding_max_len", cat(longest_window));
                must_be(motion, inner, "temporal_attention_dim_div", "1");
                if (motion["num_attention_heads"]) config.unet.motion_heads = motion["num_attention_heads"].as<std::int64_t>();
            }
        }
        if (const auto noise = all["noise_scheduler_kwargs"]) {
            const std::string name = "noise_scheduler_kwargs";
            must_be(noise, name, "beta_schedule", "scaled_linear");
            must_be(noise, name, "prediction_type", "v_prediction");
            must_be(noise, name, "rescale_betas_zero_snr", "true");
            must_be(noise, name, "timestep_spacing", "trailing");
            must_be(noise, name, "clip_sample", "false");
            if (noise["num_train_timesteps"]) config.scheduler.train_steps = noise["num_train_timesteps"].as<std::int64_t>();
            if (noise["beta_start"]) config.scheduler.beta_start = noise["beta_start"].as<double>();
            if (noise["beta_end"]) config.scheduler.beta_end = noise["beta_end"].as<double>();
        }
    } catch (const YAML::Exception& error) {
        mistakes.add(cat(path.string(), ": ", error.what()));
        return;
    }
    const auto heads = config.unet.motion_heads;
    if (heads < 1 || std::ranges::any_of(config.unet.channels, [heads](auto c) { return c % heads != 0; }))
        mistakes.add(cat(path.string(), ": unet_additional_kwargs.motion_module_kwargs.num_attention_heads"), cat(heads),
                     "must divide every width of the UNet");
    const auto& s = config.scheduler;
    if (s.train_steps < 2 || !(s.beta_start > 0 && s.beta_start < s.beta_end && s.beta_end < 1))
        mistakes.add(cat(path.string(), ": noise_scheduler_kwargs"),
                     cat("beta_start ", s.beta_start, ", beta_end ", s.beta_end, ", num_train_timesteps ", s.train_steps),
                     "must have 0 < beta_start < beta_end < 1 and two steps or more");
}

/// Widths behind conv_in, blocks.1, blocks.3 and blocks.5.
void read_pose_guider(const fs::path& path, PoseGuiderConfig& config) {
    try {
        const auto file = io::WeightFile::open(path);
        const std::array<const char*, 4> keys{"conv_in.weight", "blocks.1.weight", "blocks.3.weight", "blocks.5.weight"};
        for (std::size_t i = 0; i < keys.size(); ++i) {
            const auto found = file.tensors().find(keys[i]);
            const bool known = found != file.tensors().end() && found->second.shape.size() == 4 && found->second.shape[0] > 0;
            if (known) config.channels[i] = found->second.shape[0];  // else named when the keys are checked
        }
    } catch (const Error&) {
        return;  // told when the weights are opened
    }
}

fs::path first_of(const std::vector<fs::path>& paths) {
    const auto found = std::ranges::find_if(paths, [](const auto& path) { return fs::exists(path); });
    return found == paths.end() ? fs::path{} : *found;
}

}  // namespace

Files find_files(const fs::path& folder, bool weights, Mistakes& mistakes) {
    Files files;
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        mistakes.add("model.path", in_quotes(folder.string()), "is not a folder", "name the folder with the published files, or \"random\"");
        return files;
    }
    files.root = fs::is_directory(folder / "pretrained_weights", error) ? folder / "pretrained_weights" : folder;
    files.yaml = first_of({folder / "configs" / "inference_v2.yaml", folder / "inference_v2.yaml", files.root.parent_path() / "configs" / "inference_v2.yaml"});
    const auto base = files.root / "sd-image-variations-diffusers" / "unet";
    const auto vae = files.root / "sd-vae-ft-mse";
    const auto encoder = files.root / "image_encoder";
    for (const auto& config : {base / "config.json", vae / "config.json", encoder / "config.json"})
        if (!fs::exists(config)) mistakes.add(cat(config.string(), ": missing; model.path must hold MusePose's pretrained_weights"));
    const auto find = [&](const std::vector<fs::path>& paths, bool needed) {
        auto found = first_of(paths);
        if (found.empty() && needed && weights)
            mistakes.add(cat(paths.front().string(), ": missing", paths.size() > 1 ? cat(", and so is ", paths[1].filename().string()) : ""));
        return found;
    };
    const auto muse = files.root / "MusePose";
    files.base = find({base / "diffusion_pytorch_model.safetensors", base / "diffusion_pytorch_model.bin"}, false);
    files.denoising = find({muse / "denoising_unet.pth"}, true);
    files.motion = find({muse / "motion_module.pth"}, true);
    files.reference = find({muse / "reference_unet.pth"}, true);
    files.pose_guider = find({muse / "pose_guider.pth"}, true);
    files.vae = find({vae / "diffusion_pytorch_model.safetensors", vae / "diffusion_pytorch_model.bin"}, true);
    files.encoder = find({encoder / "model.safetensors", encoder / "pytorch_model.bin"}, true);
    return files;
}

Config read_config(const Files& files, Mistakes& mistakes) {
    Config config;
    if (files.root.empty()) return config;
    config.unet = read_unet(files.root / "sd-image-variations-diffusers" / "unet" / "config.json", mistakes);
    config.vae = read_vae(files.root / "sd-vae-ft-mse" / "config.json", mistakes);
    config.clip = read_clip(files.root / "image_encoder" / "config.json", config.clip, mistakes);
    if (!files.yaml.empty()) read_yaml(files.yaml, config, mistakes);
    if (!files.pose_guider.empty()) read_pose_guider(files.pose_guider, config.pose_guider);
    if (mistakes.empty() && config.unet.out_channels != config.vae.latent_channels)
        mistakes.add(cat(files.root.string(), ": the UNet's out_channels = ", config.unet.out_channels,
                         " and the VAE's latent_channels = ", config.vae.latent_channels, " must be equal"));
    if (mistakes.empty() && config.unet.cross_attention_dim != config.clip.projection)
        mistakes.add(cat(files.root.string(), ": the UNet's cross_attention_dim = ", config.unet.cross_attention_dim,
                         " and the image encoder's projection_dim = ", config.clip.projection, " must be equal"));
    return config;
}

}  // namespace weft::model::musepose

#include "model/musepose/config.hpp"

#include "base/text.hpp"
#include "io/weight_file.hpp"
#include "model/musepose/unet.hpp"

#include <algorithm>
#include <array>

namespace weft::model::musepose {

namespace {

namespace fs = std::filesystem;

void describe(ConfigFile& file, UNetConfig& unet) {
    // "attention_head_dim" is the number of heads: an old slip that the published files keep.
    model::describe(file, unet, {.heads = "attention_head_dim", .block_ending = "Block2D"});
    file.must_be("act_fn", "silu");
    file.must_be("norm_num_groups", std::int64_t{32});
    file.must_be("flip_sin_to_cos", true);
    file.must_be("freq_shift", std::int64_t{0});
    file.must_be("downsample_padding", std::int64_t{1});
    file.must_be("use_linear_projection", false);
    if (unet.in_channels != unet.out_channels) file.wrong("in_channels", cat("must be out_channels = ", unet.out_channels));
}

/// What inference_v2.yaml says of the motion modules; MusePose's weights were trained for nothing else.
void describe_motion(const ConfigFile& yaml, UNetConfig& unet) {
    auto extra = yaml.inside("unet_additional_kwargs");
    extra.must_be("use_inflated_groupnorm", true);
    extra.must_be("unet_use_cross_frame_attention", false);
    extra.must_be("unet_use_temporal_attention", false);
    extra.must_be("use_motion_module", true);
    extra.must_be("motion_module_mid_block", true);
    extra.must_be("motion_module_decoder_only", false);
    extra.must_be("motion_module_type", "Vanilla");
    auto motion = extra.inside("motion_module_kwargs");
    motion.whole("num_attention_heads", unet.motion_heads);
    motion.must_be("num_transformer_block", std::int64_t{1});
    motion.must_be("temporal_position_encoding", true);
    motion.must_be("temporal_position_encoding_max_len", longest_window);
    motion.must_be("temporal_attention_dim_div", std::int64_t{1});
    if (std::ranges::any_of(unet.channels, [&](auto width) { return width % unet.motion_heads != 0; }))
        motion.wrong("num_attention_heads", "must divide every width of the UNet");
}

void describe_scheduler(const ConfigFile& yaml, SchedulerConfig& scheduler) {
    auto noise = yaml.inside("noise_scheduler_kwargs");
    noise.whole("num_train_timesteps", scheduler.train_steps, 2);
    noise.real("beta_start", scheduler.beta_start);
    noise.real("beta_end", scheduler.beta_end);
    noise.must_be("beta_schedule", "scaled_linear");
    noise.must_be("prediction_type", "v_prediction");
    noise.must_be("rescale_betas_zero_snr", true);
    noise.must_be("timestep_spacing", "trailing");
    noise.must_be("clip_sample", false);
    if (scheduler.beta_start >= scheduler.beta_end || scheduler.beta_end >= 1) noise.wrong("beta_start", "must be less than beta_end, and that less than 1");
}

/// Widths behind conv_in, blocks.1, blocks.3 and blocks.5.
void read_pose_guider(const fs::path& path, PoseGuiderConfig& config) {
    if (path.empty()) return;
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

constexpr auto unet_config = "sd-image-variations-diffusers/unet/config.json";
constexpr auto vae_config = "sd-vae-ft-mse/config.json";
constexpr auto encoder_config = "image_encoder/config.json";
constexpr auto yaml_config = "inference_v2.yaml";
constexpr auto base_weights = "sd-image-variations-diffusers/unet/diffusion_pytorch_model";
constexpr auto vae_weights = "sd-vae-ft-mse/diffusion_pytorch_model";
constexpr auto encoder_weights = "image_encoder/model";
constexpr auto denoising = "MusePose/denoising_unet.pth";
constexpr auto motion_modules = "MusePose/motion_module.pth";
constexpr auto reference = "MusePose/reference_unet.pth";
constexpr auto pose_guider_weights = "MusePose/pose_guider.pth";

constexpr std::array checkpoints{denoising, motion_modules, reference, pose_guider_weights};
/// Weights that come as safetensors or as a torch archive of this name; safetensors first, as in the published program.
constexpr std::array<std::array<const char*, 2>, 3> twofold{
    {{base_weights, "diffusion_pytorch_model.bin"}, {vae_weights, "diffusion_pytorch_model.bin"}, {encoder_weights, "pytorch_model.bin"}}};

}  // namespace

Files Config::find(const fs::path& folder, bool weights, Mistakes& mistakes) {
    std::error_code error;
    const auto root = fs::is_directory(folder / "pretrained_weights", error) ? folder / "pretrained_weights" : folder;
    Files files;
    for (const char* const name : {unet_config, vae_config, encoder_config})
        if (files[name] = root / name; !fs::exists(files[name]))
            mistakes.add(cat(files[name].string(), ": missing; model.path must hold MusePose's pretrained_weights"));
    const auto find = [&](const char* name, const std::vector<fs::path>& places, bool needed) {
        const auto found = std::ranges::find_if(places, [](const auto& place) { return fs::exists(place); });
        files[name] = found == places.end() ? fs::path{} : *found;
        if (found == places.end() && needed && weights)
            mistakes.add(cat(places.front().string(), ": missing", places.size() > 1 ? cat(", and so is ", places[1].filename().string()) : ""));
    };
    find(yaml_config, {folder / "configs" / yaml_config, folder / yaml_config, root.parent_path() / "configs" / yaml_config}, false);
    for (const char* const name : checkpoints) find(name, {root / name}, true);
    for (const auto& [name, archive] : twofold)
        find(name, {root / cat(name, ".safetensors"), (root / name).parent_path() / archive}, std::string_view(name) != base_weights);
    return files;
}

Files Config::published(const fs::path& folder) {
    const auto root = folder / "pretrained_weights";
    Files files{{yaml_config, folder / "configs" / yaml_config}, {base_weights, {}}};
    for (const char* const name : {unet_config, vae_config, encoder_config, denoising, motion_modules, reference, pose_guider_weights})
        files[name] = root / name;
    for (const char* const name : {vae_weights, encoder_weights}) files[name] = root / cat(name, ".safetensors");
    return files;
}

std::vector<PartFiles> Config::parts() {
    // The published program loads the base first, then motion modules, then the denoising UNet, and the last writer wins. A stored table of positions
    // (pe) is rounded, and as long as in training; it is computed.
    return {{Part::denoiser, "denoising_unet", "", {{denoising, "", base_weights}, {motion_modules, "motion_modules.", "", {".pos_encoder.pe"}}}},
            {Part::reference, "reference_unet", "", {{reference}}},
            {Part::pose_network, "pose_guider", "", {{pose_guider_weights}}},
            {Part::vae, "vae", "", {{vae_weights}}},
            image_encoder_in(encoder_weights)};
}

void Config::read_or_write(const ConfigFiles& files) {
    files.file(unet_config, [this](auto& file) { describe(file, unet); });
    files.file(vae_config, [this](auto& file) { describe(file, vae); });
    files.file(encoder_config, [this](auto& file) { describe(file, clip); });
    files.file(yaml_config, [this](auto& file) {
        describe_motion(file, unet);
        describe_scheduler(file, scheduler);
    });
    if (files.reading()) read_pose_guider(files.files().at(pose_guider_weights), pose_guider);
    check_fit(unet, vae, clip, files);
}

namespace {
/// The pose guider (models/musepose.md section 4).
std::vector<PoseLayer> pose_layers(const PoseGuiderConfig& config, std::int64_t out) {
    const auto& c = config.channels;
    std::vector<PoseLayer> layers{{"conv_in", 3, c[0]}};
    for (std::size_t level = 0; level + 1 < c.size(); ++level) {
        layers.push_back({cat("blocks.", 2 * level), c[level], c[level]});
        layers.push_back({cat("blocks.", 2 * level + 1), c[level], c[level + 1], 3, 2});
    }
    layers.push_back({"conv_out", c.back(), out});
    return layers;
}
}  // namespace

Networks Config::networks() const {
    return {.denoiser = [unet = unet] { return make_denoiser(unet); },
            .embedding = UNetEmbedding(unet.channels.front()),
            .pose = PoseNetwork(pose_layers(pose_guider, unet.channels.front())),
            .vae = vae,
            .decoder = VaeDecoder::Kind::frames,
            .clip = clip,
            .reference = [unet = unet] { return make_reference(unet); }};
}

}  // namespace weft::model::musepose

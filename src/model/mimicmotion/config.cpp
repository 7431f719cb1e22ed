#include "model/mimicmotion/config.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/unet.hpp"

#include <algorithm>
#include <array>

namespace weft::model::mimicmotion {

namespace {

namespace fs = std::filesystem;

void describe(ConfigFile& file, UNetConfig& unet) {
    model::describe(file, unet, {.heads = "num_attention_heads", .block_ending = "BlockSpatioTemporal"});
    file.levels("transformer_layers_per_block", unet.transformer_layers, 64);
    file.whole("addition_time_embed_dim", unet.addition_time_embed_dim, 2);
    auto all_ids = 3 * unet.addition_time_embed_dim;
    file.whole("projection_class_embeddings_input_dim", all_ids);
    if (all_ids != 3 * unet.addition_time_embed_dim)
        file.wrong("projection_class_embeddings_input_dim", cat("must be 3 * addition_time_embed_dim = ", 3 * unet.addition_time_embed_dim));
    if (unet.in_channels != 2 * unet.out_channels) file.wrong("in_channels", cat("must be 2 * out_channels = ", 2 * unet.out_channels));
}

void describe(ConfigFile& file, SchedulerConfig& scheduler) {
    file.real("sigma_min", scheduler.sigma_min);
    file.real("sigma_max", scheduler.sigma_max);
    file.must_be("prediction_type", "v_prediction");
    file.must_be("timestep_type", "continuous");
    file.must_be("use_karras_sigmas", true);
    if (scheduler.sigma_min >= scheduler.sigma_max) file.wrong("sigma_min", "must be less than sigma_max");
}

/// Where the file is absent its values are CLIP's, the same everywhere.
void describe(ConfigFile& file, PreprocessorConfig& preprocessor) {
    file.reals("image_mean", preprocessor.mean, 3);
    file.reals("image_std", preprocessor.deviation, 3);
}

constexpr auto checkpoint = "MimicMotion.pth";  // of whatever version: UNet and PoseNet
constexpr auto vae_weights = "vae/diffusion_pytorch_model.safetensors";
constexpr auto encoder_weights = "image_encoder/model.safetensors";

/// Those beside the weights, in the folder of the base model; the last one may be absent.
constexpr std::array config_files{"unet/config.json", "vae/config.json", "image_encoder/config.json", "scheduler/scheduler_config.json",
                                  "feature_extractor/preprocessor_config.json"};

Files in_base(const fs::path& base) {
    Files files;
    for (const char* const name : config_files) files[name] = base / name;
    for (const char* const name : {vae_weights, encoder_weights}) files[name] = fs::path(base / name).replace_extension(".fp16.safetensors");
    return files;
}

/// The safetensors of a diffusers folder: half precision first, then full.
void find_weights(fs::path& half, const char* name, bool needed, Mistakes& mistakes) {
    const auto full = half.parent_path() / fs::path(name).filename();
    if (fs::exists(half)) return;
    if (needed && !fs::exists(full))
        mistakes.add(cat(half.string(), ": missing, and so is ", full.filename().string(), "; fetch it from the Stable Video Diffusion XT 1.1 repository"));
    half = fs::exists(full) ? full : fs::path{};
}

/// The one of several candidates; "" where there is none.
fs::path the_one(std::vector<fs::path> found, const fs::path& folder, const char* what, Mistakes& mistakes) {
    std::ranges::sort(found);
    if (found.size() > 1)
        mistakes.add("model.path", in_quotes(folder.string()), cat("holds more than one ", what, ": ", found[0].string(), " and ", found[1].string()),
                     "leave one");
    return found.empty() ? fs::path{} : found.front();
}

}  // namespace

Files Config::find(const fs::path& folder, bool weights, Mistakes& mistakes) {
    std::error_code error;
    std::vector<fs::path> bases, checkpoints;
    if (fs::exists(folder / "unet" / "config.json")) bases.push_back(folder);
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        const auto name = entry.path().filename().string();
        if (entry.is_directory() && fs::exists(entry.path() / "unet" / "config.json")) bases.push_back(entry.path());
        if (entry.is_regular_file() && name.starts_with("MimicMotion") && name.ends_with(".pth")) checkpoints.push_back(entry.path());
    }
    const auto base = the_one(bases, folder, "base model", mistakes);
    if (base.empty()) {
        mistakes.add("model.path", in_quotes(folder.string()), "holds no unet/config.json, neither itself nor a folder in it",
                     "put stable-video-diffusion-img2vid-xt-1-1 there");
        return {};
    }
    auto files = in_base(base);
    files[checkpoint] = the_one(checkpoints, folder, "MimicMotion*.pth", mistakes);
    if (weights && files[checkpoint].empty())
        mistakes.add("model.path", in_quotes(folder.string()), "holds no MimicMotion*.pth", "put MimicMotion_1-1.pth there");
    for (const char* const name : config_files)
        if (name != config_files.back() && !fs::exists(files[name])) mistakes.add(cat(files[name].string(), ": missing"));
    for (const char* const name : {vae_weights, encoder_weights}) find_weights(files[name], name, weights, mistakes);
    return files;
}

Files Config::published(const fs::path& folder) {
    auto files = in_base(folder / "stable-video-diffusion-img2vid-xt-1-1");
    files[checkpoint] = folder / "MimicMotion_1-1.pth";
    return files;
}

std::vector<PartFiles> Config::parts() {
    return {{Part::denoiser, "unet", "unet.", {{checkpoint}}},
            {Part::pose_network, "pose_net", "pose_net.", {{checkpoint}}},
            {Part::vae, "vae", "", {{vae_weights}}},
            image_encoder_in(encoder_weights)};
}

void Config::read_or_write(const ConfigFiles& files) {
    files.file("unet/config.json", [this](auto& file) { describe(file, unet); });
    files.file("vae/config.json", [this](auto& file) { describe(file, vae); });
    files.file("image_encoder/config.json", [this](auto& file) { describe(file, clip); });
    files.file("scheduler/scheduler_config.json", [this](auto& file) { describe(file, scheduler); });
    files.file("feature_extractor/preprocessor_config.json", [this](auto& file) { describe(file, preprocessor); });
    check_fit(unet, vae, clip, files);
}

namespace {
/// PoseNet (models/mimicmotion.md section 3): conv_layers.0 to .14, SiLU between them, and final_proj.
std::vector<PoseLayer> pose_layers(std::int64_t out) {
    struct Layer {
        std::int64_t in, out, kernel, stride;
    };
    constexpr std::array<Layer, 8> convs{
        {{3, 3, 3, 1}, {3, 16, 4, 2}, {16, 16, 3, 1}, {16, 32, 4, 2}, {32, 32, 3, 1}, {32, 64, 4, 2}, {64, 64, 3, 1}, {64, 128, 3, 1}}};
    std::vector<PoseLayer> layers;
    for (std::size_t i = 0; i < convs.size(); ++i) layers.push_back({cat("conv_layers.", 2 * i), convs[i].in, convs[i].out, convs[i].kernel, convs[i].stride});
    layers.push_back({"final_proj", convs.back().out, out, 1, 1, 0});
    return layers;
}
}  // namespace

Networks Config::networks() const {
    return {.denoiser = [unet = unet] { return make_unet(unet); },
            .embedding = UNetEmbedding(unet.channels.front(), 3, unet.addition_time_embed_dim),
            .pose = PoseNetwork(pose_layers(unet.channels.front()), PoseNetwork::Scaled::yes),
            .vae = vae,
            .decoder = VaeDecoder::Kind::temporal,
            .clip = clip,
            .reference = {}};
}

}  // namespace weft::model::mimicmotion

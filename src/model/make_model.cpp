#include "model/make_model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "io/weight_file.hpp"
#include "model/mimicmotion/model_folder.hpp"
#include "model/musepose/model_folder.hpp"

#include <nlohmann/json.hpp>

#include <span>

namespace weft::model {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

mimicmotion::Config tiny_mimicmotion() {
    mimicmotion::Config config;
    config.unet.channels = {32, 32, 32, 64};
    config.unet.heads = {2, 1, 4, 2};
    config.unet.cross_attention_dim = 24;
    config.unet.addition_time_embed_dim = 16;
    config.unet.projection_input_dim = 48;
    config.vae.channels = {32, 32, 32, 64};
    config.clip = {.hidden = 48, .intermediate = 96, .layers = 3, .heads = 4, .patch = 14, .image = 224, .projection = 24, .eps = 1e-5};
    return config;
}

void write_json(const fs::path& path, const Json& json) {
    fs::create_directories(path.parent_path());
    write_atomically(path, json.dump(2) + "\n");
}

Json clip_json(const ClipConfig& c) {
    return {{"architectures", {"CLIPVisionModelWithProjection"}},
            {"model_type", "clip_vision_model"},
            {"hidden_size", c.hidden},
            {"intermediate_size", c.intermediate},
            {"num_hidden_layers", c.layers},
            {"num_attention_heads", c.heads},
            {"patch_size", c.patch},
            {"image_size", c.image},
            {"num_channels", 3},
            {"projection_dim", c.projection},
            {"hidden_act", c.gelu == Gelu::quick ? "quick_gelu" : "gelu"},
            {"layer_norm_eps", c.eps}};
}

void write_configs(const fs::path& base, const mimicmotion::Config& config) {
    const auto write = [&](const fs::path& name, const Json& json) { write_json(base / name, json); };
    const auto blocks = [](const std::vector<bool>& attention, const char* way) {
        Json names = Json::array();
        for (const bool with : attention) names.push_back(cat(with ? "CrossAttn" : "", way, "BlockSpatioTemporal"));
        return names;
    };
    const auto& u = config.unet;
    write("unet/config.json", {{"_class_name", "UNetSpatioTemporalConditionModel"},
                               {"in_channels", u.in_channels},
                               {"out_channels", u.out_channels},
                               {"block_out_channels", u.channels},
                               {"down_block_types", blocks(u.down_attention, "Down")},
                               {"up_block_types", blocks(u.up_attention, "Up")},
                               {"layers_per_block", u.layers.front()},
                               {"num_attention_heads", u.heads},
                               {"transformer_layers_per_block", u.transformer_layers.front()},
                               {"cross_attention_dim", u.cross_attention_dim},
                               {"addition_time_embed_dim", u.addition_time_embed_dim},
                               {"projection_class_embeddings_input_dim", u.projection_input_dim},
                               {"num_frames", 16},
                               {"sample_size", 16}});
    const auto& v = config.vae;
    write("vae/config.json", {{"_class_name", "AutoencoderKLTemporalDecoder"},
                              {"in_channels", 3},
                              {"out_channels", 3},
                              {"block_out_channels", v.channels},
                              {"layers_per_block", v.layers},
                              {"down_block_types", std::vector<std::string>(v.channels.size(), "DownEncoderBlock2D")},
                              {"latent_channels", v.latent_channels},
                              {"scaling_factor", v.scaling_factor},
                              {"sample_size", 128},
                              {"force_upcast", true}});
    write("image_encoder/config.json", clip_json(config.clip));
    write("scheduler/scheduler_config.json", {{"_class_name", "EulerDiscreteScheduler"},
                                              {"prediction_type", "v_prediction"},
                                              {"timestep_type", "continuous"},
                                              {"use_karras_sigmas", true},
                                              {"sigma_min", config.scheduler.sigma_min},
                                              {"sigma_max", config.scheduler.sigma_max},
                                              {"num_train_timesteps", 1000}});
    write("feature_extractor/preprocessor_config.json", {{"image_mean", config.preprocessor.mean}, {"image_std", config.preprocessor.deviation}});
    write("model_index.json", {{"_class_name", "StableVideoDiffusionPipeline"}});
}

musepose::Config tiny_musepose() {
    musepose::Config config;
    config.unet.channels = {32, 64, 32, 32};
    config.unet.heads = 4;
    config.unet.motion_heads = 2;
    config.unet.cross_attention_dim = 24;
    config.pose_guider.channels = {8, 16, 16, 24};
    config.vae.channels = {32, 32, 32, 64};
    config.clip = {.hidden = 48, .intermediate = 96, .layers = 3, .heads = 4, .patch = 14, .image = 224, .projection = 24, .eps = 1e-5, .gelu = Gelu::quick};
    return config;
}

void write_configs(const fs::path& folder, const musepose::Config& config) {
    const auto root = folder / "pretrained_weights";
    const auto& u = config.unet;
    const auto blocks = [&](const char* way, bool upwards) {
        Json names = Json::array();
        for (std::size_t i = 0; i < u.attention.size(); ++i)
            names.push_back(cat(u.attention[upwards ? u.attention.size() - 1 - i : i] ? "CrossAttn" : "", way, "Block2D"));
        return names;
    };
    write_json(root / "sd-image-variations-diffusers" / "unet" / "config.json", {{"_class_name", "UNet2DConditionModel"},
                                                                                 {"act_fn", "silu"},
                                                                                 {"attention_head_dim", u.heads},
                                                                                 {"block_out_channels", u.channels},
                                                                                 {"cross_attention_dim", u.cross_attention_dim},
                                                                                 {"down_block_types", blocks("Down", false)},
                                                                                 {"up_block_types", blocks("Up", true)},
                                                                                 {"in_channels", u.in_channels},
                                                                                 {"out_channels", u.out_channels},
                                                                                 {"layers_per_block", u.layers},
                                                                                 {"norm_num_groups", 32}});
    const auto& v = config.vae;
    write_json(root / "sd-vae-ft-mse" / "config.json", {{"_class_name", "AutoencoderKL"},
                                                        {"in_channels", 3},
                                                        {"out_channels", 3},
                                                        {"block_out_channels", v.channels},
                                                        {"layers_per_block", v.layers},
                                                        {"latent_channels", v.latent_channels}});
    write_json(root / "image_encoder" / "config.json", clip_json(config.clip));
    fs::create_directories(folder / "configs");
    write_atomically(
        folder / "configs" / "inference_v2.yaml",
        cat("unet_additional_kwargs:\n  use_motion_module: true\n  motion_module_type: Vanilla\n  motion_module_kwargs:\n    num_attention_heads: ",
            u.motion_heads, "\nnoise_scheduler_kwargs:\n  beta_start: ", config.scheduler.beta_start, "\n  beta_end: ", config.scheduler.beta_end,
            "\n  beta_schedule: \"scaled_linear\"\n  prediction_type: \"v_prediction\"\n  rescale_betas_zero_snr: true\n",
            "  timestep_spacing: \"trailing\"\n"));
}

/// Tensors of parts in fp16, with the keys that the mathematics skips too: a file must be complete.
struct PartTensors {
    std::vector<at::Tensor> held;
    std::vector<io::TensorToWrite> tensors;

    void add(WeightSource& source, std::span<const KeySpec> keys, std::string_view prefix = {}) {
        for (const auto& key : keys) {
            held.push_back(source.load(key.key, key.shape));
            tensors.push_back(
                {cat(prefix, key.key), io::ElementType::f16, key.shape, {static_cast<const std::byte*>(held.back().const_data_ptr()), held.back().nbytes()}});
        }
    }
    template <class Part, class Folder>
    void add(Part part, const Folder& folder, std::string_view prefix = {}) {
        add(*folder.source(part, c10::kCPU, c10::kHalf), keys_of(part, folder.config()), prefix);
    }
};

void make_folder(const fs::path& folder) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) refuse(cat(folder.string(), ": cannot be made: ", error.message()));
}

}  // namespace

void make_tiny_model(const fs::path& folder, std::uint64_t seed) {
    using namespace mimicmotion;
    const auto model = ModelFolder::random(tiny_mimicmotion(), seed);
    const auto base = folder / "stable-video-diffusion-img2vid-xt-1-1";
    make_folder(base);
    write_configs(base, model.config());

    PartTensors checkpoint;
    for (const auto part : {Part::unet, Part::pose_net}) checkpoint.add(part, model, part_prefix(part));
    io::write_torch_archive(folder / "MimicMotion_1-1.pth", checkpoint.tensors);
    PartTensors vae;
    vae.add(Part::vae, model);
    io::write_safetensors(base / "vae" / "diffusion_pytorch_model.fp16.safetensors", vae.tensors);
    PartTensors encoder;
    encoder.add(Part::image_encoder, model);
    io::write_safetensors(base / "image_encoder" / "model.fp16.safetensors", encoder.tensors);
}

void make_tiny_musepose(const fs::path& folder, std::uint64_t seed) {
    using namespace musepose;
    const auto model = ModelFolder::random(tiny_musepose(), seed);
    const auto root = folder / "pretrained_weights";
    make_folder(root / "MusePose");
    write_configs(folder, model.config());

    std::vector<KeySpec> motion, spatial;
    for (auto& key : keys_of(Part::denoiser, model.config()))
        (key.key.find("motion_modules.") != std::string::npos ? motion : spatial).push_back(std::move(key));
    const auto source = model.source(Part::denoiser, c10::kCPU, c10::kHalf);
    for (const auto& [keys, name] : {std::pair{&spatial, "denoising_unet.pth"}, {&motion, "motion_module.pth"}}) {
        PartTensors part;
        part.add(*source, *keys);
        io::write_torch_archive(root / "MusePose" / name, part.tensors);
    }
    for (const auto& [part, name] : {std::pair{Part::reference, "reference_unet.pth"}, {Part::pose_guider, "pose_guider.pth"}}) {
        PartTensors tensors;
        tensors.add(part, model);
        io::write_torch_archive(root / "MusePose" / name, tensors.tensors);
    }
    PartTensors vae;
    vae.add(Part::vae, model);
    io::write_safetensors(root / "sd-vae-ft-mse" / "diffusion_pytorch_model.safetensors", vae.tensors);
    PartTensors encoder;
    encoder.add(Part::image_encoder, model);
    io::write_safetensors(root / "image_encoder" / "model.safetensors", encoder.tensors);
}

}  // namespace weft::model

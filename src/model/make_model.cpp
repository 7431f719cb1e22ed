#include "model/make_model.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "io/weight_file.hpp"
#include "model/mimicmotion/model_folder.hpp"

#include <nlohmann/json.hpp>

namespace weft::model {

namespace {

namespace fs = std::filesystem;
using namespace mimicmotion;
using Json = nlohmann::ordered_json;

Config tiny_config() {
    Config config;
    config.unet.channels = {32, 32, 32, 64};
    config.unet.heads = {2, 1, 4, 2};
    config.unet.cross_attention_dim = 24;
    config.unet.addition_time_embed_dim = 16;
    config.unet.projection_input_dim = 48;
    config.vae.channels = {32, 32, 32, 64};
    config.clip = {.hidden = 48, .intermediate = 96, .layers = 3, .heads = 4, .patch = 14, .image = 224, .projection = 24, .eps = 1e-5};
    return config;
}

void write_configs(const fs::path& base, const Config& config) {
    const auto write = [&](const fs::path& name, const Json& json) {
        fs::create_directories((base / name).parent_path());
        write_atomically(base / name, json.dump(2) + "\n");
    };
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
    const auto& c = config.clip;
    write("image_encoder/config.json", {{"architectures", {"CLIPVisionModelWithProjection"}},
                                        {"model_type", "clip_vision_model"},
                                        {"hidden_size", c.hidden},
                                        {"intermediate_size", c.intermediate},
                                        {"num_hidden_layers", c.layers},
                                        {"num_attention_heads", c.heads},
                                        {"patch_size", c.patch},
                                        {"image_size", c.image},
                                        {"num_channels", 3},
                                        {"projection_dim", c.projection},
                                        {"hidden_act", "gelu"},
                                        {"layer_norm_eps", c.eps}});
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

/// Every tensor of a part, in fp16, with the keys that the mathematics skips too: the file must be complete.
struct PartTensors {
    std::vector<at::Tensor> held;
    std::vector<io::TensorToWrite> tensors;

    void add(Part part, const ModelFolder& folder) {
        const auto source = folder.source(part, c10::kCPU, c10::kHalf);
        for (const auto& key : keys_of(part, folder.config())) {
            held.push_back(source->load(key.key, key.shape));
            tensors.push_back({cat(part_prefix(part), key.key),
                               io::ElementType::f16,
                               key.shape,
                               {static_cast<const std::byte*>(held.back().const_data_ptr()), held.back().nbytes()}});
        }
    }
};

}  // namespace

void make_tiny_model(const fs::path& folder, std::uint64_t seed) {
    const auto model = ModelFolder::random(tiny_config(), seed);
    const auto base = folder / "stable-video-diffusion-img2vid-xt-1-1";
    std::error_code error;
    fs::create_directories(base, error);
    if (error) refuse(cat(base.string(), ": cannot be made: ", error.message()));
    write_configs(base, model.config());

    PartTensors checkpoint;
    checkpoint.add(Part::unet, model);
    checkpoint.add(Part::pose_net, model);
    io::write_torch_archive(folder / "MimicMotion_1-1.pth", checkpoint.tensors);
    PartTensors vae;
    vae.add(Part::vae, model);
    io::write_safetensors(base / "vae" / "diffusion_pytorch_model.fp16.safetensors", vae.tensors);
    PartTensors encoder;
    encoder.add(Part::image_encoder, model);
    io::write_safetensors(base / "image_encoder" / "model.fp16.safetensors", encoder.tensors);
}

}  // namespace weft::model

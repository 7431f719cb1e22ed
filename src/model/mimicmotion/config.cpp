#include "model/mimicmotion/config.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// One config file; asks for its values and notes what does not fit.
class Reader {
  public:
    Reader(const fs::path& path, Mistakes& mistakes) : path_{path}, mistakes_{mistakes} {
        json_ = Json::object();
        if (!fs::exists(path)) return;  // find_files has named it
        try {
            json_ = Json::parse(read_text(path));
            if (!json_.is_object()) mistakes_.add(cat(path_.string(), ": must hold a JSON object"));
        } catch (const Json::exception& error) {
            mistakes_.add(cat(path_.string(), ": not JSON: ", error.what()));
        } catch (const Error& error) {
            mistakes_.add(error.what());
        }
        if (!json_.is_object()) json_ = Json::object();
    }

    void whole(const char* key, std::int64_t& value, std::int64_t least = 1) {
        if (!json_.contains(key)) return;
        const auto& found = json_[key];
        if (found.is_number_integer() && found.get<std::int64_t>() >= least && found.get<std::int64_t>() <= 1 << 20)
            value = found.get<std::int64_t>();
        else
            wrong(key, cat("must be a whole number from ", least, " to ", 1 << 20));
    }

    void real(const char* key, double& value) {
        if (!json_.contains(key)) return;
        if (json_[key].is_number() && json_[key].get<double>() > 0)
            value = json_[key].get<double>();
        else
            wrong(key, "must be a number above 0");
    }

    void reals(const char* key, std::vector<double>& value, std::size_t count) {
        if (!json_.contains(key)) return;
        const auto& found = json_[key];
        if (!found.is_array() || found.size() != count || !std::all_of(found.begin(), found.end(), [](const Json& one) { return one.is_number(); }))
            return wrong(key, cat("must be a list of ", count, " numbers"));
        value = found.get<std::vector<double>>();
    }

    /// A list of whole numbers, or one number for all `count` levels.
    void levels(const char* key, std::vector<std::int64_t>& value, std::size_t count, std::int64_t most = 65536) {
        value.resize(count, value.empty() ? 1 : value.back());
        if (!json_.contains(key)) return;
        const auto& found = json_[key];
        const auto good = [most](const Json& one) { return one.is_number_integer() && one.get<std::int64_t>() >= 1 && one.get<std::int64_t>() <= most; };
        if (good(found))
            value.assign(count, found.get<std::int64_t>());
        else if (found.is_array() && found.size() == count && std::all_of(found.begin(), found.end(), good))
            value = found.get<std::vector<std::int64_t>>();
        else
            wrong(key, cat("must be a whole number from 1 to ", most, " or a list of ", count, " of them"));
    }

    [[nodiscard]] std::size_t length(const char* key, std::size_t otherwise) const {
        return json_.contains(key) && json_[key].is_array() ? json_[key].size() : otherwise;
    }

    /// Each of `count` block names must be `with` or `without`; `value` says which.
    void blocks(const char* key, std::vector<bool>& value, std::size_t count, const char* with, const char* without) {
        value.resize(count, !value.empty() && value.back());
        if (!json_.contains(key)) return;
        const auto& found = json_[key];
        if (!found.is_array() || found.size() != count) return wrong(key, cat("must be a list of ", count, " block names"));
        for (std::size_t i = 0; i < count; ++i) {
            if (found[i] != with && found[i] != without) return wrong(key, cat("may hold ", with, " and ", without));
            value[i] = found[i] == with;
        }
    }

    template <class Value>
    void must_be(const char* key, const Value& wanted) {
        if (json_.contains(key) && json_[key] != wanted) wrong(key, cat("must be ", Json(wanted).dump(), ", the only one that MimicMotion's classes use"));
    }

    void wrong(const char* key, const std::string& allowed) {
        mistakes_.add(cat(path_.string(), ": ", key), json_.contains(key) ? json_[key].dump() : "absent", allowed);
    }

  private:
    fs::path path_;
    Mistakes& mistakes_;
    Json json_;
};

void must_divide(Reader& reader, const char* key, const std::vector<std::int64_t>& channels, std::int64_t divisor, const char* why) {
    for (const auto one : channels)
        if (one % divisor != 0) return reader.wrong(key, cat("every width must be a multiple of ", divisor, " (", why, ")"));
}

UNetConfig read_unet(const fs::path& path, Mistakes& mistakes) {
    Reader reader(path, mistakes);
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
    must_divide(reader, "block_out_channels", unet.channels, 32, "group norms have 32 groups");
    if (unet.projection_input_dim != 3 * unet.addition_time_embed_dim)
        reader.wrong("projection_class_embeddings_input_dim", cat("must be 3 * addition_time_embed_dim = ", 3 * unet.addition_time_embed_dim));
    if (unet.in_channels != 2 * unet.out_channels) reader.wrong("in_channels", cat("must be 2 * out_channels = ", 2 * unet.out_channels));
    for (std::size_t i = 0; i < levels; ++i)
        if (unet.channels[i] % unet.heads[i] != 0) reader.wrong("num_attention_heads", "must divide block_out_channels level by level");
    return unet;
}

VaeConfig read_vae(const fs::path& path, Mistakes& mistakes) {
    Reader reader(path, mistakes);
    VaeConfig vae;
    const auto levels = std::clamp<std::size_t>(reader.length("block_out_channels", 4), 1, 8);
    reader.levels("block_out_channels", vae.channels, levels);
    reader.whole("layers_per_block", vae.layers);
    reader.whole("latent_channels", vae.latent_channels);
    reader.real("scaling_factor", vae.scaling_factor);
    reader.must_be("in_channels", 3);
    reader.must_be("out_channels", 3);
    must_divide(reader, "block_out_channels", vae.channels, 32, "group norms have 32 groups");
    if (levels != 4) reader.wrong("block_out_channels", "must have four levels: weft's latents are an eighth of the picture, as PoseNet's features are");
    return vae;
}

ClipConfig read_clip(const fs::path& path, Mistakes& mistakes) {
    Reader reader(path, mistakes);
    ClipConfig clip;
    reader.whole("hidden_size", clip.hidden);
    reader.whole("intermediate_size", clip.intermediate);
    reader.whole("num_hidden_layers", clip.layers);
    reader.whole("num_attention_heads", clip.heads);
    reader.whole("patch_size", clip.patch);
    reader.whole("image_size", clip.image);
    reader.whole("projection_dim", clip.projection);
    reader.real("layer_norm_eps", clip.eps);
    reader.must_be("hidden_act", "gelu");
    reader.must_be("num_channels", 3);
    if (clip.hidden % clip.heads != 0) reader.wrong("num_attention_heads", "must divide hidden_size");
    if (clip.image % clip.patch != 0) reader.wrong("patch_size", "must divide image_size");
    return clip;
}

SchedulerConfig read_scheduler(const fs::path& path, Mistakes& mistakes) {
    Reader reader(path, mistakes);
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
    Reader reader(path, mistakes);
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
    config.clip = read_clip(files.base / "image_encoder" / "config.json", mistakes);
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

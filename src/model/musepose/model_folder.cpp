#include "model/musepose/model_folder.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "model/musepose/pose_guider.hpp"
#include "model/musepose/unet.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

#include <algorithm>

namespace weft::model::musepose {

namespace {

/// The published VAE has the attention names of an older library.
std::string old_vae_name(const std::string& key) {
    static const std::array<std::pair<std::string_view, std::string_view>, 4> names{
        {{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}}};
    for (const auto& [now, before] : names)
        if (const auto at = key.find(now); at != std::string::npos) return std::string(key).replace(at, now.size(), before);
    return key;
}

bool has_old_names(const io::WeightFile& vae) {
    return vae.tensors().contains("encoder.mid_block.attentions.0.query.weight");
}

bool of_motion(const std::string& key) {
    return key.find("motion_modules.") != std::string::npos;
}

/// Nothing but the vision tower and its projection is looked at: an older published file holds all of CLIP.
void check_clip(const Config& config, const io::WeightFile& file, Mistakes& mistakes) {
    static const std::vector<std::string> ignored{"embeddings.position_ids"};
    const auto all = keys_of(Part::image_encoder, config);
    for (const std::string prefix : {"vision_model.", "visual_projection."}) {
        std::vector<KeySpec> below;
        for (const auto& spec : all)
            if (spec.key.starts_with(prefix)) below.push_back({spec.key.substr(prefix.size()), spec.shape, spec.needed});
        check_keys(below, file, prefix, ignored, mistakes);
    }
}

std::shared_ptr<const io::WeightFile> open_file(const std::filesystem::path& path, Mistakes& mistakes) {
    if (path.empty()) return nullptr;
    try {
        return std::make_shared<const io::WeightFile>(io::WeightFile::open(path));
    } catch (const Error& error) {
        mistakes.add(error.what());
        return nullptr;
    }
}

}  // namespace

std::string_view part_name(Part part) {
    static constexpr std::array<std::string_view, 5> names{"denoising_unet", "reference_unet", "pose_guider", "vae", "image_encoder"};
    return names.at(static_cast<std::size_t>(part));
}

std::vector<KeySpec> keys_of(Part part, const Config& config) {
    KeyLister lister;
    const Weights root{lister};
    const auto bind_unet = [&](const Units& units) {
        UNetEmbedding embedding(config.unet);
        embedding.bind(root);
        for (const auto& unit : units) unit->bind(root);
    };
    switch (part) {
        case Part::denoiser: bind_unet(make_denoiser(config.unet)); break;
        case Part::reference: bind_unet(make_reference(config.unet)); break;
        case Part::pose_guider: PoseGuider(config.pose_guider, config.unet.channels.front()).bind(root); break;
        case Part::vae: {
            VaeEncoder(config.vae).bind(root);
            VaeDecoder(config.vae, VaeDecoder::Kind::frames).bind(root);
            break;
        }
        case Part::image_encoder: ClipEncoder(config.clip).bind(root); break;
    }
    return lister.take();
}

ModelFolder ModelFolder::open(const std::filesystem::path& folder, Mistakes& mistakes, bool weights) {
    ModelFolder made;
    Mistakes own;
    made.files_ = find_files(folder, weights, own);
    made.config_ = read_config(made.files_, own);
    if (!weights) {
        for (const auto& text : own.texts()) mistakes.add(text);
        return made;
    }
    made.base_ = open_file(made.files_.base, own);
    made.denoising_ = open_file(made.files_.denoising, own);
    made.motion_ = open_file(made.files_.motion, own);
    made.reference_ = open_file(made.files_.reference, own);
    made.pose_guider_ = open_file(made.files_.pose_guider, own);
    made.vae_ = open_file(made.files_.vae, own);
    made.encoder_ = open_file(made.files_.encoder, own);
    if (own.empty()) {
        auto spatial = keys_of(Part::denoiser, made.config_);
        std::vector<KeySpec> motion, from_base;
        std::ranges::copy_if(spatial, std::back_inserter(motion), [](const auto& spec) { return of_motion(spec.key); });
        std::erase_if(spatial, [](const auto& spec) { return of_motion(spec.key); });
        if (made.base_ != nullptr) {
            const auto lacks = [&](const KeySpec& spec) { return !made.denoising_->tensors().contains(spec.key); };
            std::ranges::copy_if(spatial, std::back_inserter(from_base), lacks);
            std::erase_if(spatial, lacks);
        }
        if (!from_base.empty())
            log::warn(cat(made.files_.denoising.string(), " lacks ", from_base.size(), " tensors (", from_base.front().key, " is the first); those of ",
                          made.files_.base.string(), " are taken, as the published program does"));
        // A stored table of positions is rounded, and its length that of the training; it is computed.
        const std::vector<std::string> positions{".pos_encoder.pe"};
        check_keys(spatial, *made.denoising_, "", {}, own);
        if (!from_base.empty()) check_wanted(from_base, *made.base_, "", own);
        check_keys(motion, *made.motion_, "", positions, own);
        check_keys(keys_of(Part::reference, made.config_), *made.reference_, "", {}, own);
        check_keys(keys_of(Part::pose_guider, made.config_), *made.pose_guider_, "", {}, own);
        auto vae = keys_of(Part::vae, made.config_);
        if (has_old_names(*made.vae_))
            for (auto& spec : vae) spec.key = old_vae_name(spec.key);
        check_keys(vae, *made.vae_, "", {}, own);
        check_clip(made.config_, *made.encoder_, own);
    }
    for (const auto& text : own.texts()) mistakes.add(text);
    return made;
}

ModelFolder ModelFolder::random(const Config& config, std::uint64_t seed) {
    ModelFolder made;
    made.config_ = config;
    made.random_ = true;
    made.seed_ = seed;
    return made;
}

std::vector<ModelFolder::File> ModelFolder::files_of(Part part) const {
    switch (part) {
        case Part::denoiser: return {denoising_, motion_, base_};  // the published program loads them the other way round; the last writer wins there
        case Part::reference: return {reference_};
        case Part::pose_guider: return {pose_guider_};
        case Part::vae: return {vae_};
        case Part::image_encoder: return {encoder_};
    }
    return {};
}

std::unique_ptr<WeightSource> ModelFolder::source(Part part, c10::Device device, c10::ScalarType dtype) const {
    if (random_) return std::make_unique<RandomSource>(seed_ * 8 + static_cast<std::uint64_t>(part), device, dtype);
    auto files = files_of(part);
    std::erase(files, nullptr);
    const bool renamed = part == Part::vae && has_old_names(*vae_);
    return std::make_unique<FileSource>(std::move(files), "", device, dtype, renamed ? old_vae_name : nullptr);
}

std::map<std::string, std::string> ModelFolder::digests() const {
    if (random_) return {{"random", cat(seed_)}};
    std::map<std::string, std::string> digests;
    for (const auto& file : {denoising_, motion_, reference_, pose_guider_, vae_, encoder_})
        digests[std::filesystem::relative(file->path(), files_.root).string()] = file->digest();
    for (const char* const config : {"sd-image-variations-diffusers/unet/config.json", "sd-vae-ft-mse/config.json", "image_encoder/config.json"})
        digests[config] = Digest{}.add(read_text(files_.root / config)).hex();
    if (!files_.yaml.empty()) digests["inference_v2.yaml"] = Digest{}.add(read_text(files_.yaml)).hex();
    return digests;
}

}  // namespace weft::model::musepose

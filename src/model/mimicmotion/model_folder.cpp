#include "model/mimicmotion/model_folder.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "model/mimicmotion/pose_net.hpp"
#include "model/mimicmotion/unet.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

namespace weft::model::mimicmotion {

std::string_view part_name(Part part) {
    static constexpr std::array<std::string_view, 4> names{"unet", "pose_net", "vae", "image_encoder"};
    return names.at(static_cast<std::size_t>(part));
}

std::string_view part_prefix(Part part) {
    static constexpr std::array<std::string_view, 4> prefixes{"unet.", "pose_net.", "", ""};
    return prefixes.at(static_cast<std::size_t>(part));
}

std::vector<KeySpec> keys_of(Part part, const Config& config) {
    KeyLister lister;
    const Weights root{lister};
    switch (part) {
        case Part::unet: {
            UNetEmbedding embedding(config.unet);
            embedding.bind(root);
            for (const auto& unit : make_unet(config.unet)) unit->bind(root);
            break;
        }
        case Part::pose_net: PoseNet(config.unet.channels.front()).bind(root); break;
        case Part::vae: {
            VaeEncoder(config.vae).bind(root);
            VaeDecoder(config.vae, VaeDecoder::Kind::temporal).bind(root);
            break;
        }
        case Part::image_encoder: ClipEncoder(config.clip).bind(root); break;
    }
    return lister.take();
}

namespace {
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

ModelFolder ModelFolder::open(const std::filesystem::path& folder, Mistakes& mistakes, bool weights) {
    ModelFolder made;
    Mistakes own;
    made.files_ = find_files(folder, weights, own);
    made.config_ = read_config(made.files_, own);
    if (!weights) {
        for (const auto& text : own.texts()) mistakes.add(text);
        return made;
    }
    made.pth_ = open_file(made.files_.pth, own);
    made.vae_ = open_file(made.files_.vae, own);
    made.encoder_ = open_file(made.files_.encoder, own);
    if (own.empty()) {
        static const std::vector<std::string> ignored{"embeddings.position_ids"};
        for (const auto part : {Part::unet, Part::pose_net}) check_keys(keys_of(part, made.config_), *made.pth_, std::string(part_prefix(part)), {}, own);
        for (const auto& [name, stored] : made.pth_->tensors())
            if (!name.starts_with(part_prefix(Part::unet)) && !name.starts_with(part_prefix(Part::pose_net)))
                own.add(cat(made.files_.pth.string(), ": key ", name, " is surplus: it begins neither with unet. nor with pose_net."));
        check_keys(keys_of(Part::vae, made.config_), *made.vae_, "", {}, own);
        check_keys(keys_of(Part::image_encoder, made.config_), *made.encoder_, "", ignored, own);
    }
    for (const auto& text : own.texts()) mistakes.add(text);
    return made;
}

ModelFolder ModelFolder::random(const Config& config, std::uint64_t seed) {
    ModelFolder made;
    made.config_ = config;
    made.seed_ = seed;
    return made;
}

std::unique_ptr<WeightSource> ModelFolder::source(Part part, c10::Device device, c10::ScalarType dtype) const {
    if (!pth_) return std::make_unique<RandomSource>(seed_ * 4 + static_cast<std::uint64_t>(part), device, dtype);
    const auto& file = part == Part::vae ? vae_ : part == Part::image_encoder ? encoder_ : pth_;
    return std::make_unique<FileSource>(file, std::string(part_prefix(part)), device, dtype);
}

std::map<std::string, std::string> ModelFolder::digests() const {
    if (!pth_) return {{"random", cat(seed_)}};
    std::map<std::string, std::string> digests;
    for (const auto& file : {pth_, vae_, encoder_}) digests[file->path().filename().string()] = file->digest();
    for (const char* const config :
         {"unet/config.json", "vae/config.json", "image_encoder/config.json", "scheduler/scheduler_config.json", "feature_extractor/preprocessor_config.json"})
        if (std::filesystem::exists(files_.base / config)) digests[config] = Digest{}.add(read_text(files_.base / config)).hex();
    return digests;
}

}  // namespace weft::model::mimicmotion

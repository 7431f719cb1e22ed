#include "model/networks/model_folder.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>

namespace weft::model {

namespace {

/// The VAE's attention was named otherwise by an older library, whose files are still the published ones.
std::string old_vae_name(const std::string& key) {
    static const std::array<std::pair<std::string_view, std::string_view>, 4> names{
        {{".to_q.", ".query."}, {".to_k.", ".key."}, {".to_v.", ".value."}, {".to_out.0.", ".proj_attn."}}};
    for (const auto& [now, before] : names)
        if (const auto at = key.find(now); at != std::string::npos) return std::string(key).replace(at, now.size(), before);
    return key;
}

FileSource::Rename names_in(const PartFiles& part, const io::WeightFile& file) {
    return part.part == Part::vae && file.tensors().contains("encoder.mid_block.attentions.0.query.weight") ? old_vae_name : nullptr;
}

/// Which of the part's files a key belongs into.
std::ptrdiff_t home_of(const PartFiles& part, const std::string& key) {
    const auto has = [&](const PartFile& file) { return !file.holds.empty() && key.find(file.holds) != std::string::npos; };
    const auto found = std::ranges::find_if(part.files, has);
    const auto rest = std::ranges::find_if(part.files, [](const PartFile& file) { return file.holds.empty(); });
    return (found != part.files.end() ? found : rest) - part.files.begin();
}

std::shared_ptr<const io::WeightFile> open_file(const std::filesystem::path& path, Mistakes& mistakes) {
    try {
        return std::make_shared<const io::WeightFile>(io::WeightFile::open(path));
    } catch (const Error& error) {
        mistakes.add(error.what());
        return nullptr;
    }
}

}  // namespace

PartFiles image_encoder_in(const std::string& file) {
    return {Part::image_encoder,
            "image_encoder",
            "",
            {{.name = file, .holds = "", .fallback = "", .ignored = {"embeddings.position_ids", "text_model.", "text_projection.", "logit_scale"}}}};
}

bool is_folder(const std::filesystem::path& path, Mistakes& mistakes) {
    std::error_code unreadable;
    if (std::filesystem::is_directory(path, unreadable)) return true;
    mistakes.add("model.path", in_quotes(path.string()), "is not a folder", "name the folder with the published files, or \"random\"");
    return false;
}

void check_fit(const UNetConfig& unet, const VaeConfig& vae, const ClipConfig& clip, const ConfigFiles& files) {
    if (!files.reading() || !files.mistakes().empty()) return;
    if (unet.out_channels != vae.latent_channels)
        files.mistakes().add(
            cat("model.path: the UNet's out_channels = ", unet.out_channels, " and the VAE's latent_channels = ", vae.latent_channels, " must be equal"));
    if (unet.cross_attention_dim != clip.projection)
        files.mistakes().add(cat("model.path: the UNet's cross_attention_dim = ", unet.cross_attention_dim,
                                 " and the image encoder's projection_dim = ", clip.projection, " must be equal"));
}

const PartFiles& ModelFolder::files_of(Part part) const {
    const auto found = std::ranges::find(parts_, part, &PartFiles::part);
    ensure(found != parts_.end(), "a part of the model is one that its family has");
    return *found;
}

std::vector<ModelFolder::Expected> ModelFolder::expected_in(const std::string& name) const {
    std::vector<Expected> all;
    for (const auto& part : parts_) {
        const auto file = std::ranges::find(part.files, name, &PartFile::name);
        if (file == part.files.end()) continue;
        Expected expected{&part, &*file, {}};
        std::ranges::copy_if(networks_.keys(part.part), std::back_inserter(expected.keys),
                             [&](const KeySpec& key) { return home_of(part, key.key) == file - part.files.begin(); });
        all.push_back(std::move(expected));
    }
    return all;
}

void ModelFolder::open_weights(Mistakes& mistakes) {
    for (const auto& part : parts_)
        for (const auto& file : part.files)
            if (!opened_.contains(file.name)) opened_[file.name] = open_file(files_.at(file.name), mistakes);
    const auto published = opened_;  // fallbacks come to them
    for (const auto& [name, file] : published)
        if (file != nullptr) check_file(name, *file, mistakes);
}

void ModelFolder::check_file(const std::string& name, const io::WeightFile& file, Mistakes& mistakes) {
    std::vector<KeySpec> wanted;
    std::vector<std::string> ignored;
    for (const auto& expected : expected_in(name)) {
        const auto& prefix = expected.part->prefix;
        const auto rename = names_in(*expected.part, file);
        auto keys = expected.keys;
        for (auto& spec : keys) spec.key = prefix + (rename != nullptr ? rename(spec.key) : spec.key);
        if (!expected.file->fallback.empty()) take_from_fallback(expected, keys, file, mistakes);
        wanted.insert(wanted.end(), keys.begin(), keys.end());
        ignored.insert(ignored.end(), expected.file->ignored.begin(), expected.file->ignored.end());
    }
    check_keys(wanted, file, ignored, mistakes);
}

void ModelFolder::take_from_fallback(const Expected& expected, std::vector<KeySpec>& keys, const io::WeightFile& file, Mistakes& mistakes) {
    const auto& name = expected.file->fallback;
    const auto lacks = [&](const KeySpec& spec) { return !file.tensors().contains(spec.key); };
    std::vector<KeySpec> lacking;
    std::ranges::copy_if(keys, std::back_inserter(lacking), lacks);
    if (lacking.empty() || lacking.size() == keys.size() || files_.at(name).empty()) return;
    opened_[name] = open_file(files_.at(name), mistakes);
    if (opened_[name] == nullptr) return;
    std::erase_if(keys, lacks);
    check_wanted(lacking, *opened_[name], mistakes);
    log::warn(cat(file.path().string(), " lacks ", lacking.size(), " tensors (", lacking.front().key, " is the first); those of ", files_.at(name).string(),
                  " are taken, as the published program does"));
}

std::unique_ptr<WeightSource> ModelFolder::source(Part part, c10::Device device, c10::ScalarType dtype) const {
    if (opened_.empty()) return std::make_unique<RandomSource>(seed_ * 8 + static_cast<std::uint64_t>(part), device, dtype);
    const auto& where = files_of(part);
    std::vector<File> files;
    for (const auto& file : where.files) files.push_back(opened_.at(file.name));
    for (const auto& file : where.files)
        if (const auto fallback = opened_.find(file.fallback); fallback != opened_.end()) files.push_back(fallback->second);
    const auto rename = names_in(where, *files.front());
    return std::make_unique<FileSource>(std::move(files), where.prefix, device, dtype, rename);
}

std::map<std::string, std::string> ModelFolder::digests() const {
    if (opened_.empty()) return {{"random", cat(seed_)}};
    std::map<std::string, std::string> digests;
    for (const auto& [name, path] : files_) {
        // By the name that the file has, of which several may be allowed: people read it where digests differ.
        const auto shown = (std::filesystem::path(name).parent_path() / path.filename()).string();
        const auto weights = opened_.find(name);
        if (weights != opened_.end())
            digests[shown] = weights->second->digest();
        else if (!path.empty() && std::filesystem::exists(path))
            digests[shown] = Digest{}.add(read_text(path)).hex();
    }
    return digests;
}

}  // namespace weft::model

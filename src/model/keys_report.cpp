#include "model/keys_report.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/model_folder.hpp"
#include "model/musepose/model_folder.hpp"

namespace weft::model {

namespace {

/// The lines of one part; `prefix`: how its keys begin in its file.
std::string listing_of(std::string_view part, std::string_view prefix, const std::vector<KeySpec>& keys, const std::filesystem::path& file) {
    std::string text;
    std::int64_t elements = 0;
    for (const auto& key : keys) {
        text += cat(prefix, key.key, "\t", join(key.shape, ","), "\t", key.elements(), "\n");
        elements += key.elements();
    }
    return text + cat("# ", part, ": ", keys.size(), " keys, ", elements, " elements, ", file.empty() ? std::string{"no weight file"} : file.string(), "\n");
}

KeysReport report_mimicmotion(const std::filesystem::path& folder) {
    using namespace mimicmotion;
    KeysReport report;
    Mistakes mistakes;
    const auto files = find_files(folder, /*weights=*/false, mistakes);
    const auto config = read_config(files, mistakes);
    mistakes.throw_if_any(cat(folder.string(), ": the keys follow from the config files, and these have mistakes:"));
    for (const auto part : all_parts) {
        const auto& path = part == Part::vae ? files.vae : part == Part::image_encoder ? files.encoder : files.pth;
        report.listing += listing_of(part_name(part), part_prefix(part), keys_of(part, config), path);
    }
    if (!files.pth.empty() && !files.vae.empty() && !files.encoder.empty()) static_cast<void>(ModelFolder::open(folder, report.mistakes));
    return report;
}

KeysReport report_musepose(const std::filesystem::path& folder) {
    using namespace musepose;
    KeysReport report;
    Mistakes mistakes;
    const auto files = find_files(folder, /*weights=*/false, mistakes);
    const auto config = read_config(files, mistakes);
    mistakes.throw_if_any(cat(folder.string(), ": the keys follow from the config files, and these have mistakes:"));
    const std::array<std::filesystem::path, all_parts.size()> paths{files.denoising, files.reference, files.pose_guider, files.vae, files.encoder};
    bool all_there = !files.motion.empty();
    for (std::size_t i = 0; i < all_parts.size(); ++i) {
        report.listing += listing_of(part_name(all_parts[i]), "", keys_of(all_parts[i], config), paths[i]);
        all_there = all_there && !paths[i].empty();
    }
    if (all_there) static_cast<void>(ModelFolder::open(folder, report.mistakes));
    return report;
}

}  // namespace

KeysReport report_keys(const std::filesystem::path& folder) {
    const bool musepose = std::filesystem::exists(folder / "pretrained_weights") || std::filesystem::exists(folder / "sd-vae-ft-mse");
    return musepose ? report_musepose(folder) : report_mimicmotion(folder);
}

}  // namespace weft::model

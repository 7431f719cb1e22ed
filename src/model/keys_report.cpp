#include "model/keys_report.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/musepose/config.hpp"

#include <algorithm>

namespace weft::model {

namespace {

std::string listing_of(const ModelFolder& folder, const PartFiles& part) {
    const auto keys = folder.networks().keys(part.part);
    std::string text;
    std::int64_t elements = 0;
    for (const auto& key : keys) {
        text += cat(part.prefix, key.key, "\t", join(key.shape, ","), "\t", key.elements(), "\n");
        elements += key.elements();
    }
    std::vector<std::string> paths;
    for (const auto& file : part.files)
        if (const auto& path = folder.files().at(file.name); !path.empty()) paths.push_back(path.string());
    return text +
           cat("# ", part.name, ": ", keys.size(), " keys, ", elements, " elements, ", paths.empty() ? std::string{"no weight file"} : join(paths, ", "), "\n");
}

template <class Config>
KeysReport report_of(const std::filesystem::path& path) {
    KeysReport report;
    Mistakes mistakes;
    const auto folder = FolderOf<Config>::open(path, mistakes, /*weights=*/false);
    mistakes.throw_if_any(cat(path.string(), ": the keys follow from the config files, and these have mistakes:"));
    bool all_there = true;
    for (const auto& part : folder.parts()) {
        report.listing += listing_of(folder, part);
        for (const auto& file : part.files) all_there = all_there && !folder.files().at(file.name).empty();
    }
    if (all_there) static_cast<void>(FolderOf<Config>::open(path, report.mistakes));
    return report;
}

}  // namespace

KeysReport report_keys(const std::filesystem::path& folder) {
    const bool musepose = std::filesystem::exists(folder / "pretrained_weights") || std::filesystem::exists(folder / "sd-vae-ft-mse");
    return musepose ? report_of<musepose::Config>(folder) : report_of<mimicmotion::Config>(folder);
}

}  // namespace weft::model

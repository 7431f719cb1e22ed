#include "model/keys_report.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/model_folder.hpp"

namespace weft::model {

KeysReport report_keys(const std::filesystem::path& folder) {
    using namespace mimicmotion;
    KeysReport report;
    Mistakes mistakes;
    const auto files = find_files(folder, /*weights=*/false, mistakes);
    const auto config = read_config(files, mistakes);
    mistakes.throw_if_any(cat(folder.string(), ": the keys follow from the config files, and these have mistakes:"));
    for (const auto part : all_parts) {
        std::int64_t elements = 0;
        const auto keys = keys_of(part, config);
        for (const auto& key : keys) {
            report.listing += cat(part_prefix(part), key.key, "\t", join(key.shape, ","), "\t", key.elements(), "\n");
            elements += key.elements();
        }
        const auto& path = part == Part::vae ? files.vae : part == Part::image_encoder ? files.encoder : files.pth;
        report.listing += cat("# ", part_name(part), ": ", keys.size(), " keys, ", elements, " elements, ",
                              path.empty() ? std::string{"no weight file"} : path.string(), "\n");
    }
    if (!files.pth.empty() && !files.vae.empty() && !files.encoder.empty()) static_cast<void>(ModelFolder::open(folder, report.mistakes));
    return report;
}

}  // namespace weft::model

#include "model/open_model.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/musepose/musepose.hpp"
#include "model/networks/folder_model.hpp"

#include <filesystem>
#include <optional>

namespace weft::model {

namespace {
namespace fs = std::filesystem;

/// Whose files a folder holds, as far as names tell; nothing where they are nobody's or both families'.
std::optional<FamilyName> family_in(const fs::path& folder) {
    std::error_code unreadable;
    bool mimicmotion = false, musepose = false;
    for (const auto& entry : fs::directory_iterator(folder, unreadable)) {
        const auto name = entry.path().filename().string();
        mimicmotion = mimicmotion || (name.starts_with("MimicMotion") && name.ends_with(".pth"));
        musepose = musepose || name == "pretrained_weights" || name == "MusePose" || name == "sd-vae-ft-mse";
    }
    if (mimicmotion == musepose) return std::nullopt;
    return musepose ? FamilyName::musepose : FamilyName::mimicmotion;
}

/// Said instead of all the files that the one family misses among the other's.
bool is_of_the_other_family(const Settings& settings, Mistakes& mistakes) {
    if (settings.model.path == "random") return false;
    const auto folder = settings.input_path(settings.model.path);
    const auto held = family_in(folder);
    if (!held || *held == settings.model.family) return false;
    const bool musepose = *held == FamilyName::musepose;
    mistakes.add("model.family", musepose ? "\"mimicmotion\"" : "\"musepose\"",
                 cat("model.path = ", in_quotes(folder.string()), " holds the files of ", musepose ? "MusePose" : "MimicMotion"),
                 musepose ? "use model.family = \"musepose\", or name another folder" : "use model.family = \"mimicmotion\", or name another folder");
    return true;
}
}  // namespace

std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need) {
    if (is_of_the_other_family(settings, mistakes)) return nullptr;
    const bool weights = need == Need::weights;
    switch (settings.model.family) {
        case FamilyName::mimicmotion: return open_folder<mimicmotion::Config>(settings, mistakes, weights, mimicmotion::for_clip);
        case FamilyName::musepose: return open_folder<musepose::Config>(settings, mistakes, weights, musepose::for_clip);
    }
    return nullptr;
}

plan::PassShape pass_shape_of(const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype, double flops_per_second,
                              Mistakes& mistakes) {
    const auto model = open_model(settings, mistakes, Need::configs);
    if (model == nullptr) return {};
    return model->pass_layout(settings, num_slots, chunks_for(kind), dtype, flops_per_second > 0 ? flops_per_second : assumed_flops_per_second(kind, dtype))
        .shape;
}

}  // namespace weft::model

#pragma once
#include "model/model.hpp"
#include "model/networks/unet_family.hpp"

#include <utility>

namespace weft::model {

/// A Model over the ModelFolder of a family: what its sizes, layouts and clips have in common.
template <class Folder>
class FolderModel : public Model {
  public:
    explicit FolderModel(Folder folder) : folder_{std::move(folder)} {}

    std::map<std::string, std::string> digests() const final { return folder_.digests(); }

    PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype, double flops_per_second) const final {
        ClipForm form;
        form.height = settings.video.height;
        form.width = settings.video.width;
        form.slice_length = num_slots;
        form.dtype = dtype;
        return lay_out_pass(folder_.config(), form.pass_size(), chunks_for(kind), flops_per_second);  // the family's own
    }

  protected:
    template <class Part>
    [[nodiscard]] std::int64_t elements(Part part) const {
        std::int64_t sum = 0;
        for (const auto& key : keys_of(part, folder_.config()))
            if (key.needed) sum += key.elements();
        return sum;
    }

    /// The half of a clip's settings that all families have.
    static void fill(ClipForm& form, const Settings& s, const plan::Plan& plan, const ComputeDevice& device) {
        form.height = s.video.height;
        form.width = s.video.width;
        form.slice_length = static_cast<std::int64_t>(plan.slices.front().frames.size());
        form.steps = s.sampling.steps;
        form.seed = s.sampling.seed;
        form.dtype = resolve_dtype(s.model.dtype, device, "model.dtype");
        form.decode_dtype = resolve_dtype(s.decode.dtype, device, "decode.dtype");
        form.chunks = chunks_for(device);
        form.flops_per_second = assumed_flops_per_second(device.torch.type(), form.dtype);
    }

    Folder folder_;
};

/// Opens the folder that the settings name, or noise in place of it; nothing where there are mistakes.
template <class OpenModel, class Folder>
[[nodiscard]] std::unique_ptr<Model> open_folder(const Settings& settings, Mistakes& mistakes, Need need) {
    if (settings.model.path == "random") return std::make_unique<OpenModel>(Folder::random({}));
    const auto before = mistakes.texts().size();
    auto folder = Folder::open(settings.input_path(settings.model.path), mistakes, need == Need::weights);
    if (mistakes.texts().size() != before) return nullptr;
    return std::make_unique<OpenModel>(std::move(folder));
}

}  // namespace weft::model

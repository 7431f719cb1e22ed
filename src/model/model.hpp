#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"
#include "model/family.hpp"
#include "plan/plan.hpp"

#include <map>
#include <memory>
#include <string>

namespace weft::model {

/// What follows from the config files alone.
struct ModelSizes {
    plan::ModelShape shape;
    /// Elements of the weights that each phase needs at once.
    std::int64_t encode_elements = 0;
    std::int64_t denoise_elements = 0;
    std::int64_t decode_elements = 0;
};

/// The files of a model of some family, opened and checked; no weights are loaded yet.
class Model {
  public:
    virtual ~Model() = default;

    [[nodiscard]] virtual ModelSizes sizes() const = 0;

    /// File name -> hash of content. Reads every page of the files.
    [[nodiscard]] virtual std::map<std::string, std::string> digests() const = 0;

    /// The family set up for one clip. `maps` gives the clip's pose maps.
    [[nodiscard]] virtual std::unique_ptr<Family> for_clip(const Settings& settings, const plan::Plan& plan, const ComputeDevice& device,
                                                           PoseMaps maps) const = 0;
};

/// Opens `model.path` as the family that the settings name; what is wrong goes to `mistakes`, and nothing is returned then.
[[nodiscard]] std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes);

/// Sizes of the model at `model.path` from its config files, weights or not; mistakes in them go to `mistakes`.
[[nodiscard]] ModelSizes sizes_of(const Settings& settings, Mistakes& mistakes);

/// Bytes of the weights that the most demanding phase needs at once, in the types that the settings give on `device`.
[[nodiscard]] std::int64_t weight_bytes(const ModelSizes& sizes, const Settings& settings, const ComputeDevice& device);

/// Chunk sizes by kind of device: the table that design.md section 8 speaks of.
[[nodiscard]] Chunks chunks_for(const ComputeDevice& device);

}  // namespace weft::model

#pragma once
#include "base/error.hpp"
#include "base/settings.hpp"
#include "model/model.hpp"

#include <memory>

namespace weft::model {

enum class Need { configs, weights };

/// Opens `model.path` as the family that the settings name; what is wrong goes to `mistakes`, and nothing is returned then.
[[nodiscard]] std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need = Need::weights);

/// The shape of a pass of the model that the settings name, from its config files alone. `flops_per_second` 0: what is assumed. Mistakes in the files go to
/// `mistakes`, and the shape is empty then.
[[nodiscard]] plan::PassShape pass_shape_of(const Settings& settings, std::int64_t num_slots, c10::DeviceType kind, c10::ScalarType dtype,
                                            double flops_per_second, Mistakes& mistakes);

}  // namespace weft::model

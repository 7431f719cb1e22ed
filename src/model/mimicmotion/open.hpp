#pragma once
#include "model/model.hpp"

namespace weft::model::mimicmotion {

/// See model::open_model.
[[nodiscard]] std::unique_ptr<Model> open_model(const Settings& settings, Mistakes& mistakes, Need need);

}  // namespace weft::model::mimicmotion

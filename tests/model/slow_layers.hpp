#pragma once
#include "model/unit.hpp"
#include "support/golden.hpp"

namespace weft::model::mimicmotion {

/// One call of each network with the inputs of case `layers`: all modules' results by published name. What units fuse is computed apart, from the
/// same layers.
[[nodiscard]] golden::Tensors run_layers(const golden::Case& wanted, const Chunks& chunks, const golden::Where& where = {});

}  // namespace weft::model::mimicmotion

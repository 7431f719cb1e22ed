#pragma once
#include "support/golden.hpp"

namespace weft::model::mimicmotion {

/// A pipeline case's whole job as the published program writes it down: one slice after the other, frame by frame, in plain loops over the
/// family's own functions. All tensors that such a case records, by name.
[[nodiscard]] golden::Tensors run_slowly(const golden::Case& wanted, const golden::Where& where = {});

}  // namespace weft::model::mimicmotion

#pragma once
#include "support/golden.hpp"

namespace weft::model::musepose {

/// The whole job of a case, window after window, with everything that the case records of what weft computes.
[[nodiscard]] golden::Tensors run_slowly(const golden::Case& wanted, const golden::Where& where = {});

}  // namespace weft::model::musepose

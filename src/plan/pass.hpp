#pragma once
#include "plan/shape.hpp"

#include <cstdint>
#include <string>

namespace weft::plan {

enum class Branch : int { unconditional = 0, conditional = 1 };

/// One evaluation of the denoiser.
struct Pass {
    std::int64_t step = 0;
    std::int64_t slice = 0;
    Branch branch = Branch::conditional;
    [[nodiscard]] auto operator<=>(const Pass&) const = default;
};

/// The one currency of the plan: some pieces of a pass, on a rank.
struct Task {
    Pass pass;
    PieceRange pieces;
    int rank = 0;
    std::int64_t slot = 0;  ///< of its route, which the pass holds from its first piece to its last
};

/// "step 4, slice 2, conditional": steps and slices counted from 1, as people do.
[[nodiscard]] std::string describe(const Pass& pass);

}  // namespace weft::plan

#pragma once
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

/// Half open, over the denoiser's units in running order.
struct UnitRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    [[nodiscard]] bool operator==(const UnitRange&) const = default;
};

/// The one currency of the plan: some units of a pass, on a rank.
struct Task {
    Pass pass;
    UnitRange units;
    int rank = 0;
};

/// "step 4, slice 2, conditional": steps and slices counted from 1, as people do.
[[nodiscard]] std::string describe(const Pass& pass);

}  // namespace weft::plan

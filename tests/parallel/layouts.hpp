#pragma once
#include "app/small_job.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::test {

/// A layout as settings on so many ranks.
struct LaidOut {
    int ranks = 1;
    Words sets;
    [[nodiscard]] std::string name() const;
};

/// Cut passes on 3, 5, 6, 7 ranks; 2, 3, 4, 7 stages, straight and folded; groups of stages 2x2 and 3x2.
[[nodiscard]] std::vector<LaidOut> usual_layouts();

/// Twenty maps of 2, 3, 4, 7 stages with random borders and owners, for passes of so many pieces.
[[nodiscard]] std::vector<LaidOut> random_layouts(std::int64_t num_pieces);

}  // namespace weft::test

#include "parallel/layouts.hpp"

#include "base/text.hpp"
#include "plan/sample_plans.hpp"

#include <array>

namespace weft::test {

std::string LaidOut::name() const {
    return cat(ranks, " ranks, ", join(sets));
}

namespace {
LaidOut stages(int ranks, int num_stages, const std::string& map) {
    return {ranks, {"layout.kind=stages", cat("layout.stages=", num_stages), cat("layout.map=", in_quotes(map))}};
}
}  // namespace

std::vector<LaidOut> usual_layouts() {
    std::vector<LaidOut> layouts;
    for (const int ranks : {3, 5, 6, 7}) layouts.push_back({ranks, {"layout.kind=cut"}});
    for (const int ranks : {2, 3, 4, 7})
        for (const char* const map : {"straight", "folded"}) layouts.push_back(stages(ranks, ranks, map));
    layouts.push_back(stages(4, 2, "folded"));
    layouts.push_back(stages(6, 2, "straight"));
    layouts.push_back(stages(6, 3, "straight"));
    return layouts;
}

std::vector<LaidOut> random_layouts(std::int64_t num_pieces) {
    std::vector<LaidOut> layouts;
    const auto shape = plan::plain_shape(num_pieces);
    for (unsigned seed = 0; seed < 20; ++seed) {
        const int num_stages = std::array{2, 3, 4, 7}[seed % 4];
        layouts.push_back(stages(num_stages, num_stages, plan::random_map(shape, num_stages, seed)));
    }
    return layouts;
}

}  // namespace weft::test

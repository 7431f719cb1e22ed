#include "base/text.hpp"
#include "model/slow_layers.hpp"

#include <gtest/gtest.h>

namespace weft::model::mimicmotion {
namespace {

/// All modules of one call of each network, with whole tensors at a time and with chunks of a frame and of a few pixels.
class GoldenLayers : public testing::TestWithParam<Chunks> {};

TEST_P(GoldenLayers, AsRecorded) {
    const auto wanted = golden::read_case("layers");
    golden::expect_as_recorded(wanted, run_layers(wanted, GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Chunks, GoldenLayers, testing::Values(Chunks{}, Chunks{64, 32}, Chunks{256, 100}),
                         [](const auto& row) { return cat("Rows", row.param.frame_rows, "And", row.param.pixel_rows); });

}  // namespace
}  // namespace weft::model::mimicmotion

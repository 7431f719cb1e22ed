#include "model/layers/layers.hpp"
#include "base/text.hpp"
#include "model/slow_layers.hpp"

#include <ATen/ATen.h>

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

/// What GPUs compute fp32 convolutions with, on the CPU.
TEST(ConvByProducts, AgreesWithTorchs) {
    at::manual_seed(1);
    const auto agrees = [](std::int64_t kernel_y, std::int64_t kernel_x, std::int64_t stride, std::int64_t padding_y, std::int64_t padding_x) {
        const Conv2d conv{at::randn({7, 5, kernel_y, kernel_x}).contiguous(at::MemoryFormat::ChannelsLast), at::randn({7}), stride, padding_y, padding_x};
        const auto x = at::randn({3, 9, 12, 5});
        const auto wanted = conv2d(x, conv);
        const auto got = conv2d_by_products(x, conv, conv.bias);
        ASSERT_EQ(got.sizes(), wanted.sizes());
        EXPECT_LT(golden::relative_error(wanted, got), 1e-6) << kernel_y << "x" << kernel_x << ", stride " << stride;
    };
    agrees(3, 3, 1, 1, 1);
    agrees(3, 3, 2, 1, 1);
    agrees(3, 3, 2, 0, 0);
    agrees(3, 1, 1, 1, 0);
    agrees(1, 1, 1, 0, 0);
    agrees(4, 4, 2, 1, 1);
}

}  // namespace
}  // namespace weft::model::mimicmotion

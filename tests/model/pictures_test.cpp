#include "model/pictures.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model {
namespace {

TEST(Pictures, RoundTripLowersOneTo63ByOne) {
    const auto bytes = at::arange(256, at::kByte);
    const auto after = truncated_round_trip(bytes);
    for (std::int64_t value = 0; value < 256; ++value) EXPECT_EQ(after[value].item<int>(), value >= 1 && value <= 63 ? value - 1 : value);
}

TEST(Pictures, BytesAreTruncated) {
    EXPECT_TRUE(at::equal(to_bytes(at::tensor({0.0F, 0.999F / 255, 1.0F / 255, 254.9F / 255, 1.0F})), at::tensor({0, 0, 1, 254, 255}, at::kByte)));
}

/// A ramp from left to right: a crop shows which columns were kept.
at::Tensor ramp(std::int64_t height, std::int64_t width) {
    return at::arange(width, at::kByte).view({1, width, 1}).expand({height, width, 3}).contiguous();
}

TEST(Pictures, CoverCropsTheCentre) {
    EXPECT_TRUE(at::equal(cover_bilinear(ramp(64, 96), 64, 64), ramp(64, 96).narrow(1, 16, 64)));
    EXPECT_TRUE(at::equal(cover_bilinear(ramp(96, 64), 64, 64), ramp(64, 64)));
    EXPECT_TRUE(at::equal(cover_bilinear(ramp(64, 64), 64, 64), ramp(64, 64)));
}

/// Half a column too much is rounded to the even side, as Python's round does: 1.5 to 2, 0.5 to 0.
TEST(Pictures, HalfColumnsRoundToEven) {
    EXPECT_TRUE(at::equal(cover_bilinear(ramp(64, 67), 64, 64), ramp(64, 67).narrow(1, 2, 64)));
    EXPECT_TRUE(at::equal(cover_bilinear(ramp(64, 65), 64, 64), ramp(64, 65).narrow(1, 0, 64)));
}

TEST(Pictures, CoverScalesUpToFit) {
    const auto small = at::full({5, 7, 3}, 200, at::kByte);
    for (const auto& [height, width] : {std::pair{64, 64}, {64, 128}, {128, 64}})
        EXPECT_TRUE(at::equal(cover_bilinear(small, height, width), at::full({height, width, 3}, 200, at::kByte)));
}

}  // namespace
}  // namespace weft::model

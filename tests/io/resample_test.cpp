#include "io/resample.hpp"

#include <gtest/gtest.h>

namespace weft::io {
namespace {

Picture row_of(std::vector<std::uint8_t> greys) {
    Picture picture{.width = static_cast<int>(greys.size()), .height = 1, .rgb = {}};
    for (const auto grey : greys) picture.rgb.insert(picture.rgb.end(), 3, grey);
    return picture;
}

std::vector<int> greys_of(const Picture& picture) {
    std::vector<int> greys;
    for (std::size_t i = 0; i < picture.rgb.size(); i += 3) greys.push_back(picture.rgb[i]);
    return greys;
}

}  // namespace

/// The bytes that Pillow 13 gives (Image.resize); larger pictures stand in the golden data.
TEST(Resample, GivesPillowsBytes) {
    const auto ramp = row_of({0, 10, 200, 255, 3, 77});
    EXPECT_EQ(greys_of(resample(ramp, 3, 1, Filter::bilinear)), (std::vector<int>{33, 172, 71}));
    EXPECT_EQ(greys_of(resample(ramp, 4, 1, Filter::bicubic)), (std::vector<int>{0, 150, 173, 40}));
    EXPECT_EQ(greys_of(resample(ramp, 9, 1, Filter::lanczos)), (std::vector<int>{4, 0, 33, 166, 255, 220, 30, 17, 91}));
}

TEST(Resample, OfEqualSizeIsACopy) {
    const auto ramp = row_of({0, 10, 200});
    EXPECT_EQ(resample(ramp, 3, 1, Filter::lanczos), ramp);
}

}  // namespace weft::io

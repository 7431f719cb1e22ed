#include "base/text.hpp"

#include <gtest/gtest.h>

namespace weft {

TEST(Text, BytesAreWrittenWithTheNearestBinaryUnit) {
    EXPECT_EQ(human_bytes(0), "0 B");
    EXPECT_EQ(human_bytes(1536), "1.5 KiB");
    EXPECT_EQ(human_bytes(std::int64_t{5} << 30), "5.0 GiB");
}

TEST(Text, SecondsBecomeMinutesAndHours) {
    EXPECT_EQ(human_seconds(0.424), "0.42 s");
    EXPECT_EQ(human_seconds(185), "3 min 05 s");
    EXPECT_EQ(human_seconds(7380), "2 h 03 min");
}

TEST(Text, TheNearestWordIsFoundAndNothingFarAway) {
    const std::vector<std::string> known{"sampling.steps", "sampling.seed", "video.width"};
    EXPECT_EQ(nearest("sampling.step", known), "sampling.steps");
    EXPECT_EQ(nearest("vidoe.width", known), "video.width");
    EXPECT_EQ(nearest("qqq", known), "");
}

}  // namespace weft

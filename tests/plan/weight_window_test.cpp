#include "plan/weight_window.hpp"

#include <gmock/gmock.h>

#include <array>

namespace weft::plan {
namespace {

using testing::ElementsAre;

/// Weights of 10, 20, 30 and 40 bytes; 5 more while the third one's are taken.
PassShape shape_of_four() {
    auto shape = plain_shape(4);
    for (std::size_t unit = 0; unit < 4; ++unit) shape.units[unit].weight_bytes = 10 * static_cast<std::int64_t>(unit + 1);
    shape.units[2].bind_bytes = 5;
    return shape;
}

const std::vector<bool> all(4, true);

TEST(WeightWindow, OfTheLeastBytesLetsEveryUnitRunWithTheNextOneAtHand) {
    const auto window = weight_window(shape_of_four(), all, std::array<std::int64_t, 4>{}, 0, Pool::apart);
    EXPECT_THAT(window.room, ElementsAre(70, 70, 70, 70));
    EXPECT_THAT(window.held_bytes(), ElementsAre(10 + 20 + 30 + 5, 20 + 30 + 5, 30 + 40, 40 + 10 + 20));
}

TEST(WeightWindow, FillsWhatAUnitsOwnTensorsLeaveOfOneMemory) {
    const std::array<std::int64_t, 4> beside{100, 0, 0, 0};
    const auto window = weight_window(shape_of_four(), all, beside, 30, Pool::shared);
    EXPECT_THAT(window.room, ElementsAre(30, 130, 130, 130));
    // The second and third together are too much beside the first; the first of the next pass then holds back what is behind it.
    EXPECT_THAT(window.held_bytes(), ElementsAre(10 + 20, 20 + 30 + 40 + 10, 30 + 40 + 10 + 20, 40 + 10 + 20));
    const auto apart = weight_window(shape_of_four(), all, beside, 75, Pool::apart);
    EXPECT_THAT(apart.room, ElementsAre(75, 75, 75, 75));
}

TEST(WeightWindow, LeavesOutUnitsOfOtherRanks) {
    const auto window = weight_window(shape_of_four(), {true, false, true, false}, std::array<std::int64_t, 4>{}, 0, Pool::apart);
    EXPECT_EQ(window.behind(0), 2U);
    EXPECT_EQ(window.behind(2), 0U);
    EXPECT_THAT(window.held_bytes(), ElementsAre(10 + 30 + 5, 0, 30 + 10, 0));
}

TEST(WeightWindow, OfALoneUnitFetchesItOnce) {
    const auto window = weight_window(shape_of_four(), {false, true, false, false}, std::array<std::int64_t, 4>{}, 1000, Pool::shared);
    EXPECT_FALSE(window.admits(1, 1));
    EXPECT_EQ(window.held_bytes()[1], 20);
}

TEST(StreamedSeconds, AreThoseOfTheSlowerOfFetchingAndRunningWhereThereIsRoom) {
    const auto window = weight_window(shape_of_four(), all, std::array<std::int64_t, 4>{}, 1000, Pool::apart);
    const std::vector<double> seconds(4, 1.0);
    EXPECT_DOUBLE_EQ(streamed_seconds(window, seconds, 1e9), 4 + 0.0);
    EXPECT_NEAR(streamed_seconds(window, seconds, 10), 10, 1e-9);  // 100 bytes a pass
}

TEST(StreamedSeconds, GrowWhereTheWindowIsSmall) {
    const std::vector<double> seconds(4, 1.0);
    const auto least = weight_window(shape_of_four(), all, std::array<std::int64_t, 4>{}, 0, Pool::apart);
    const auto ample = weight_window(shape_of_four(), all, std::array<std::int64_t, 4>{}, 1000, Pool::apart);
    EXPECT_GT(streamed_seconds(least, seconds, 25), streamed_seconds(ample, seconds, 25));
}

}  // namespace
}  // namespace weft::plan

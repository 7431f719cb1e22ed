#include "pose/draw_map.hpp"

#include "pose/align.hpp"
#include "pose/drawn.hpp"
#include "pose/golden_align.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace weft::pose {

using golden::Scenario;

namespace {

/// Frame 2 as the published program aligned it; hidden hand points stand at its marker, moved by the offset.
Person recorded_person(const Scenario& scenario) {
    constexpr std::size_t frame = 2;
    Person person;
    const auto body = scenario.part("aligned.body", frame), subset = scenario.part("scaled.subset", frame);
    for (std::size_t i = 0; i < num_body_points; ++i) person.body[i] = {body[2 * i], body[2 * i + 1], subset[i] < 0 ? 0.0 : 1.0};
    for (const auto side : {left, right}) {
        const auto hand = scenario.part("aligned.hands", 2 * frame + side, 2 * golden::num_frames);
        for (std::size_t i = 0; i < num_hand_points; ++i) person.hands[side][i] = {hand[2 * i], hand[2 * i + 1], 1};
    }
    return person;
}

void expect_equal(const io::Picture& drawn, const std::filesystem::path& recorded) {
    const auto wanted = io::read_picture(recorded);
    ASSERT_EQ(drawn.width, wanted.width);
    ASSERT_EQ(drawn.height, wanted.height);
    const auto differ = std::inner_product(drawn.rgb.begin(), drawn.rgb.end(), wanted.rgb.begin(), 0, std::plus<>{}, std::not_equal_to<>{});
    EXPECT_EQ(differ, 0) << "bytes of " << drawn.rgb.size() << " differ from " << recorded.filename();
}

std::array<int, 3> pixel(const io::Picture& picture, int x, int y) {
    const auto at = 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x));
    return {picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]};
}

bool is_black(const io::Picture& picture) {
    return std::ranges::all_of(picture.rgb, [](std::uint8_t value) { return value == 0; });
}

}  // namespace

class PublishedDrawing : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Scenarios, PublishedDrawing, ::testing::Values("full", "partial", "degenerate"),
                         [](const auto& one) { return std::string(one.param); });

TEST_P(PublishedDrawing, IsEqualByteForByte) {
    const Scenario scenario(GetParam());
    const auto size = map_size(scenario.video_size, scenario.reference_size);
    const auto person = recorded_person(scenario);
    expect_equal(draw_canvas(person, size.canvas), scenario.picture("canvas"));
    expect_equal(draw_map(person, size), scenario.picture("map"));
}

TEST(PublishedDrawing, OfAWhollySeenPersonIsEqualFromTheKeyPointsOn) {
    const Scenario scenario("full");
    const auto alignment = measure(scenario.reference, scenario.reference_size.aspect(), *scenario.drive[0], scenario.video_size.aspect());
    const auto& driver = *scenario.drive[2];
    const auto person = aligned(driver, driver.body[neck], alignment);
    const auto size = map_size(scenario.video_size, scenario.reference_size);
    expect_equal(draw_canvas(person, size.canvas), scenario.picture("canvas"));
    expect_equal(draw_map(person, size), scenario.picture("map"));
}

TEST(DrawMap, SizesAreThePublishedOnes) {
    EXPECT_EQ(map_size({128, 96}, {90, 160}), (MapSize{{1024, 768}, {432, 768}}));
    EXPECT_EQ(map_size({72, 128}, {120, 100}), (MapSize{{1024, 1820}, {920, 768}}));
    EXPECT_EQ(map_size({1920, 1080}, {1001, 768}), (MapSize{{1024, 576}, {1000, 768}})) << "an odd width is made even";
}

TEST(DrawMap, ColoursHaveRedAndBlueExchanged) {
    Person person;
    person.body[neck] = {0.5, 0.25, 1};
    person.body[right_shoulder] = {0.25, 0.25, 1};
    const auto map = draw_canvas(person, {256, 256});
    EXPECT_EQ(pixel(map, 128, 64), (std::array{0, 85, 255}));
    EXPECT_EQ(pixel(map, 64, 64), (std::array{0, 170, 255}));
    EXPECT_EQ(pixel(map, 96, 64), (std::array{0, 0, 153})) << "limb 0 at 60 %";
}

TEST(DrawMap, LeavesOutWhatIsHidden) {
    Person person;
    person.body[neck] = {0.5, 0.25, 0.3};
    person.body[right_shoulder] = {0.25, 0.25, 0.31};
    person.hands[left][0] = {0.5, 0.5, 0.1};
    const auto map = draw_canvas(person, {256, 256});
    EXPECT_EQ(pixel(map, 64, 64), (std::array{0, 170, 255}));
    for (const int x : {96, 128}) EXPECT_EQ(pixel(map, x, 64), (std::array{0, 0, 0}));
    EXPECT_EQ(pixel(map, 128, 128), (std::array{0, 0, 0}));
}

TEST(DrawMap, FaceIsNotDrawn) {
    Person person;
    for (auto& point : person.face) point = {0.5, 0.5, 1};
    EXPECT_TRUE(is_black(draw_canvas(person, {256, 256})));
}

TEST(DrawMap, NobodyIsBlackAndCountsAsDrawn) {
    const auto map = draw_map(std::nullopt, map_size({100, 100}, {100, 100}));
    EXPECT_TRUE(is_black(map));
    EXPECT_EQ(why_not_drawn(map), "");
}

TEST(DrawMap, PointsFarOutsideAreNoTrouble) {
    for (const double far : {-3.0, 4.0, 10.0, -1e3, 1e9, -1e300}) {
        Person person;
        for_each_point(person, [&](KeyPoint& point) { point = {far, 0.5, 1}; });
        person.body[neck] = {0.5, 0.5, 1};
        person.hands[left][0] = {0.5, 0.5, 1};
        EXPECT_EQ(draw_canvas(person, {256, 256}).rgb.size(), 256U * 256 * 3) << far;
    }
}

}  // namespace weft::pose

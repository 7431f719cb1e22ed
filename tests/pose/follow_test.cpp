#include "pose/follow.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

namespace weft::pose {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

namespace {

/// Everybody's body points lie on a short line at x.
Person somebody(double x, double score = 1) {
    Person person;
    for (std::size_t i = 0; i < num_body_points; ++i) person.body[i] = {x, 0.3 + 0.01 * static_cast<double>(i), score};
    return person;
}

KeyPointClip clip_of(const std::vector<std::vector<Person>>& frames) {
    KeyPointClip clip;
    for (const auto& people : frames) clip.frames.push_back({.people = people, .size = {}, .name = {}});
    return clip;
}

std::vector<double> places(const std::vector<std::optional<Person>>& frames) {
    std::vector<double> x;
    std::ranges::transform(frames, std::back_inserter(x), [](const auto& person) { return person ? person->body[nose].x : -1; });
    return x;
}

}  // namespace

TEST(Follow, BeginsWithTheSurestAndStaysWithTheNearest) {
    const auto track = follow(clip_of({{},
                                       {somebody(.2, .5), somebody(.7, .9)},
                                       {somebody(.72, .4), somebody(.22, .99)},
                                       {somebody(.24, .99)},  // the followed one is away
                                       {somebody(.26, .99), somebody(.69, .5)}}),
                              1);
    EXPECT_THAT(places(track.frames), ElementsAre(-1, .7, .72, .24, .26));
    EXPECT_THAT(track.nobody, ElementsAre(0));
    EXPECT_THAT(track.several, ElementsAre(1, 2, 4));
    EXPECT_THAT(track.leaps, ElementsAre(3));
}

TEST(Follow, MeasuresInHeights) {
    auto below = somebody(.5);
    for (auto& point : below.body) point.y += 0.2;
    const auto clip = clip_of({{somebody(.5)}, {somebody(.6), below}});
    EXPECT_THAT(places(follow(clip, 1).frames), ElementsAre(.5, .6));
    EXPECT_THAT(places(follow(clip, 4).frames), ElementsAre(.5, .5));
}

TEST(Follow, WhoIsNotSeenIsNobody) {
    const auto track = follow(clip_of({{somebody(.5, .3)}, {somebody(.5, .31), somebody(.2, .1)}}), 1);
    EXPECT_THAT(track.nobody, ElementsAre(0));
    EXPECT_THAT(track.several, IsEmpty());
}

TEST(Follow, HalvesOfBodiesAreHeldAgainstEachOther) {
    auto upper = somebody(.5), lower = somebody(.52), other = somebody(.9);
    for (std::size_t i = 0; i < num_body_points; ++i) (i < right_hip || i > left_ankle ? lower : upper).body[i].score = 0;
    EXPECT_THAT(places(follow(clip_of({{upper}, {other, lower}}), 1).frames), ElementsAre(.5, .52));
}

TEST(FillGaps, ClosesShortOnesBetweenTwoPoses) {
    std::vector<std::optional<Person>> frames(10);
    frames[1] = somebody(.1);
    frames[4] = somebody(.4, .6);
    frames[8] = somebody(.8);
    EXPECT_THAT(fill_gaps(frames, 2), ElementsAre(2, 3));
    EXPECT_FALSE(frames[0] || frames[5] || frames[9]);
    EXPECT_NEAR(frames[2]->body[nose].x, .2, 1e-12);
    EXPECT_NEAR(frames[3]->body[left_ear].x, .3, 1e-12);
    EXPECT_EQ(frames[3]->body[nose].score, .6);
    EXPECT_THAT(fill_gaps(frames, 3), ElementsAre(5, 6, 7));
    EXPECT_FALSE(frames[0] || frames[9]) << "nothing beyond the ends";
}

TEST(FillGaps, PointsSeenAtOneEndOnlyStayHidden) {
    std::vector<std::optional<Person>> frames{somebody(.1), std::nullopt, somebody(.3)};
    frames[2]->body[left_wrist].score = 0.2;
    EXPECT_THAT(fill_gaps(frames, 5), ElementsAre(1));
    EXPECT_FALSE(frames[1]->body[left_wrist].seen());
    EXPECT_TRUE(frames[1]->body[right_wrist].seen());
    EXPECT_FALSE(frames[1]->hands[left][0].seen());
}

TEST(Necks, AreTakenInBetweenWhereHidden) {
    std::vector<std::optional<Person>> frames{somebody(0), somebody(.1), somebody(0), std::nullopt, somebody(.4), somebody(0)};
    for (const std::size_t i : {0U, 2U, 5U}) frames[i]->body[neck].score = 0;
    std::vector<double> x;
    for (const auto& point : necks_of(frames)) x.push_back(point.x);
    using ::testing::DoubleNear;
    EXPECT_THAT(x, ElementsAre(.1, .1, DoubleNear(.2, 1e-12), DoubleNear(.3, 1e-12), .4, .4));
    frames[1] = frames[4] = std::nullopt;
    EXPECT_THAT(necks_of(frames), IsEmpty());
}

TEST(FramesText, NamesRanges) {
    EXPECT_EQ(frames_text({7}), "frame 7");
    EXPECT_EQ(frames_text({0, 1, 2, 7, 9, 10}), "frames 0-2, 7, 9-10");
    FrameNumbers odd;
    for (std::int64_t i = 1; i < 60; i += 2) odd.push_back(i);
    EXPECT_EQ(frames_text(odd), "frames 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, and 18 more places");
}

}  // namespace weft::pose

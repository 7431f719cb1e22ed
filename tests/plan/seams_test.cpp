#include "plan/seams.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <set>

namespace weft::plan {

namespace {

using Frames = std::vector<std::int64_t>;

constexpr double infinite = std::numeric_limits<double>::infinity();

/// Changes 1 to `count`, all alike.
std::vector<double> steady(std::size_t count, double change) {
    return std::vector<double>(count, change);
}

double& at(std::vector<double>& changes, std::int64_t frame) {
    return changes.at(static_cast<std::size_t>(frame - 1));
}

/// The definition, word by word.
Frames slow_borders(const Slices& slices, std::int64_t num_frames, std::int64_t first) {
    const auto covering = [&](std::int64_t frame) {
        std::set<std::size_t> found;
        for (std::size_t s = 0; s < slices.size(); ++s)
            for (auto slot = static_cast<std::size_t>(first); slot < slices[s].frames.size(); ++slot)
                if (slices[s].frames[slot] == frame) found.insert(s);
        return found;
    };
    Frames borders;
    for (auto frame = first; frame + 1 < num_frames; ++frame)
        if (covering(frame) != covering(frame + 1)) borders.push_back(frame);
    return borders;
}

}  // namespace

TEST(SliceBorders, LieWhereASliceBeginsAndWhereOneEnds) {
    EXPECT_EQ(slice_borders(make_slices(40, 16, 4), 40), (Frames{12, 15, 24, 27}));
    EXPECT_EQ(slice_borders(make_slices(9, 3, 1), 9), (Frames{2, 4, 6})) << "slices that share the anchor alone";
}

TEST(SliceBorders, OfALastSliceThatWasMovedBack) {
    EXPECT_EQ(slice_borders(make_slices(100, 72, 6), 100), (Frames{28, 71}));
    EXPECT_EQ(slice_borders(make_slices(240, 72, 6), 240), (Frames{66, 71, 132, 137, 168, 203}));
}

TEST(SliceBorders, AnchorsTakeNoPart) {
    const auto slices = make_slices(40, 16, 4);
    EXPECT_EQ(slice_borders(with_private_anchors(slices, 40), 40), slice_borders(slices, 40));
}

TEST(SliceBorders, OneSliceHasNone) {
    for (const std::int64_t frames : {1, 2, 40, 72}) EXPECT_EQ(slice_borders(make_slices(frames, 72, 6), frames), Frames{}) << frames;
}

TEST(SliceBorders, AreWhereCoveringSlicesDiffer) {
    for (std::int64_t frames = 1; frames <= 30; ++frames)
        for (std::int64_t length = 2; length <= 12; ++length)
            for (std::int64_t overlap = 1; overlap < length; ++overlap) {
                const auto slices = make_slices(frames, length, overlap);
                ASSERT_EQ(slice_borders(slices, frames), slow_borders(slices, frames, 1))
                    << frames << " frames, slices of " << length << ", overlap " << overlap;
            }
}

TEST(SliceBorders, OfWindowsPaddedAndWrapped) {
    EXPECT_EQ(slice_borders(make_windows(23, 8, 3), 20, 0), (Frames{4, 7, 9, 12, 14, 17})) << "three repeats behind the clip's end";
    EXPECT_EQ(slice_borders(make_windows(19, 7, 2), 19, 0), (Frames{2, 4, 6, 9, 11, 14, 16})) << "the last window ends with frames 0 to 2";
    for (std::int64_t frames = 1; frames <= 30; ++frames)
        for (std::int64_t length = 2; length <= 12; ++length)
            for (std::int64_t overlap = 0; overlap < length; ++overlap)
                for (const auto latents : {frames, padded_frames(frames, length, overlap)}) {
                    const auto windows = make_windows(latents, length, overlap);
                    ASSERT_EQ(slice_borders(windows, frames, 0), slow_borders(windows, frames, 0))
                        << frames << " frames of " << latents << ", windows of " << length << ", overlap " << overlap;
                }
}

TEST(Seams, AJumpFromFrame0CountsWhereItIsShown) {
    auto changes = steady(20, 1);
    changes[0] = 3;
    const auto seams = measure_seams(changes, Frames{0, 9}, 0);
    EXPECT_EQ(seams.worst, 3);
    EXPECT_EQ(seams.worst_frame, 0);
    EXPECT_EQ(seams.num_borders, 2);
}

TEST(Seams, SteadyMovementHasNone) {
    const auto seams = measure_seams(steady(38, 0.1), Frames{12, 15, 24, 27});
    EXPECT_DOUBLE_EQ(seams.figure, 1);
    EXPECT_DOUBLE_EQ(seams.worst, 1);
    EXPECT_EQ(seams.num_borders, 4);
    EXPECT_EQ(seams.num_compared, 4);
    EXPECT_DOUBLE_EQ(seams.mean_at_borders, 0.1);
    EXPECT_DOUBLE_EQ(seams.mean_inside, 0.1);
}

TEST(Seams, AJumpAtEachBorderIsMeasured) {
    const Frames borders{12, 15, 24, 27};
    auto changes = steady(38, 2);
    for (const auto border : borders) at(changes, border) = 6;
    at(changes, 24) = 10;
    const auto seams = measure_seams(changes, borders);
    EXPECT_DOUBLE_EQ(seams.figure, 28.0 / 8);
    EXPECT_DOUBLE_EQ(seams.worst, 5);
    EXPECT_EQ(seams.worst_frame, 24);
    EXPECT_DOUBLE_EQ(seams.mean_at_borders, 7);
    EXPECT_DOUBLE_EQ(seams.mean_inside, 2);
}

TEST(Seams, AJumpBesideABorderIsNone) {
    auto changes = steady(38, 2);
    at(changes, 13) = 6;
    EXPECT_LT(measure_seams(changes, Frames{12, 24}).figure, 1);
}

TEST(Seams, EachBorderIsHeldAgainstTheMovementAroundIt) {
    auto changes = steady(60, 1);
    for (std::int64_t frame = 31; frame <= 60; ++frame) at(changes, frame) = 10;
    const auto seams = measure_seams(changes, Frames{10, 50, 52});
    EXPECT_DOUBLE_EQ(seams.figure, 1) << "over means of the whole clip it would be 1.29";
    EXPECT_DOUBLE_EQ(seams.worst, 1);
}

TEST(Seams, TheFourNearestInsideChangesOfEachSideCount) {
    std::vector<double> changes(20);
    std::iota(changes.begin(), changes.end(), 1);  // change f is f
    at(changes, 3) = 0;
    EXPECT_DOUBLE_EQ(measure_seams(changes, Frames{10}).figure, 10 / ((6 + 7 + 8 + 9 + 11 + 12 + 13 + 14) / 8.0));
    const auto seams = measure_seams(changes, Frames{10, 12});
    EXPECT_DOUBLE_EQ(seams.figure, 22 / ((6 + 7 + 8 + 9 + 11 + 13 + 14 + 15) / 8.0 + (7 + 8 + 9 + 11 + 13 + 14 + 15 + 16) / 8.0))
        << "other borders are passed over";
    EXPECT_DOUBLE_EQ(measure_seams(changes, Frames{2}).figure, 2 / ((1 + 0 + 4 + 5 + 6) / 5.0)) << "the clip begins";
    EXPECT_DOUBLE_EQ(measure_seams(changes, Frames{20}).figure, 20 / ((16 + 17 + 18 + 19) / 4.0)) << "the clip ends";
}

TEST(Seams, ABorderFarFromAllInsideChangesIsNotCompared) {
    Frames borders(18);
    std::iota(borders.begin(), borders.end(), 2);  // 2 to 19; 1 and 20 are inside
    auto changes = steady(20, 1);
    at(changes, 10) = 50;
    at(changes, 9) = 3;
    const auto seams = measure_seams(changes, borders);
    EXPECT_EQ(seams.num_borders, 18);
    EXPECT_EQ(seams.num_compared, 16) << "all but 10 and 11, which lie nine frames from the nearest";
    EXPECT_DOUBLE_EQ(seams.figure, 18.0 / 16);
    EXPECT_DOUBLE_EQ(seams.worst, 3);
    EXPECT_EQ(seams.worst_frame, 9);
    EXPECT_DOUBLE_EQ(seams.mean_at_borders, 69.0 / 18);
}

TEST(Seams, WhereEveryChangeIsABorderNothingIsCompared) {
    const auto seams = measure_seams(steady(3, 2), Frames{1, 2, 3});
    EXPECT_EQ(seams.num_compared, 0);
    EXPECT_EQ(seams.num_borders, 3);
    EXPECT_EQ(seams.mean_at_borders, 2);
    EXPECT_EQ(seams.mean_inside, 0);
}

TEST(Seams, AStillClipHasNone) {
    const auto seams = measure_seams(steady(20, 0), Frames{5, 10});
    EXPECT_EQ(seams.figure, 1);
    EXPECT_EQ(seams.worst, 1);
}

TEST(Seams, AJumpInAStillClipIsInfinite) {
    auto changes = steady(20, 0);
    at(changes, 10) = 0.5;
    const auto seams = measure_seams(changes, Frames{5, 10});
    EXPECT_EQ(seams.figure, infinite);
    EXPECT_EQ(seams.worst, infinite);
    EXPECT_EQ(seams.worst_frame, 10);
}

TEST(Seams, AStillPartLeavesTheFigureAlone) {
    auto changes = steady(60, 0);
    for (std::int64_t frame = 31; frame <= 60; ++frame) at(changes, frame) = 1;
    at(changes, 50) = 2;
    const auto seams = measure_seams(changes, Frames{10, 50});
    EXPECT_DOUBLE_EQ(seams.figure, 2);
    EXPECT_DOUBLE_EQ(seams.worst, 2);
    EXPECT_EQ(seams.worst_frame, 50);
}

TEST(Seams, WhatIsNoNumberShows) {
    auto changes = steady(60, 1);
    at(changes, 10) = std::nan("");
    at(changes, 50) = 3;
    const auto seams = measure_seams(changes, Frames{10, 50});
    EXPECT_TRUE(std::isnan(seams.figure));
    EXPECT_TRUE(std::isnan(seams.worst));
    EXPECT_EQ(seams.worst_frame, 10);
}

}  // namespace weft::plan

#include "plan/slices.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace weft::plan {

namespace {

/// (first, last) of each slice behind the anchor, as models/mimicmotion.md section 7.3 lists its examples.
std::vector<std::pair<std::int64_t, std::int64_t>> ends(std::int64_t frames, std::int64_t length, std::int64_t overlap) {
    std::vector<std::pair<std::int64_t, std::int64_t>> result;
    for (const auto& slice : make_slices(frames, length, overlap)) result.emplace_back(slice.frames.at(1), slice.frames.back());
    return result;
}

using Ends = std::vector<std::pair<std::int64_t, std::int64_t>>;

}  // namespace

TEST(Slices, TheSpecificationsExamples) {
    EXPECT_EQ(ends(72, 72, 6), (Ends{{1, 71}}));
    EXPECT_EQ(ends(100, 72, 6), (Ends{{1, 71}, {29, 99}}));
    EXPECT_EQ(ends(240, 72, 6), (Ends{{1, 71}, {67, 137}, {133, 203}, {169, 239}}));
    EXPECT_EQ(ends(40, 16, 4), (Ends{{1, 15}, {13, 27}, {25, 39}}));
    EXPECT_EQ(ends(48, 16, 6), (Ends{{1, 15}, {11, 25}, {21, 35}, {31, 45}, {33, 47}}));
}

TEST(Slices, EveryFrameIsCoveredAndEverySliceBeginsWithTheAnchor) {
    for (std::int64_t frames = 1; frames <= 60; ++frames)
        for (std::int64_t length = 2; length <= 20; ++length)
            for (std::int64_t overlap = 1; overlap < length; ++overlap) {
                std::set<std::int64_t> covered;
                for (const auto& slice : make_slices(frames, length, overlap)) {
                    ASSERT_EQ(slice.frames.front(), 0);
                    ASSERT_EQ(slice.frames.size(), static_cast<std::size_t>(std::min(frames, length)));
                    covered.insert(slice.frames.begin(), slice.frames.end());
                }
                ASSERT_EQ(covered.size(), static_cast<std::size_t>(frames)) << frames << " frames, slices of " << length << ", overlap " << overlap;
            }
}

TEST(Slices, AClipShorterThanASliceIsOneSliceOfItsFrames) {
    EXPECT_EQ(make_slices(3, 72, 6), (Slices{{{0, 1, 2}}}));
    EXPECT_EQ(make_slices(1, 72, 6), (Slices{{{0}}}));
}

TEST(Slices, WeightsAreATriangle) {
    EXPECT_EQ(slot_weights(4), (std::vector<float>{0.25F, 0.75F, 0.75F, 0.25F}));
    EXPECT_EQ(slot_weights(1), (std::vector<float>{1.0F}));
}

TEST(Slices, PrivateAnchorsReplaceSlotZeroBehindTheFirstSlice) {
    const auto slices = with_private_anchors(make_slices(40, 16, 4), 40);
    ASSERT_EQ(slices.size(), 3);
    EXPECT_EQ(slices[0].frames.front(), 0);
    EXPECT_EQ(slices[1].frames.front(), 40);
    EXPECT_EQ(slices[2].frames.front(), 41);
    EXPECT_EQ(slices[2].frames[1], 25);
}

TEST(Slices, ScatteredFramesBecomeRanges) {
    EXPECT_EQ(ranges_of({7, 1, 2, 9, 8, 0}), (FrameRanges{{0, 3}, {7, 10}}));
    EXPECT_EQ(ranges_of({}), FrameRanges{});
    EXPECT_EQ(count({{0, 3}, {7, 10}}), 6);
}

TEST(Slices, DecodeChunksTileTheClip) {
    EXPECT_EQ(decode_chunks(10, 4), (std::vector<FrameRange>{{0, 4}, {4, 8}, {8, 10}}));
    EXPECT_EQ(decode_chunks(3, 8), (std::vector<FrameRange>{{0, 3}}));
}

}  // namespace weft::plan

#include "parallel/layouts.hpp"
#include "parallel/ranked_job.hpp"

/// Promise 1 over MPI: any number of ranks, any budget that fits, and any resume give the bits of one rank, for each step's latents and for the frames.
/// (MPI sends are synchronous always: src/comm/link.hpp.)
namespace weft::test {

using ::testing::AnyOf;
using ::testing::ElementsAreArray;

namespace {
class SameBitsOverMpi : public testing::TestWithParam<const char*> {};
}  // namespace

TEST_P(SameBitsOverMpi, OnAnyNumberOfRanks) {
    const RankedJob job({.anchor = GetParam()});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    for (const int ranks : {2, 3, 4, 5, 7, 8}) {
        job.clean();
        const auto ended = job.on(ranks);
        ASSERT_EQ(ended.code, 0) << ranks << " ranks: " << ::testing::PrintToString(ended);
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << ranks << " ranks";
    }
}

TEST_P(SameBitsOverMpi, InAnyLayout) {
    const RankedJob job({.poses = 40, .steps = 2, .anchor = GetParam()});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    auto layouts = usual_layouts();
    for (auto& layout : random_layouts(job.num_pieces())) layouts.push_back(std::move(layout));
    for (const auto& layout : layouts) {
        job.clean();
        const auto ended = job.on(layout.ranks, layout.sets);
        ASSERT_EQ(ended.code, 0) << layout.name() << ": " << ::testing::PrintToString(ended);
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << layout.name();
    }
}

TEST_P(SameBitsOverMpi, StoppedOnFourStagesResumedOnOneRankAndBack) {
    const RankedJob job({.poses = 40, .steps = 5, .anchor = GetParam()});
    const Words stages{"layout.kind=stages", "layout.stages=4"};
    expect_done(job.alone());
    const auto wanted = job.hashes();
    job.clean();
    for (const auto& [ranks, fault] : {std::pair{4, "usr1 2 1"}, {1, "usr1 0 3"}}) {
        const auto stopped = ranks == 1 ? job.failing(1, fault) : job.failing(ranks, fault, stages);
        EXPECT_EQ(stopped.code, 75) << ranks << " ranks: " << ::testing::PrintToString(stopped);
        EXPECT_THAT(status_of(job / "out.status"), ::testing::StartsWith("75 denoise "));
    }
    const auto ended = job.on(4, stages);
    ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
    EXPECT_THAT(job.hashes(), ElementsAreArray(wanted));
}

namespace {
class SameBitsOfMusePose : public testing::TestWithParam<const char*> {};  // slices.pad
}  // namespace

TEST_P(SameBitsOfMusePose, OnAnyNumberOfRanksAndInAnyLayout) {
    const RankedJob job({.poses = 36, .steps = 2, .musepose = true});
    const auto pad = cat("slices.pad=", GetParam());
    expect_done(job.alone({pad}));
    const auto wanted = job.hashes();
    std::vector<LaidOut> layouts;
    for (const int ranks : {2, 3, 5, 8}) layouts.push_back({ranks, {}});
    layouts.push_back({3, {"layout.kind=cut"}});
    layouts.push_back({4, {"layout.kind=stages", "layout.stages=4", "layout.map=straight"}});
    layouts.push_back({3, {"layout.kind=stages", "layout.stages=3", "layout.map=folded"}});
    layouts.push_back({4, {"layout.kind=stages", "layout.stages=2"}});
    for (auto& layout : layouts) {
        job.clean();
        layout.sets.push_back(pad);
        const auto ended = job.on(layout.ranks, layout.sets);
        ASSERT_EQ(ended.code, 0) << layout.name() << ": " << ::testing::PrintToString(ended);
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << layout.name();
    }
}

TEST_P(SameBitsOfMusePose, StoppedOnFourStagesAndResumedOnOneRank) {
    const RankedJob job({.poses = 36, .steps = 4, .musepose = true});
    const auto pad = cat("slices.pad=", GetParam());
    expect_done(job.alone({pad}));
    const auto wanted = job.hashes();
    job.clean();
    const auto stopped = job.failing(4, "usr1 2 1", {pad, "layout.kind=stages", "layout.stages=4"});
    EXPECT_EQ(stopped.code, 75) << ::testing::PrintToString(stopped);
    expect_done(job.alone({pad}));
    EXPECT_THAT(job.hashes(), ElementsAreArray(wanted));
}

INSTANTIATE_TEST_SUITE_P(Pad, SameBitsOfMusePose, testing::Values("true", "false"), [](const auto& one) { return std::string(one.param); });

TEST_P(SameBitsOverMpi, WithMoreRanksThanPasses) {
    const RankedJob job({.poses = 9, .steps = 2, .anchor = GetParam()});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    job.clean();
    const auto ended = job.on(4);
    ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
    EXPECT_THAT(job.hashes(), ElementsAreArray(wanted));
}

TEST_P(SameBitsOverMpi, StoppedOnThreeRanksAndResumedOnFiveAndOnOne) {
    const RankedJob job({.steps = 4, .anchor = GetParam()});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    job.clean();
    const auto first = job.failing(3, "usr1 2 1");
    EXPECT_EQ(first.code, 75) << ::testing::PrintToString(first);
    EXPECT_THAT(status_of(job / "out.status"), AnyOf("75 denoise 1", GetParam() == std::string("private") ? "75 denoise 0" : "75 denoise 1"));
    const auto second = job.failing(5, "usr1 4 3");
    EXPECT_EQ(second.code, 75) << ::testing::PrintToString(second);
    // In a chain a rank may be a step ahead of what is complete.
    EXPECT_THAT(status_of(job / "out.status"), AnyOf("75 denoise 3", GetParam() == std::string("private") ? "75 denoise 2" : "75 denoise 3"));
    expect_done(job.alone());
    EXPECT_THAT(job.hashes(), ElementsAreArray(wanted));
}

INSTANTIATE_TEST_SUITE_P(Anchors, SameBitsOverMpi, testing::Values("blended", "private"), [](const auto& anchor) { return std::string(anchor.param); });

TEST(SameBitsOverMpi, WithAnyBudgetThatFits) {
    const RankedJob job;
    expect_done(job.alone());
    const auto wanted = job.hashes();
    for (const char* const budget : {"memory.budget=200MB", "memory.budget=90GiB", "memory.weights=streamed"}) {
        job.clean();
        const auto ended = job.on(3, {budget});
        ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << budget;
    }
}

TEST(SameBits, ThePrivateAnchorIsAnotherFunction) {  // or the private hashes above would prove nothing
    const RankedJob blended;
    const RankedJob chain({.anchor = "private"});
    expect_done(blended.alone());
    expect_done(chain.alone());
    EXPECT_NE(blended.hashes(), chain.hashes());
}

/// Bits may differ there; passes must run once, on whichever rank, beside whichever others.
TEST(FreeNumerics, MakeAFilmOnAnyRanksAndLayout) {
    const RankedJob job({.poses = 27, .steps = 2});
    for (const int ranks : {2, 3})
        for (const char* const kind : {"whole", "cut", "stages"}) {
            SCOPED_TRACE(cat(ranks, " ranks, ", kind));
            EXPECT_EQ(job.on(ranks, {"memory.numerics=free", cat("layout.kind=", kind)}).code, 0);
            EXPECT_EQ(job.hashes().size(), 4U);  // two steps, latents and film
            job.clean();
        }
}

}  // namespace weft::test

#include "parallel/ranked_job.hpp"

#include <chrono>

/// Promise 4: a rank that dies, stops, stalls, throws, or is of another job is named, and the job ends non-zero soon, with a good run file and nothing left
/// running.
namespace weft::test {

using ::testing::AnyOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

namespace {

/// Fails on 3 ranks in step 2, says who, and goes on from there to the undisturbed bits.
void expect_culprit_named(const std::string& fault, int rank, int code, const std::string& text, const Words& sets = {}) {
    const RankedJob job({.poses = 40, .steps = 3});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    job.clean();

    const auto start = std::chrono::steady_clock::now();
    const auto ended = job.failing(3, fault, sets);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_EQ(ended.code, code) << ::testing::PrintToString(ended);
    EXPECT_LT(seconds, 20 + 2) << "two seconds to start and to come to step 2";
    ASSERT_TRUE(fs::exists(job / "out.status")) << ::testing::PrintToString(ended);
    const auto status = json_of(bytes_of(job / "out.status"));
    EXPECT_EQ(status.at("code"), cat(code));
    EXPECT_THAT(status.at("culprit"), StartsWith(cat("rank ", rank, " on "))) << bytes_of(job / "out.status");
    EXPECT_THAT(status.at("text"), HasSubstr(text));
    if (!fault.starts_with("kill")) {  // then the launcher tells, which does not know how far the job has come
        EXPECT_EQ(status.at("phase"), "denoise");
        // The saver may be a moment behind the passes, and who speaks for rank 0 knows what its own passes have read.
        const auto step = std::stoi(fault.substr(fault.rfind(' ')));
        EXPECT_THAT(status.at("step"), AnyOf(cat(step - 1), cat(step)));
    }
    EXPECT_THAT(ended.err, HasSubstr(cat("rank ", rank, " on ")));
    EXPECT_THAT(job.left_running(), IsEmpty());

    fs::remove(job / "events.jsonl");
    expect_done(job.alone());
    auto resumed = job.hashes();
    const auto latest = Words(wanted.end() - static_cast<std::ptrdiff_t>(resumed.size()), wanted.end());
    EXPECT_LT(resumed.size(), wanted.size()) << "some step was saved";
    EXPECT_THAT(resumed, ElementsAreArray(latest));
}

/// What starts on ranks that do not belong together.
void expect_refused_together(const RankedJob& job, const Ended& ended, const std::string& culprit, const std::string& text) {
    EXPECT_NE(ended.code, 0) << ::testing::PrintToString(ended);
    EXPECT_FALSE(ended.timed_out);
    EXPECT_THAT(ended.err, HasSubstr(text));
    const auto status = json_of(bytes_of(job / "out.status"));
    EXPECT_EQ(status.at("code"), "2");
    EXPECT_THAT(status.at("culprit"), StartsWith(culprit));
    EXPECT_THAT(status.at("text"), HasSubstr(text));
    EXPECT_FALSE(fs::exists(job / "out.h5"));
    EXPECT_THAT(job.left_running(), IsEmpty());
}

Words two_kinds(const RankedJob& job, const std::string& other_program, const Words& other_sets) {
    Words words{"-n", "2"};
    for (const auto& word : job.generate_words(weft_program())) words.push_back(word);
    words.insert(words.end(), {":", "-n", "1"});
    for (const auto& word : job.generate_words(other_program, other_sets)) words.push_back(word);
    return words;
}

}  // namespace

TEST(Failures, AKilledRankIsNamed) {
    expect_culprit_named("kill 2 1", 2, 4, "signal 9");
}

TEST(Failures, AKilledRankZeroIsNamed) {
    expect_culprit_named("kill 0 1", 0, 4, "signal 9");
}

TEST(Failures, AStoppedRankIsNamed) {
    expect_culprit_named("stop 1 1", 1, 4, "no heartbeat for");
}

TEST(Failures, AStoppedRankZeroIsNamed) {
    expect_culprit_named("stop 0 1", 0, 4, "no heartbeat for");
}

TEST(Failures, AStalledRankIsNamedWithItsPass) {
    expect_culprit_named("stall 2 1", 2, 4, "step 2, slice", {"watchdog.stall_s=2"});
}

TEST(Failures, AStalledRankZeroIsNamedWithItsPass) {
    expect_culprit_named("stall 0 1", 0, 4, "step 2, slice", {"watchdog.stall_s=2"});
}

TEST(Failures, ARankThatThrowsIsNamed) {
    expect_culprit_named("throw 1 1", 1, 1, "a test makes this rank throw");
}

TEST(Failures, ARankZeroThatThrowsIsNamed) {
    expect_culprit_named("throw 0 1", 0, 1, "a test makes this rank throw");
}

TEST(Failures, ARankWithAnotherConfigIsRefused) {
    const RankedJob job;
    expect_refused_together(job, job.mpirun(two_kinds(job, weft_program(), {"sampling.seed=7"})), "rank 2 on ", "sampling.seed is 7 there, 42 on rank 0");
}

TEST(Failures, ARankWithOtherWeightsIsRefused) {
    const RankedJob job;
    expect_refused_together(job, job.mpirun(two_kinds(job, weft_program(), {cat("model.path=", tiny_model().string())})), "rank 2 on ",
                            "weights MimicMotion_1-1.pth is ");
}

TEST(Failures, ARankOfAnotherBuildIsRefused) {
    const RankedJob job;
    fs::copy(weft_program(), job / "weft");
    write_bytes(job / "weft", bytes_of(job / "weft") + "another build");
    fs::permissions(job / "weft", fs::perms::owner_all);
    expect_refused_together(job, job.mpirun(two_kinds(job, "./weft", {})), "rank 2 on ", "the program (hash of the executable) is ");
}

TEST(Failures, AMistakeOnOneRankIsToldWithItsName) {
    const RankedJob job;
    expect_refused_together(job, job.mpirun(two_kinds(job, weft_program(), {"input.image=absent.png"})), "rank 2 on ", "absent.png");
}

TEST(Failures, AMistakeOnAllRanksIsToldOnce) {
    const RankedJob job;
    const auto ended = job.on(3, {"sampling.stepz=3"});
    EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(ended);
    const auto first = ended.err.find("sampling.stepz");
    ASSERT_NE(first, std::string::npos);
    EXPECT_EQ(ended.err.find("unknown", ended.err.find("unknown", first) + 1), std::string::npos) << ended.err;
    EXPECT_EQ(json_of(bytes_of(job / "out.status")).at("culprit"), "");
}

}  // namespace weft::test

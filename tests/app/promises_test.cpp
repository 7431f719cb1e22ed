#include "app/small_job.hpp"

#include <chrono>
#include <csignal>
#include <random>

/// What design.md promises of one rank: the same bits, nothing lost, the truth in RUN.status.
namespace weft::test {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

namespace {
/// "step 1 HASH" of each complete step.
Words step_hashes(const fs::path& events) {
    Words hashes;
    for (auto& line : json_lines(events))
        if (line.at("event") == "step") hashes.push_back(cat(line.at("step"), " ", line.at("hash")));
    return hashes;
}

std::size_t count(const fs::path& events, const std::string& event) {
    std::size_t n = 0;
    for (const auto& line : json_lines(events)) n += line.at("event") == event ? 1 : 0;
    return n;
}

/// Starts the job and waits until its events hold `text`.
Program start_until(const SmallJob& job, const Words& sets, const std::string& text) {
    fs::remove(job / "events.jsonl");
    auto program = job.start(sets, {"--events", "events.jsonl"});
    while (!fs::exists(job / "events.jsonl") || bytes_of(job / "events.jsonl").find(text) == std::string::npos)
        if (program.ends_within(0.002)) break;
    return program;
}
}  // namespace

// ---- same bits ----

TEST(SameBits, InEveryRun) {
    const SmallJob one;
    const SmallJob two;
    expect_done(one.generate({}, {"--events", "events.jsonl"}));
    expect_done(two.generate({}, {"--events", "events.jsonl"}));
    EXPECT_EQ(one.hashes(), two.hashes());
    EXPECT_EQ(step_hashes(one / "events.jsonl"), step_hashes(two / "events.jsonl"));
    EXPECT_EQ(bytes_of(one / "out.mkv"), bytes_of(two / "out.mkv"));
}

TEST(SameBits, AnotherSeedGivesOthers) {  // or the hashes above would prove nothing
    const SmallJob job;
    expect_done(job.generate({"sampling.seed=43"}));
    EXPECT_NE(job.hash("out.h5"), undisturbed_hashes().substr(0, 32));
    EXPECT_NE(job.hash("out.mkv"), undisturbed_hashes().substr(33));
}

TEST(SameBits, WithAnyBudgetThatFits) {
    for (const char* const budget : {"memory.budget=200MB", "memory.budget=90GiB", "memory.weights=streamed"}) {
        const SmallJob job;
        expect_done(job.generate({budget}));
        EXPECT_EQ(job.hashes(), undisturbed_hashes()) << budget;
    }
}

TEST(SameBits, FromAnotherFolderWithTheModelElsewhere) {
    SmallJob job;
    copy_model(job / "elsewhere" / "model");
    fs::create_directories(job / "far" / "away");
    const auto model = cat("model.path=elsewhere/model");  // counts from the config's folder
    const auto ended = run({weft_program(), "generate", "../../config.toml", "--set", model}, job / "far" / "away");
    expect_done(ended);
    EXPECT_FALSE(fs::exists(job / "out.mkv"));
    EXPECT_EQ(job.hash("far/away/out.h5") + " " + job.hash("far/away/out.mkv"), undisturbed_hashes());
    // and the run file is of the same job: nothing is to be done under the old path either
    fs::copy(job / "far/away/out.h5", job / "out.h5");
    fs::copy(job / "far/away/out.mkv", job / "out.mkv");
    EXPECT_THAT(job.generate().out, HasSubstr("done      already"));
}

TEST(SameBits, AfterTenKillsAtRandomMoments) {
    const SmallJob job;
    const auto begin = std::chrono::steady_clock::now();
    expect_done(job.generate());
    const std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;

    std::mt19937 random(20240611);  // NOLINT: the same moments, as parts of the whole, in every run
    bool anew = true;
    for (int kills = 0; kills < 10;) {
        auto program = job.start({}, anew ? Words{"--restart"} : Words{});
        static_cast<void>(program.ends_within(whole.count() * (0.2 + 0.0008 * (random() % 1000))));
        program.send(SIGKILL);
        const auto ended = program.wait();
        anew = ended.signal == 0;  // a job that has finished in between begins anew
        anew ? expect_done(ended) : static_cast<void>(++kills);
    }
    expect_done(job.generate());
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

TEST(SameBits, AKillLeavesNoStatusOfAnEarlierStart) {
    const SmallJob job;
    EXPECT_EQ(job.generate({"sampling.steps=0"}).code, 2);
    ASSERT_EQ(status_of(job / "out.status"), "2 prepare 0");
    auto program = start_until(job, {"sampling.steps=100"}, "\"step\":1,\"seconds\"");
    program.send(SIGKILL);
    EXPECT_EQ(program.wait().signal, SIGKILL);
    EXPECT_EQ(status_of(job / "out.status"), "no status");
}

// ---- refusals that keep the bits ----

TEST(Resume, ABudgetThatIsTooSmallIsRefusedWithItsOwnCode) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({"memory.budget=5MB"}), 3, {"memory.budget = \"5MB\"", "raise the budget"});
    EXPECT_EQ(status_of(job / "out.status"), "3 prepare 0");
}

TEST(Resume, AnotherNumberOfThreadsIsRefusedWithTheReason) {
    SmallJob job;
    auto program = start_until(job, {"sampling.steps=100"}, "\"step\":2,\"seconds\"");
    program.send(SIGKILL);
    static_cast<void>(program.wait());
    job.keep_files();
    job.expect_refused(job.generate({"sampling.steps=100", "device.threads=2"}), 2, {"out.h5", "device.threads: was 1, is 2"});
}

// ---- stopping ----

class Stopped : public ::testing::TestWithParam<int> {};

TEST_P(Stopped, WithItsStateSavedAndGoesOn) {
    const Words steps{"sampling.steps=6", "output.save_every_s=1000"};  // nothing would be saved but for the signal
    const SmallJob job;
    auto program = start_until(job, steps, "\"step\":1,\"seconds\"");
    program.send(GetParam());
    const auto ended = program.wait();
    EXPECT_EQ(ended.code, 75) << ::testing::PrintToString(ended);
    EXPECT_THAT(ended.err, HasSubstr(GetParam() == SIGTERM ? "signal TERM" : "signal USR1"));
    const auto status = status_of(job / "out.status");
    EXPECT_THAT(status, ::testing::StartsWith("75 denoise "));
    const auto saved = std::stoi(status.substr(11));
    EXPECT_GE(saved, 1);
    EXPECT_THAT(job.weft({"inspect", "out.h5"}).out, HasSubstr(cat("steps     ", saved, " of 6")));

    expect_done(job.generate(steps, {"--events", "more.jsonl"}));
    EXPECT_EQ(count(job / "more.jsonl", "step"), 6U - static_cast<unsigned>(saved));
    EXPECT_EQ(status_of(job / "out.status"), "0 done 6");
    const SmallJob calm;
    expect_done(calm.generate(steps));
    EXPECT_EQ(job.hashes(), calm.hashes());
}

INSTANTIATE_TEST_SUITE_P(By, Stopped, ::testing::Values(SIGTERM, SIGUSR1), [](const auto& one) { return std::string(one.param == SIGTERM ? "Term" : "Usr1"); });

TEST(Stop, WhileDecodingKeepsTheLatents) {
    const Words slow{"sampling.steps=1", "decode.chunk=1", "input.frames=39"};
    const SmallJob job;
    auto program = start_until(job, slow, "\"chunk\"");
    program.send(SIGTERM);
    EXPECT_EQ(program.wait().code, 75);
    EXPECT_EQ(status_of(job / "out.status"), "75 decode 1");
    EXPECT_FALSE(fs::exists(job / "out.mkv"));
    EXPECT_FALSE(fs::exists(job / "out.mkv.part"));
    expect_done(job.generate(slow, {"--events", "more.jsonl"}));
    EXPECT_EQ(count(job / "more.jsonl", "pass"), 0U);
}

// ---- decode ----

TEST(Decode, AJobKilledThereDecodesAgainFromTheSavedLatents) {
    const Words slow{"decode.chunk=1"};
    const SmallJob job;
    auto program = start_until(job, slow, "\"chunk\"");
    program.send(SIGKILL);
    EXPECT_EQ(program.wait().signal, SIGKILL);
    EXPECT_FALSE(fs::exists(job / "out.mkv"));
    EXPECT_THAT(job.weft({"inspect", "out.h5"}).out, HasSubstr("phase     decode"));
    expect_done(job.generate(slow, {"--events", "more.jsonl"}));
    EXPECT_EQ(count(job / "more.jsonl", "pass"), 0U);
    EXPECT_EQ(count(job / "more.jsonl", "chunk"), 10U);
    const SmallJob calm;
    expect_done(calm.generate(slow));
    EXPECT_EQ(job.hashes(), calm.hashes());
}

TEST(Decode, AFinishedJobWhoseVideoIsMissingIsDecodedAgain) {
    const SmallJob job;
    expect_done(job.generate());
    fs::remove(job / "out.mkv");
    expect_done(job.generate({}, {"--events", "more.jsonl"}));
    EXPECT_EQ(count(job / "more.jsonl", "pass"), 0U);
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

TEST(Decode, ChangedOutputSettingsOnlyDecodeAgain) {
    const SmallJob job;
    expect_done(job.generate({"output.video=a.mp4"}));
    const auto first = bytes_of(job / "a.mp4");
    for (const auto& sets : {Words{"output.video=a.mp4", "output.quality=40"}, Words{"output.video=b.mp4", "output.quality=40"},
                             Words{"output.video=frames", "output.quality=40"}}) {
        fs::remove(job / "events.jsonl");
        expect_done(job.generate(sets, {"--events", "events.jsonl"}));
        EXPECT_EQ(count(job / "events.jsonl", "pass"), 0U);
        EXPECT_EQ(count(job / "events.jsonl", "chunk"), 2U);
    }
    EXPECT_LT(fs::file_size(job / "a.mp4"), first.size());
    EXPECT_EQ(bytes_of(job / "a.mp4"), bytes_of(job / "b.mp4"));
    EXPECT_TRUE(fs::exists(job / "frames" / "00009.png"));
}

TEST(Decode, ChangedOutputSettingsAreNotForgottenWhenTheDecodeIsKilled) {
    const SmallJob job;
    const Words fine{"output.video=a.mp4", "decode.chunk=1"};
    const Words coarse{"output.video=a.mp4", "decode.chunk=1", "output.quality=40"};
    expect_done(job.generate(fine));
    const auto first = bytes_of(job / "a.mp4");
    auto program = start_until(job, coarse, "\"chunk\"");
    program.send(SIGKILL);
    EXPECT_EQ(program.wait().signal, SIGKILL);
    EXPECT_EQ(bytes_of(job / "a.mp4"), first);  // the old film stays until the new one is whole
    const auto ended = job.generate(coarse);
    expect_done(ended);
    EXPECT_THAT(ended.out, Not(HasSubstr("already")));
    EXPECT_LT(fs::file_size(job / "a.mp4"), first.size());
}

TEST(Decode, AVideoThatCannotBeWrittenAnyMoreKeepsTheFinishedOne) {
    const SmallJob job;
    expect_done(job.generate());
    const auto ended = job.generate({"output.video=out.avi"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
    expect_done(job.generate());  // the first video again
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

// ---- done ----

TEST(Done, AFinishedJobSaysSoAndDoesNothing) {
    const SmallJob job;
    expect_done(job.generate());
    const auto film = bytes_of(job / "out.mkv");
    const auto when = fs::last_write_time(job / "out.mkv");
    const auto ended = job.generate({}, {"--events", "more.jsonl"});
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("done      already: out.mkv is there and nothing has changed"));
    EXPECT_EQ(count(job / "more.jsonl", "pass") + count(job / "more.jsonl", "chunk"), 0U);
    EXPECT_EQ(fs::last_write_time(job / "out.mkv"), when);
    EXPECT_EQ(bytes_of(job / "out.mkv"), film);
    EXPECT_EQ(status_of(job / "out.status"), "0 done 3");
}

TEST(Done, RestartBeginsAnew) {
    const SmallJob job;
    expect_done(job.generate());
    expect_done(job.generate({}, {"--restart", "--events", "more.jsonl"}));
    EXPECT_EQ(count(job / "more.jsonl", "step"), 3U);
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
    expect_done(job.generate({"sampling.steps=2"}, {"--restart"}));  // of another job, too
    EXPECT_THAT(job.weft({"inspect", "out.h5"}).out, HasSubstr("steps     2 of 2"));
}

TEST(Done, TheLastStepIsSavedHoweverSeldomStepsAre) {
    const SmallJob job;
    expect_done(job.generate({"output.save_every_s=1000"}, {"--events", "events.jsonl"}));
    Words saved;
    for (const auto& line : json_lines(job / "events.jsonl"))
        if (line.at("event") == "step") saved.push_back(line.at("saved"));
    EXPECT_THAT(saved, ElementsAre("false", "false", "true"));
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

TEST(Done, StatusSaysEverything) {
    const SmallJob job;
    expect_done(job.generate());
    const auto status = json_of(bytes_of(job / "out.status"));
    EXPECT_EQ(status, (std::map<std::string, std::string>{{"code", "0"}, {"phase", "done"}, {"step", "3"}, {"text", "done"}, {"culprit", ""}}));
    EXPECT_EQ(job.generate({"sampling.seed=1"}).code, 2);
    EXPECT_THAT(json_of(bytes_of(job / "out.status")).at("text"), HasSubstr("sampling.seed: was 42, is 1"));
}

// ---- events, config, paths ----

TEST(Events, HoldEveryPhasePassStepAndChunk) {
    const SmallJob job;
    expect_done(job.generate({}, {"--events", "events.jsonl"}));
    Words phases;
    Words passes;
    double last = 0;
    for (const auto& line : json_lines(job / "events.jsonl")) {
        ASSERT_TRUE(line.contains("event") && line.contains("t"));
        EXPECT_GE(std::stod(line.at("t")), last);
        last = std::stod(line.at("t"));
        if (line.at("event") == "phase") phases.push_back(line.at("name"));
        if (line.at("event") == "pass") passes.push_back(cat(line.at("step"), line.at("slice"), line.at("branch")));
    }
    EXPECT_THAT(phases, ElementsAre("read", "encode", "denoise", "decode", "done"));
    EXPECT_THAT(passes, UnorderedElementsAre("000", "001", "010", "011", "100", "101", "110", "111", "200", "201", "210", "211"));
    EXPECT_EQ(step_hashes(job / "events.jsonl").size(), 3U);
    EXPECT_EQ(step_hashes(job / "events.jsonl").back(), cat("3 ", job.hash("out.h5")));
    EXPECT_EQ(count(job / "events.jsonl", "chunk"), 2U);
    EXPECT_EQ(count(job / "events.jsonl", "phase_end"), 4U);
    EXPECT_EQ(count(job / "events.jsonl", "done"), 1U);
}

TEST(Config, WhatIsPrintedIsReadBackAndMakesTheSameVideo) {
    const SmallJob job;
    const auto printed = job.generate({"sampling.guidance=[1.5, 2.5]", "output.quality=20"}, {"--print-config"});
    expect_done(printed);
    EXPECT_FALSE(fs::exists(job / "out.h5"));
    write_bytes(job / "printed.toml", printed.out);
    EXPECT_EQ(job.weft({"generate", "printed.toml", "--print-config"}).out, printed.out);
    expect_done(job.generate({"sampling.guidance=[1.5, 2.5]", "output.quality=20"}));
    const auto ended = job.weft({"generate", "printed.toml"});
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("done      already"));
}

TEST(Config, MistakesInItAreNotPrinted) {
    const SmallJob job;
    const auto ended = job.generate({"sampling.stepz=3"}, {"--print-config"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_EQ(ended.out, "");
}

TEST(Paths, OutputsCountFromTheCurrentFolderAndInputsFromTheConfigs) {
    const SmallJob job;
    fs::create_directories(job / "set" / "inputs");
    fs::create_directories(job / "here");
    fs::copy(tiny_model() / "example" / "person.png", job / "set" / "inputs" / "person.png");
    fs::copy(job / "config.toml", job / "set" / "config.toml");
    expect_done(run({weft_program(), "generate", "../set/config.toml", "--set", "input.image=inputs/person.png", "--set", "output.video=film.mkv", "--set",
                     "output.run_file=run.h5"},
                    job / "here"));
    EXPECT_TRUE(fs::exists(job / "here" / "film.mkv"));
    EXPECT_TRUE(fs::exists(job / "here" / "run.h5"));
    EXPECT_EQ(status_of(job / "here" / "run.status"), "0 done 3");
    EXPECT_EQ(job.hash("here/run.h5") + " " + job.hash("here/film.mkv"), undisturbed_hashes());
}

TEST(Paths, TheExampleThatComesWithTheModelWorks) {
    const SmallJob job;
    const auto config = (tiny_model() / "example" / "config.toml").string();
    expect_done(job.weft({"plan", config}));
    expect_done(job.weft({"generate", config, "--set", "sampling.steps=1", "--set", "input.frames=3"}));
    EXPECT_TRUE(fs::exists(job / "out.mp4"));
}

}  // namespace weft::test

#include "app/small_job.hpp"

#include <nlohmann/json.hpp>

/// `weft bench scaling` and `weft bench units`, and what `weft plan` makes of them.
namespace weft::test {

using ::testing::HasSubstr;
using Json = nlohmann::json;

namespace {

Json json_in(const fs::path& path) {
    return Json::parse(bytes_of(path));
}

struct Chain {
    int stages = 1, slices = 1, steps = 1;
    double time_scale = 1;
};

/// Equal stages, a rank each, on a chain of small slices; figures in t.json.
Words scaling_of_a_chain(const Chain& chain) {
    Words words{weft_program(), "bench", "scaling", "--clip", "chain", "--json", "t.json"};
    const auto add = [&words](const std::string& option, const std::string& value) { words.insert(words.end(), {option, value}); };
    add("--costs", cat("equal:", chain.stages));
    add("--ranks", cat(chain.stages));
    add("--length", cat(chain.slices));
    add("--time-scale", cat(chain.time_scale));
    for (const auto& set : {std::string("layout.kind=stages"), cat("layout.stages=", chain.stages), cat("sampling.steps=", chain.steps),
                            std::string("video.width=64"), std::string("video.height=64"), std::string("slices.length=6"), std::string("slices.overlap=2")})
        add("--set", set);
    return words;
}

}  // namespace

TEST(BenchScaling, ThreeStagesOfAChainAreAsBusyAsPredicted) {
    const Folder folder;
    auto words = scaling_of_a_chain({.stages = 3, .slices = 5, .steps = 3, .time_scale = 0.4});
    words.insert(words.end(), {"--plot", "t.svg"});
    const auto ended = run(words, folder.path());
    expect_done(ended);
    const auto row = json_in(folder / "t.json").at("rows").at(0);
    EXPECT_EQ(row.at("ranks"), 3);
    EXPECT_EQ(row.at("steps"), 3);
    // 30 passes of three stages, and two stages' time to fill and drain.
    EXPECT_NEAR(row.at("predicted_efficiency").get<double>(), 30.0 / 32.0, 0.01);
    EXPECT_NEAR(row.at("efficiency").get<double>(), row.at("predicted_efficiency").get<double>(), 0.1);  // sleeps of 40 ms beside other tests
    EXPECT_NEAR(row.at("one_rank_s").get<double>(), 30 * 0.3, 1e-9);
    EXPECT_THAT(ended.out, HasSubstr("3 stages, straight"));
    EXPECT_THAT(bytes_of(folder / "t.svg"), HasSubstr("</svg>"));
}

TEST(BenchScaling, LinkTimeOfHiddenStatesIsWaitedFor) {
    const Folder folder;
    const auto transfers = [&](const char* rate) {
        auto words = scaling_of_a_chain({.stages = 2, .slices = 2, .steps = 2, .time_scale = 0.2});
        words.insert(words.end(), {"--local-link", rate});
        const auto ended = run(words, folder.path());
        expect_done(ended);
        return json_in(folder / "t.json").at("rows").at(0).at("seconds").get<double>();
    };
    // A hidden state is 6 MiB: 63 ms at 100 MB/s, beside a stage's 100 ms.
    EXPECT_GT(transfers("100MB/s"), transfers("100GB/s") + 0.04);
}

TEST(BenchScaling, DecodingKeepsRanksAsBusyAsWholeChunksAllow) {
    const Folder folder;
    const auto ended = run({weft_program(), "bench", "scaling", "--phase", "decode", "--length", "40", "--ranks", "3", "--time-scale", "0.5", "--json",
                            "t.json", "--set", "video.width=128", "--set", "video.height=128"},
                           folder.path());
    expect_done(ended);
    const auto row = json_in(folder / "t.json").at("rows").at(0);
    EXPECT_NEAR(row.at("load_bound").get<double>(), 5.0 / 6.0, 1e-9);  // five chunks, two of them on one rank twice
    EXPECT_NEAR(row.at("efficiency").get<double>(), 5.0 / 6.0, 0.08);
}

TEST(BenchScaling, WrongWordsAreListedTogether) {
    const Folder folder;
    const auto ended = run({weft_program(), "bench", "scaling", "--ranks", "0-3", "--clip", "heap", "--payload", "0", "--minutes", "0"}, folder.path());
    EXPECT_EQ(ended.code, 2);
    for (const char* const text :
         {"--ranks = \"0-3\": must be numbers from 1 to 256", "--clip = heap: must be frames, chain or ring", "--payload = 0", "--minutes"})
        EXPECT_THAT(ended.err, HasSubstr(text));
    EXPECT_THAT(run({weft_program(), "bench", "scaling", "--costs", "guesses"}, folder.path()).err,
                HasSubstr("must be mimicmotion, musepose, or equal:STAGES"));
    EXPECT_THAT(run({weft_program(), "bench", "scaling", "--local-link", "fast"}, folder.path()).err, HasSubstr("for example 300GB/s or 1Gbit/s"));
}

TEST(Bench, EveryPieceOfAWindowOfMusePose) {
    const Folder folder;
    expect_done(run({weft_program(), "make-model", "--tiny", "model", "--family", "musepose"}, folder.path()));
    expect_done(run({weft_program(), "bench", "--model", "model", "--set", "model.family=musepose", "--frames", "5", "--size", "64x128", "--warm-up", "0",
                     "--repeats", "1", "--json", "bench.json"},
                    folder.path()));
    const auto report = json_in(folder / "bench.json");
    std::vector<std::string> pieces;
    for (const auto& row : report.at("rows")) {
        pieces.push_back(row.at("piece"));
        EXPECT_GT(row.at("median_s").get<double>(), 0) << pieces.back();
    }
    EXPECT_EQ(pieces, (std::vector<std::string>{"encode", "pass", "step", "decode"}));
}

TEST(BenchUnits, TimesAreKeptAndPlansWeighThem) {
    const SmallJob job;
    expect_done(job.weft({"bench", "units", "config.toml", "--repeats", "1", "--out", "units.json"}));
    const auto units = json_in(job / "units.json").at("units");
    EXPECT_GT(units.at("conv_in").at(1).get<double>(), 0);
    const auto measured = job.weft({"plan", "config.toml", "--ranks", "3", "--costs", "units.json"});
    expect_done(measured);
    EXPECT_THAT(measured.out, HasSubstr("costs     measured: units.json"));

    auto lacking = json_in(job / "units.json");
    lacking.at("units").erase("conv_in");
    write_bytes(job / "lacking.json", lacking.dump());
    const auto refused = job.weft({"plan", "config.toml", "--costs", "lacking.json"});
    EXPECT_EQ(refused.code, 2);
    EXPECT_THAT(refused.err, HasSubstr("measured times lack unit conv_in; measure again with weft bench units"));
    write_bytes(job / "none.json", "no JSON");
    EXPECT_EQ(job.weft({"plan", "config.toml", "--costs", "none.json"}).code, 2);
    EXPECT_THAT(job.weft({"plan", "config.toml", "--costs", "nowhere.json"}).err, HasSubstr("there is no such file"));
}

TEST(BenchUnits, JobsFindTheTimesOfTheirMachine) {
    const SmallJob job;
    const auto cached = [&](Words words) {
        words.insert(words.begin(), {"env", cat("XDG_CACHE_HOME=", (job / "cache").string())});
        return run(words, job.folder());
    };
    expect_done(cached({weft_program(), "bench", "units", "config.toml", "--repeats", "1"}));
    const auto ended = cached(job.command());
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("costs     of units as measured: "));
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

}  // namespace weft::test

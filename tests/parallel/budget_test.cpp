#include "base/text.hpp"
#include "parallel/ranked_job.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iostream>

/// A budget is kept, with the same bits, or the job is refused before anything is loaded. WEFT_MEMORY_ALL=1 tries it at full size too (noise for weights, 2
/// frames of 256x256, 60 % and 40 % of what the job takes otherwise): `WEFT_MEMORY_ALL=1 launch/test -R Budget`, ten minutes.
namespace weft::test {

using ::testing::AllOf;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

namespace {

struct Kept {
    Ended ended;
    std::int64_t most = 0;       ///< of RssAnon, polled, less that of the process before it encodes
    std::int64_t predicted = 0;  ///< of the fullest phase
    Words hashes;
};

bool has_begun_to_encode(const fs::path& events) {
    std::ifstream in(events);
    for (std::string line; std::getline(in, line);)
        if (line.find("\"phase\"") != std::string::npos && line.find("\"encode\"") != std::string::npos) return true;
    return false;
}

Kept watch(const RankedJob& job, const Words& sets) {
    job.clean();
    Program program(job.generate_words(weft_program(), sets), job.folder());
    Kept kept;
    std::int64_t idle = 0, most = 0;
    for (bool encodes = false; !program.ends_within(0.005);) {
        const auto now = program.anonymous_bytes();
        encodes = encodes || has_begun_to_encode(job / "events.jsonl");
        if (!encodes) idle = now;
        most = std::max(most, now);
    }
    kept.ended = program.wait();
    kept.most = most - idle;
    if (kept.ended.code != 0) return kept;
    for (auto& line : json_lines(job / "events.jsonl"))
        if (line.at("event") == "predicted") kept.predicted = std::max<std::int64_t>(kept.predicted, std::stoll(line.at("bytes")));
    kept.hashes = job.hashes();
    return kept;
}

/// The job as it is, and within parts of what it then takes.
void try_budgets(const RankedJob& job, const Words& sets, const std::vector<double>& parts) {
    const auto free = watch(job, sets);
    expect_done(free.ended);
    std::cout << "predicted " << free.predicted / 1e6 << " MB, RssAnon beyond idle " << free.most / 1e6 << " MB\n";
    for (const double part : parts) {
        const auto budget = static_cast<std::int64_t>(part * static_cast<double>(free.predicted));
        auto words = sets;
        words.push_back(cat("memory.budget=", fixed(static_cast<double>(budget) / 1e6, 3), "MB"));
        SCOPED_TRACE(words.back());
        const auto kept = watch(job, words);
        expect_done(kept.ended);
        EXPECT_LE(kept.most, budget);
        EXPECT_THAT(kept.hashes, ElementsAreArray(free.hashes));
        std::cout << "budget " << budget / 1e6 << " MB: predicted " << kept.predicted / 1e6 << " MB, RssAnon beyond idle " << kept.most / 1e6 << " MB\n";
    }
    auto words = sets;
    words.push_back("memory.budget=75MB");
    const auto refused = watch(job, words);
    EXPECT_EQ(refused.ended.code, 3);
    EXPECT_THAT(refused.ended.err, AllOf(HasSubstr("memory.budget = \"75MB\""), HasSubstr("needs at least"), HasSubstr("raise the budget")));
}

class Budget : public ::testing::TestWithParam<bool> {};

/// Of four fifths where activations take most of it: slices of 48 frames of 256x256.
TEST_P(Budget, IsKeptWithTheSameBits) {
    const bool musepose = GetParam();
    try_budgets(RankedJob({.poses = 48, .steps = 1, .size = 256, .musepose = musepose}), {"slices.length=48", "input.frames=47"}, {0.8});
    if (std::getenv("WEFT_MEMORY_ALL") == nullptr) return;
    try_budgets(RankedJob({.poses = 2, .steps = 1, .size = 256, .musepose = musepose}), {"model.path=random", "slices.length=2", "slices.overlap=1"},
                {0.6, 0.4});
}

INSTANTIATE_TEST_SUITE_P(Families, Budget, ::testing::Bool(), [](const auto& one) { return one.param ? "musepose" : "mimicmotion"; });

}  // namespace
}  // namespace weft::test

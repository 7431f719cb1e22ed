#include "io/run_file.hpp"
#include "parallel/ranked_job.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <random>
#include <sstream>

/// Memory that runs out anywhere ends in a finished, correct job, or in exit code 3 with a good run file and words that help. WEFT_OOM_POINTS=260 tries so many
/// points in place of 26 (a tenth of them on three ranks): `WEFT_OOM_POINTS=260 launch/test -R OutOfMemory`.
namespace weft::test {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

namespace {

constexpr std::uint64_t seed = 20261126;

int points() {
    const char* const wished = std::getenv("WEFT_OOM_POINTS");
    return wished == nullptr ? 26 : std::atoi(wished);
}

Ended fail_at(const RankedJob& job, int ranks, const std::string& fault, const Words& sets = {}) {
    if (ranks > 1) return job.failing(ranks, fault, sets);
    auto words = job.generate_words(WEFT_FAULTY, sets);
    words.insert(words.begin(), {"env", cat("WEFT_FAULT=", fault)});
    return run(words, job.folder());
}

/// Tensors that rank `rank` has made when each phase begins, in order, and at the end.
std::vector<std::pair<std::string, std::int64_t>> count_phases(const RankedJob& job, int ranks, int rank, const Words& sets = {}) {
    const auto counts = job / "counts";
    EXPECT_EQ(fail_at(job, ranks, cat("count ", rank, " ", counts.string()), sets).code, 0);
    std::vector<std::pair<std::string, std::int64_t>> phases;
    std::ifstream in(counts);
    std::string phase;
    std::int64_t number = 0;
    for (; in >> phase >> number;)
        if (phases.empty() || phases.back().first != phase) phases.emplace_back(phase, number);
    phases.emplace_back("end", number + 1);
    fs::remove(counts);
    return phases;
}

/// Points spread evenly over the phases that make tensors; what fails there by turns is one tensor, all large ones from there on, and all from there on.
void try_points(const RankedJob& job, int ranks, int tries) {
    expect_done(job.alone());
    const auto wanted = job.hashes();
    job.clean();
    std::mt19937_64 random(seed + static_cast<std::uint64_t>(ranks));
    int finished = 0, refused = 0;
    std::map<int, std::vector<std::pair<std::string, std::int64_t>>> phases;
    for (int i = 0; i < tries; ++i) {
        const int rank = static_cast<int>(random() % static_cast<std::uint64_t>(ranks));
        if (!phases.contains(rank)) {
            phases[rank] = count_phases(job, ranks, rank);
            job.clean();
        }
        const auto& borders = phases[rank];
        const auto phase = static_cast<std::size_t>(i) % (borders.size() - 1);
        const auto tensors = static_cast<std::uint64_t>(borders[phase + 1].second - borders[phase].second);
        const auto point = borders[phase].second + static_cast<std::int64_t>(random() % tensors);
        static constexpr std::array kinds{"once", "once", "large", "all"};
        const auto fault = cat(kinds[static_cast<std::size_t>(i) / (borders.size() - 1) % kinds.size()], " ", rank, " ", point);
        SCOPED_TRACE(cat(fault, " of ", borders.back().second - 1, ", in phase ", borders[phase].first));
        const auto ended = fail_at(job, ranks, fault);
        if (ended.code == 0) {
            ++finished;
            EXPECT_THAT(job.hashes(), ElementsAreArray(wanted));
        } else {
            ++refused;
            EXPECT_EQ(ended.code, 3) << ::testing::PrintToString(ended);
            EXPECT_THAT(ended.err, HasSubstr("out of memory"));
            EXPECT_THAT(ended.err, ::testing::AnyOf(HasSubstr("needs less"), HasSubstr("less is needed by"), HasSubstr("choose a smaller")));
            EXPECT_THAT(bytes_of(job / "out.status"), HasSubstr("\"code\": 3"));
            fs::remove(job / "events.jsonl");
            expect_done(job.alone());  // goes on from what was saved
            const auto resumed = job.hashes();
            EXPECT_THAT(resumed, ElementsAreArray(wanted.end() - static_cast<std::ptrdiff_t>(resumed.size()), wanted.end()));
        }
        EXPECT_THAT(job.left_running(), ::testing::IsEmpty());
        job.clean();
    }
    std::cout << finished << " finished, " << refused << " ended with exit code 3\n";
    EXPECT_GT(finished, 0);
    EXPECT_GT(refused, 0);
}

}  // namespace

TEST(OutOfMemory, OnOneRankIsSurvivedOrTold) {
    try_points(RankedJob({.poses = 17, .steps = 2}), 1, std::max(1, points() * 10 / 13));
}

TEST(OutOfMemory, OnOneOfThreeRanksIsSurvivedOrTold) {
    try_points(RankedJob({.poses = 27, .steps = 2}), 3, std::max(1, points() * 3 / 13));
}

/// numerics = "free": a pass that ran out of memory beside others goes on with fewer of them, and the run file says from which step on.
TEST(OutOfMemory, WithFreeNumericsFewerPassesRunSideBySide) {
    const RankedJob job({.poses = 27, .steps = 2});
    const Words free{"memory.numerics=free"};
    const auto phases = count_phases(job, 1, 0, free);
    job.clean();
    const auto denoise = std::ranges::find(phases, "denoise", &std::pair<std::string, std::int64_t>::first);
    ASSERT_NE(denoise, phases.end());
    const auto tensors = std::next(denoise)->second - denoise->second;
    expect_done(fail_at(job, 1, cat("once 0 ", denoise->second + tensors * 3 / 4), free));
    EXPECT_THAT(io::RunFile::open_readonly(job / "out.h5").header().plan, HasSubstr("what = \"from step 2 on 3 passes side by side: memory ran out\""));
}

}  // namespace weft::test

#include "parallel/wavefront.hpp"

#include "plan/slices.hpp"

#include <algorithm>
#include <limits>
#include <map>

namespace weft::test {

namespace {

struct Span {
    double begin = std::numeric_limits<double>::max();
    double end = 0;

    void add(double from, double to) {
        begin = std::min(begin, from);
        end = std::max(end, to);
    }
};

/// A task that a rank did.
struct Done {
    double clock = 0;
    double begin_s = 0;
};

struct Followed {
    std::map<std::int64_t, Span> clocks, seconds;                 ///< by step
    std::map<std::int64_t, Span> advances;                        ///< by step, clocks
    std::map<std::int64_t, std::map<std::int64_t, Span>> passes;  ///< by step and slice, clocks of both branches on all ranks
    std::map<std::int64_t, std::vector<Done>> tasks;              ///< by rank
    std::int64_t count = 0;
};

Followed followed(const fs::path& events) {
    Followed all;
    for (auto& line : json_lines(events)) {
        if (line.at("event") != "trace") continue;
        const auto number = [&](const char* key) { return std::stod(line.at(key)); };
        const auto whole = [&](const char* key) { return std::stoll(line.at(key)); };
        if (line.at("kind") == "advance") all.advances[whole("step")].add(number("clock_begin"), number("clock_end"));
        if (line.at("kind") != "task") continue;
        ++all.count;
        all.clocks[whole("step")].add(number("clock_begin"), number("clock_end"));
        all.seconds[whole("step")].add(number("begin"), number("end"));
        all.passes[whole("step")][whole("slice")].add(number("clock_begin"), number("clock_end"));
        all.tasks[whole("rank")].push_back({number("clock_begin"), number("begin")});
    }
    return all;
}

bool share_frames(const plan::Slice& one, const plan::Slice& other) {
    return std::ranges::any_of(one.frames, [&](auto frame) { return std::ranges::find(other.frames, frame) != other.frames.end(); });
}

/// What is true of any order in which a job may run: what a pass needs is there, and no step is begun when the one before the last is not complete.
void expect_nothing_ahead_of_its_need(const Followed& all, const plan::Slices& slices, std::int64_t steps) {
    const auto expect_after = [&](std::int64_t step, std::size_t slice, std::size_t later) {
        EXPECT_GT(all.passes.at(step + 1).at(static_cast<std::int64_t>(later)).begin, all.passes.at(step).at(static_cast<std::int64_t>(slice)).end)
            << "slice " << later << " begins step " << step + 2 << " when slice " << slice << " has not ended step " << step + 1;
    };
    for (std::size_t later = 0; later < slices.size(); ++later)
        for (std::size_t slice = 0; slice < slices.size(); ++slice)
            for (std::int64_t step = 0; share_frames(slices[slice], slices[later]) && step + 1 < steps; ++step) expect_after(step, slice, later);
    for (std::int64_t step = 0; step + 2 < steps; ++step)
        EXPECT_GT(all.clocks.at(step + 2).begin, all.advances.at(step).end) << "step " << step + 3 << " begins when step " << step + 1 << " is not complete";
}

void expect_ranks_kept_to_their_clocks(const Followed& all) {
    for (auto [rank, tasks] : all.tasks) {
        std::ranges::sort(tasks, {}, &Done::begin_s);
        EXPECT_TRUE(std::ranges::is_sorted(tasks, {}, &Done::clock)) << "rank " << rank;
    }
}

}  // namespace

void expect_wavefront(const RankedJob& job, const Wavefront& wanted, const Words& sets) {
    Words words{"layout.kind=stages", cat("layout.stages=", wanted.ranks), "layout.map=straight"};
    words.insert(words.end(), sets.begin(), sets.end());
    const auto ended = job.on(wanted.ranks, words, 240);
    ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);

    const auto slices = plan::make_windows(plan::padded_frames(wanted.poses, wanted.length, wanted.overlap), wanted.length, wanted.overlap);
    const auto all = followed(job / "events.jsonl");
    EXPECT_EQ(all.count, static_cast<std::int64_t>(slices.size()) * wanted.steps * 2 * wanted.ranks);  // two branches, a leg of each on every rank
    // What happens at once has no order by logical clocks, so this is told by the clock on the wall; all ranks are on one machine.
    for (std::int64_t step = 0; step + 1 < wanted.steps; ++step)
        EXPECT_LT(all.seconds.at(step + 1).begin, all.seconds.at(step).end) << "step " << step + 2 << " begins when step " << step + 1 << " has ended";
    expect_nothing_ahead_of_its_need(all, slices, wanted.steps);
    ASSERT_EQ(all.tasks.size(), static_cast<std::size_t>(wanted.ranks));
    expect_ranks_kept_to_their_clocks(all);
}

}  // namespace weft::test

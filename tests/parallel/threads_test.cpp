#include "parallel/layouts.hpp"
#include "parallel/ranked_job.hpp"
#include "pipeline/job.hpp"

#include <exception>
#include <mutex>
#include <thread>

/// Promise 1 with ranks as threads of one process: the same program on the same unbuffered transport's face, without a launcher.
namespace weft::test {

using ::testing::ElementsAreArray;

namespace {
/// Runs the job of config.toml on ranks as threads, each two on a made-up host. Gives what failed, "" for nothing.
std::string run_as_threads(const RankedJob& job, int num_ranks, const Words& sets = {}) {
    fs::current_path(job.folder());
    std::vector<std::string> hosts;
    for (int rank = 0; rank < num_ranks; ++rank) hosts.push_back(cat("host", rank / 2));
    comm::ThreadsHub hub(hosts);
    std::mutex mutex;
    std::string failures;
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < num_ranks; ++rank)
        ranks.emplace_back([&, rank] {
            comm::Transport transport([&hub, rank] { return hub.link(rank); }, {});
            try {
                Mistakes mistakes;
                const auto settings = read_settings("config.toml", sets, mistakes);
                const auto events = rank == 0 ? std::make_unique<Events>("events.jsonl") : std::make_unique<Events>();
                pipeline::Job one(settings, {}, transport, *events);
                static_cast<void>(one.run());
                transport.leave(0);
            } catch (const std::exception& error) {
                {
                    const std::lock_guard lock(mutex);
                    failures += cat("rank ", rank, ": ", error.what(), "\n");
                }
                transport.fail(ExitCode::failure, error.what());
            }
        });
    for (auto& rank : ranks) rank.join();
    fs::current_path("/");
    return failures;
}

class SameBitsOverThreads : public testing::TestWithParam<const char*> {};
}  // namespace

TEST_P(SameBitsOverThreads, OnAnyNumberOfRanks) {
    const RankedJob job({.poses = 60, .steps = 3, .anchor = GetParam()});
    expect_done(job.alone());
    const auto wanted = job.hashes();
    for (const int ranks : {1, 2, 3, 4, 5, 7, 8}) {
        job.clean();
        ASSERT_EQ(run_as_threads(job, ranks), "") << ranks << " ranks";
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << ranks << " ranks";
    }
}

TEST_P(SameBitsOverThreads, InAnyLayout) {
    const RankedJob job({.poses = 30, .steps = 2, .anchor = GetParam()});
    const std::string tall = "video.height=192";  // large enough for cuts within units
    expect_done(job.alone({tall}));
    const auto wanted = job.hashes();
    ASSERT_GT(job.num_pieces(), job.num_units());
    auto layouts = usual_layouts();
    for (auto& layout : random_layouts(job.num_pieces())) layouts.push_back(std::move(layout));
    for (auto& layout : layouts) {
        job.clean();
        layout.sets.push_back(tall);
        ASSERT_EQ(run_as_threads(job, layout.ranks, layout.sets), "") << layout.name();
        EXPECT_THAT(job.hashes(), ElementsAreArray(wanted)) << layout.name();
    }
}

INSTANTIATE_TEST_SUITE_P(Anchors, SameBitsOverThreads, testing::Values("blended", "private"), [](const auto& anchor) { return std::string(anchor.param); });

}  // namespace weft::test

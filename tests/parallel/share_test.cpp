#include "base/settings.hpp"
#include "parallel/ranked_job.hpp"
#include "plan/plan.hpp"

/// What each rank sends and holds, as the ranks themselves count it.
namespace weft::test {

namespace {
plan::Plan plan_of(const RankedShape& shape, int ranks) {
    Settings settings;
    settings.video = {.width = 64, .height = 64};
    settings.sampling.steps = shape.steps;
    settings.slices.length = 16;
    settings.slices.anchor = shape.anchor == "private" ? Anchor::private_ : Anchor::blended;
    settings.layout.kind = LayoutKind::whole;
    return plan::make_plan(settings, shape.poses, plan::ModelShape{}, ranks);
}

/// The events "rank" of a finished job, by rank.
std::vector<std::map<std::string, std::string>> ranks_of(const RankedJob& job) {
    std::vector<std::map<std::string, std::string>> ranks;
    for (auto& line : json_lines(job / "events.jsonl"))
        if (line.at("event") == "rank") ranks.push_back(std::move(line));
    return ranks;
}

std::int64_t number(const std::map<std::string, std::string>& line, const std::string& key) {
    return std::stoll(line.at(key));
}
}  // namespace

class TrafficWith : public testing::TestWithParam<const char*> {};

TEST_P(TrafficWith, BytesSentAreThoseOfTheFormula) {
    const RankedShape shape{.anchor = GetParam()};
    for (const int num_ranks : {3, 5}) {
        const RankedJob job(shape);
        const auto ended = job.on(num_ranks, {"layout.kind=whole"});
        ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
        const auto plan = plan_of(shape, num_ranks);
        const auto ranks = ranks_of(job);
        ASSERT_EQ(ranks.size(), static_cast<std::size_t>(num_ranks));
        // docs: src/plan/README.md. A step's predictions; its latents where another step follows; every frame once to the writer, of which the latents are a
        // part.
        const auto links = plan::link_bytes(plan);
        for (int rank = 0; rank < num_ranks; ++rank) {
            std::int64_t predictions = 0;
            std::int64_t latents = 0;
            std::int64_t to_writer = 0;
            for (const auto& [link, bytes] : links) {
                if (link.first != rank) continue;
                predictions += bytes.predictions;
                latents += bytes.latents;
                if (link.second == plan::writer) to_writer += bytes.latents + bytes.saved;
            }
            const auto& told = ranks[static_cast<std::size_t>(rank)];
            EXPECT_EQ(number(told, "sent_prediction_bytes"), predictions * shape.steps) << "rank " << rank;
            EXPECT_EQ(number(told, "sent_latent_bytes"), latents * (shape.steps - 1)) << "rank " << rank;
            std::int64_t saved = 0;
            for (const auto& [link, bytes] : links)
                if (link.first == rank) saved += bytes.saved;
            EXPECT_EQ(number(told, "sent_saved_bytes"), saved * (shape.steps - 1) + to_writer) << "rank " << rank;
            EXPECT_EQ(number(told, "sent_resumed_bytes"), 0);
            std::int64_t chunk_latents = 0;
            std::int64_t frames = 0;
            for (std::size_t chunk = 0; chunk < plan.decode.size(); ++chunk) {
                const int decoder = plan.decoder[chunk];
                if (decoder == plan::writer) continue;
                if (rank == plan::writer) chunk_latents += plan.decode[chunk].size() * plan.frame_elements() * 4;
                if (rank == decoder) frames += (plan.decode[chunk].size() - (chunk == 0 ? 1 : 0)) * 64 * 64 * 3;
            }
            EXPECT_EQ(number(told, "sent_decode_bytes"), chunk_latents) << "rank " << rank;
            EXPECT_EQ(number(told, "sent_frame_bytes"), frames) << "rank " << rank;
        }
    }
}

TEST(Traffic, AResumeSendsEachRankTheLatentsThatItsPassesRead) {
    const RankedJob job;
    const auto stopped = job.failing(3, "usr1 1 1");
    ASSERT_EQ(stopped.code, 75) << ::testing::PrintToString(stopped);
    fs::remove(job / "events.jsonl");
    ASSERT_EQ(job.on(5, {"layout.kind=whole"}).code, 0);
    const auto plan = plan_of({}, 5);
    std::int64_t others = 0;
    for (int rank = 1; rank < 5; ++rank) others += plan::count(plan.kept(rank)) * plan.frame_elements() * 4;
    const auto ranks = ranks_of(job);
    ASSERT_EQ(ranks.size(), 5U);
    EXPECT_EQ(number(ranks[0], "sent_resumed_bytes"), others);
    for (std::size_t rank = 1; rank < 5; ++rank) EXPECT_EQ(number(ranks[rank], "sent_resumed_bytes"), 0);
}

INSTANTIATE_TEST_SUITE_P(Anchors, TrafficWith, testing::Values("blended", "private"), [](const auto& anchor) { return std::string(anchor.param); });

TEST(StageMemory, EachRankHoldsTheWeightsOfItsUnitsAndItsSlotsAndNothingMore) {
    const RankedJob job({.poses = 40, .steps = 2, .anchor = "private"});
    std::int64_t whole = 0;
    for (const int stages : {1, 2, 4, 8})
        for (const char* const map : {"straight", "folded"}) {
            job.clean();
            const auto ended = job.on(stages, {"layout.kind=stages", cat("layout.stages=", stages), cat("layout.map=", map)});
            ASSERT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
            std::int64_t weights = 0, slots = 0;
            for (const auto& rank : ranks_of(job)) {
                EXPECT_EQ(number(rank, "denoise_weight_bytes"), number(rank, "planned_weight_bytes")) << stages << " stages, " << map;
                EXPECT_EQ(number(rank, "slot_bytes"), number(rank, "planned_slot_bytes")) << stages << " stages, " << map;
                slots += number(rank, "slot_bytes");
                weights = std::max(weights, number(rank, "denoise_weight_bytes"));
            }
            EXPECT_EQ(slots > 0, stages > 1);
            if (stages == 1) whole = weights;
            EXPECT_TRUE(stages == 1 || weights < whole) << "stages divide weights";
        }
}

class ShareWith : public testing::TestWithParam<const char*> {};

TEST_P(ShareWith, NoRanksPeakGrowsWithTheClipBeyondItsShareOfLatents) {
    constexpr int num_ranks = 3;
    const auto ranks_for = [=](std::int64_t poses) {
        const RankedJob job({.poses = poses, .steps = 3, .anchor = GetParam()});
        // Without MKL's own pool, which keeps up to 30 MB more or less from length to length.
        Words words{"-n", std::to_string(num_ranks), "-x", "MKL_DISABLE_FAST_MM=1"};
        for (const auto& word : job.generate_words(weft_program(), {"sampling.guidance=[1.0, 1.0]", "output.video=out.mp4", "layout.kind=whole"}))
            words.push_back(word);
        const auto ended = job.mpirun(words, 120);
        EXPECT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
        return ranks_of(job);
    };
    const auto few = ranks_for(60);
    const auto many = ranks_for(600);
    ASSERT_EQ(few.size(), static_cast<std::size_t>(num_ranks));
    ASSERT_EQ(many.size(), static_cast<std::size_t>(num_ranks));
    const auto plan = plan_of({.poses = 600, .steps = 3, .anchor = GetParam()}, num_ranks);
    for (int rank = 0; rank < num_ranks; ++rank) {
        // The writer holds the clip's latents at most four times besides its own share: two steps on their way, one that is gathered, one that is saved. The
        // others hold theirs, and once more in messages for each step that a chain lets them run ahead.
        const auto kept = plan::count(plan.kept(rank)) * plan.frame_elements() * 4;
        // Pose features of the slices that begin there are kept from step to step, as long as they take less than 64 MiB: 32 channels in fp32.
        std::int64_t pose_features = 0;
        for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
            if (plan.deal.route(slice, plan::Branch::conditional).first_rank() == rank)
                pose_features += static_cast<std::int64_t>(plan.slices.front().frames.size()) * plan.latent_height * plan.latent_width * 32 * 4;
        const auto share = pose_features + (rank == plan::writer ? kept + 4 * plan.latent_bytes() : 4 * kept);
        // Resident bytes move by a tenth with pools and fragments of the libraries, at any length: a bound on what escapes the meter, not a measure.
        for (const auto& [peak, slack] : {std::pair{"peak_bytes", 0.01}, {"peak_resident_bytes", 0.16}}) {
            const auto before = number(few[static_cast<std::size_t>(rank)], peak);
            const auto after = number(many[static_cast<std::size_t>(rank)], peak);
            RecordProperty(cat("rank", rank, "_", peak, "_60"), cat(before));
            RecordProperty(cat("rank", rank, "_", peak, "_600"), cat(after));
            EXPECT_LE(static_cast<double>(after - before - share), slack * static_cast<double>(before))
                << peak << " of rank " << rank << ": " << before << ", then " << after << "; all latents " << plan.latent_bytes();
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Anchors, ShareWith, testing::Values("blended", "private"), [](const auto& anchor) { return std::string(anchor.param); });

}  // namespace weft::test

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
    return plan::make_plan(settings, shape.poses, {.num_units = 100}, ranks);
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

class Traffic : public testing::TestWithParam<const char*> {};

TEST_P(Traffic, BytesSentAreThoseOfTheFormula) {
    const RankedShape shape{.anchor = GetParam()};
    for (const int num_ranks : {3, 5}) {
        const RankedJob job(shape);
        const auto ended = job.on(num_ranks);
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
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Anchors, Traffic, testing::Values("blended", "private"), [](const auto& anchor) { return std::string(anchor.param); });

TEST(Share, NoRanksPeakGrowsWithTheClipBeyondItsShareOfLatents) {
    constexpr int num_ranks = 3;
    const auto ranks_for = [=](std::int64_t poses) {
        const RankedJob job({.poses = poses, .steps = 1});
        // Without MKL's own pool, which keeps up to 30 MB more or less from length to length.
        Words words{"-n", std::to_string(num_ranks), "-x", "MKL_DISABLE_FAST_MM=1"};
        for (const auto& word : job.generate_words(weft_program(), {"sampling.guidance=[1.0, 1.0]", "output.video=out.mp4"})) words.push_back(word);
        const auto ended = job.mpirun(words, 120);
        EXPECT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
        return ranks_of(job);
    };
    const auto few = ranks_for(60);
    const auto many = ranks_for(600);
    ASSERT_EQ(few.size(), static_cast<std::size_t>(num_ranks));
    ASSERT_EQ(many.size(), static_cast<std::size_t>(num_ranks));
    const auto plan = plan_of({.poses = 600, .steps = 1}, num_ranks);
    for (int rank = 0; rank < num_ranks; ++rank) {
        // The writer holds the clip's latents at most twice besides its own (a step on its way, one that is saved), the others their share, once more in messages.
        const auto kept = plan::count(plan.kept(rank)) * plan.frame_elements() * 4;
        const auto share = rank == plan::writer ? kept + 2 * plan.latent_bytes() : 2 * kept;
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

}  // namespace weft::test

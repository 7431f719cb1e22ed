#include "plan/plan.hpp"

#include "plan/sample_plans.hpp"

#include <gtest/gtest.h>

#include <map>
#include <utility>

namespace weft::plan {

namespace {

/// 576x1024, slices of 72 that share 5 frames, 8 of them.
Plan full_size(int ranks, Anchor anchor = Anchor::blended, std::int64_t prediction_bytes = 2) {
    Settings settings;
    settings.slices.anchor = anchor;
    settings.layout.kind = LayoutKind::whole;
    return make_plan(settings, 530, {.latent_channels = 4, .prediction_bytes = prediction_bytes, .pass = plain_shape(7, {7000, 7000})}, ranks);
}

bool says(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

}  // namespace

TEST(Plan, TheClipHasOneFrameMoreThanThePoses) {
    const auto plan = full_size(1);
    EXPECT_EQ(plan.num_frames, 531);
    EXPECT_EQ(plan.num_latents, 531);
    EXPECT_EQ(plan.latent_height, 128);
    EXPECT_EQ(plan.latent_width, 72);
    EXPECT_EQ(plan.latent_bytes(), 531 * 4 * 128 * 72 * 4);
}

TEST(Plan, PrivateAnchorsAreLatentsBehindTheClip) {
    const auto plan = full_size(1, Anchor::private_);
    ASSERT_EQ(plan.slices.size(), 8);
    EXPECT_EQ(plan.num_latents, 538);
    EXPECT_EQ(plan.shown(530), 530);
    EXPECT_EQ(plan.shown(531), 0);
    EXPECT_EQ(plan.covering(0), (std::vector<std::int64_t>{0}));
    EXPECT_EQ(plan.covering(537), (std::vector<std::int64_t>{7}));
}

TEST(Plan, GuidanceAboveOneAnywhereTakesBothBranches) {
    Settings settings;
    settings.sampling.guidance = {1.0, 1.0};
    EXPECT_FALSE(make_plan(settings, 100, ModelShape{}).guided);
    settings.sampling.guidance = {1.0, 3.0};
    EXPECT_TRUE(make_plan(settings, 100, ModelShape{}).guided);
}

TEST(Plan, AFrameIsCoveredByTheSlicesThatListIt) {
    const auto plan = full_size(1);
    EXPECT_EQ(plan.covering(0), (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7}));
    EXPECT_EQ(plan.covering(66), (std::vector<std::int64_t>{0}));
    EXPECT_EQ(plan.covering(67), (std::vector<std::int64_t>{0, 1}));
}

TEST(Plan, TheFirstCoveringSlicesConditionalRankOwnsAFrame) {
    for (const auto& made : all_layouts())
        for (std::int64_t frame = 0; frame < made.plan.num_latents; ++frame) {
            const auto first = made.plan.covering(frame).front();
            ASSERT_EQ(made.plan.owner[static_cast<std::size_t>(frame)], made.plan.deal.route(first, Branch::conditional).last_rank())
                << made.sample << ", frame " << frame;
        }
}

TEST(Plan, ARankKeepsTheFramesOfItsSlices) {
    const auto plan = full_size(8);  // a slice each
    EXPECT_EQ(plan.kept(0), (FrameRanges{{0, 72}}));
    EXPECT_EQ(plan.kept(1), (FrameRanges{{0, 1}, {67, 138}}));
    EXPECT_EQ(full_size(9).kept(8), FrameRanges{});
}

TEST(Plan, OwnersKeepTheirFrames) {
    for (const auto& made : all_layouts())
        for (int rank = 0; rank < made.plan.num_ranks(); ++rank) {
            const auto kept = made.plan.kept(rank);
            for (std::int64_t frame = 0; frame < made.plan.num_latents; ++frame)
                if (made.plan.owner[static_cast<std::size_t>(frame)] == rank) {
                    ASSERT_TRUE(contains(kept, frame)) << made.sample << ", rank " << rank << ", frame " << frame;
                }
        }
}

TEST(Plan, DecodeChunksGoRoundAllRanks) {
    const auto plan = full_size(20);
    ASSERT_EQ(plan.decoder.size(), plan.decode.size());
    for (std::size_t chunk = 0; chunk < plan.decoder.size(); ++chunk) EXPECT_EQ(plan.decoder[chunk], static_cast<int>(chunk % 20));
}

TEST(Plan, ASharedBorderIsFiveFramesOfThePredictionsType) {
    const auto bytes_to_the_left = [](std::int64_t prediction_bytes) {
        auto links = link_bytes(full_size(8, Anchor::private_, prediction_bytes));
        return links[{4, 3}].predictions / 2;  // two branches
    };
    EXPECT_EQ(bytes_to_the_left(2), 368640);
    EXPECT_EQ(bytes_to_the_left(4), 737280);
}

TEST(Plan, SteppedFramesTravelBackInFp32) {
    auto links = link_bytes(full_size(8, Anchor::private_));
    EXPECT_EQ((links[{3, 4}].latents), 737280);
    EXPECT_EQ((links[{4, 3}].latents), 0);
}

TEST(Plan, ASplitSlicesUnconditionalPredictionTravelsWholly) {
    auto links = link_bytes(full_size(16));
    EXPECT_EQ((links[{1, 0}].predictions), 72 * 4 * 128 * 72 * 2);
    EXPECT_EQ((links[{0, 1}].latents), 72 * 4 * 128 * 72 * 4);
}

TEST(Plan, BytesALinkAreThoseOfTheProgramsMessages) {
    for (const auto& made : all_layouts()) {
        std::map<std::pair<int, int>, LinkBytes> sent;
        for (const auto& message : made.messages()) {
            if (message.pass.step != made.first_step) continue;
            auto& link = sent[{message.from, message.to}];
            switch (message.cargo) {
                case Cargo::prediction: link.predictions += message.bytes; break;
                case Cargo::latents: link.latents += message.bytes; break;
                case Cargo::saved: link.saved += message.bytes; break;
                case Cargo::state: link.states += message.bytes; break;
                case Cargo::skip: link.skips += message.bytes; break;
                case Cargo::slot: break;
            }
        }
        const auto links = link_bytes(made.plan);
        std::erase_if(sent, [](const auto& link) { return link.second.sum() == 0; });  // words alone
        ASSERT_EQ(links.size(), sent.size()) << made.sample;
        for (const auto& [ends, bytes] : links) {
            ASSERT_EQ(bytes.predictions, sent[ends].predictions) << made.sample << ", " << ends.first << " to " << ends.second;
            ASSERT_EQ(bytes.latents, sent[ends].latents) << made.sample << ", " << ends.first << " to " << ends.second;
            ASSERT_EQ(bytes.states, sent[ends].states) << made.sample << ", " << ends.first << " to " << ends.second;
            ASSERT_EQ(bytes.skips, sent[ends].skips) << made.sample << ", " << ends.first << " to " << ends.second;
            ASSERT_EQ(bytes.saved, sent[ends].saved) << made.sample << ", " << ends.first << " to " << ends.second;
        }
    }
}

TEST(PlanText, SaysWhoDoesWhatAndTheLoadBound) {
    const auto text = describe(full_size(7));
    EXPECT_TRUE(says(text, "load bound 76.2 % (16 of 21)")) << text;
    EXPECT_TRUE(says(text, "rank 0    slice 1 ")) << text;
    EXPECT_TRUE(says(text, "rank 5    slices 6, 7c  load 3 of 3")) << text;
    EXPECT_TRUE(says(text, "rank 6    slices 7u, 8  load 3")) << text;
    EXPECT_FALSE(says(text, "\nidle")) << text;
}

TEST(PlanText, SaysWhatEachLinkCarries) {
    const auto text = describe(full_size(8, Anchor::private_));
    EXPECT_TRUE(says(text, "rank 0    sends to 1 720.0 KiB\n")) << text;
    EXPECT_TRUE(says(text, "predictions 5.3 MiB (2 bytes an element)")) << text;
}

TEST(PlanText, SaysThatMoreRanksThanPassesDecodeOnly) {
    const auto text = describe(full_size(64));
    EXPECT_TRUE(says(text, "ranks 16-63 (48): more ranks than passes a step (16) cannot speed up denoising; they decode only")) << text;
}

TEST(PlanText, SaysWhyFewerRanksThanPassesMayIdle) {
    EXPECT_TRUE(says(describe(full_size(9)), "rank 8 (1): whole passes leave no more to do than for 8 ranks; it decodes only"));
}

TEST(PlanText, ALoneRankNeedsNoTable) {
    const auto text = describe(full_size(1));
    EXPECT_FALSE(says(text, "rank 0")) << text;
    EXPECT_FALSE(says(text, "links")) << text;
}

TEST(PlanText, SlicesAreToldByTheirFramesInSlotOrder) {
    Settings settings;
    settings.model.family = FamilyName::musepose;
    settings.slices = {.length = 7, .overlap = 2, .pad = false};
    const auto text = describe(make_plan(settings, 19, {.latent_channels = 4, .pass = full_size(1).shape}));
    EXPECT_TRUE(says(text, "4 of 7 frames: [0-6] [5-11] [10-16] [15-18, 0-2]")) << text;
    EXPECT_TRUE(says(describe(full_size(1)), "8 of 72 frames: [0-71] [0, 67-137]")) << describe(full_size(1));
}

TEST(PlanText, UnequalCostsAreToldInConditionalPasses) {
    EXPECT_TRUE(says(describe(make_plan(Sample{.ranks = 8, .cost = {100, 122}})), "(14.56 of 14.56)"));
}

TEST(PlanText, MessagesAndOperationsNameStepSliceAndRanks) {
    const Message prediction{.number = 5, .cargo = Cargo::prediction, .from = 2, .to = 1, .pass = {3, 1, Branch::unconditional}, .frames = {{67, 72}}};
    EXPECT_EQ(describe(Operation{Send{prediction}}), "sending the prediction of step 4, slice 2, unconditional (5 frames, rank 2 to rank 1)");
    const Message latents{.number = 6, .cargo = Cargo::latents, .from = 1, .to = 2, .pass = {3, 0, Branch::conditional}, .frames = {{67, 68}}};
    EXPECT_EQ(describe(Operation{Take{latents}}), "waiting for latents of step 4 (1 frame, rank 1 to rank 2)");
    EXPECT_EQ(describe(Operation{Advance{3, {{0, 66}}}}), "stepping 66 frames, step 4");
}

TEST(PlanText, TomlHoldsRanksAndDeal) {
    const auto text = to_toml(full_size(7));
    EXPECT_TRUE(says(text, "\nranks = 7\n")) << text;
    EXPECT_TRUE(says(text, "\n  \"6@0\",\n]")) << text;
    EXPECT_TRUE(says(text, "\nunconditional = [0, 1, 2, 3, 4, 5, 6, 6]")) << text;
    EXPECT_TRUE(says(text, "\nconditional = [0, 1, 2, 3, 4, 5, 5, 6]")) << text;
}

}  // namespace weft::plan

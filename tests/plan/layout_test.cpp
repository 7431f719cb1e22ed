#include "plan/layout.hpp"

#include "plan/rooms.hpp"
#include "plan/sample_plans.hpp"
#include "plan/simulate.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace weft::plan {

namespace {

const PassShape shape = small_unet(7, {1, 1});

std::int64_t cost_of(const Leg& leg) {
    const auto cost = shape.cost(leg.pieces);
    return cost[0] + cost[1];
}

/// Bytes that a route moves from rank to rank.
std::int64_t moved(const Route& route) {
    std::int64_t bytes = 0;
    for (const auto& room : rooms_of(shape, route)) bytes += room.from != room.to ? room.bytes : 0;
    return bytes;
}

/// Every straight map of so many stages.
std::vector<Route> all_straight(int num_stages) {
    std::vector<Route> routes;
    std::vector<std::int64_t> borders(static_cast<std::size_t>(num_stages - 1));
    std::iota(borders.begin(), borders.end(), 1);
    for (bool more = true; more;) {
        std::vector<Leg> legs;
        for (int stage = 0; stage < num_stages; ++stage) {
            const auto begin = stage == 0 ? 0 : borders[static_cast<std::size_t>(stage - 1)];
            const auto end = stage + 1 == num_stages ? shape.num_pieces() : borders[static_cast<std::size_t>(stage)];
            legs.push_back({{begin, end}, stage});
        }
        routes.push_back(route_of(std::move(legs), 1));
        more = false;
        for (auto i = static_cast<int>(borders.size()) - 1; i >= 0 && !more; --i) {
            const auto at = static_cast<std::size_t>(i);
            if (borders[at] >= shape.num_pieces() - (num_stages - 1 - i)) continue;
            ++borders[at];
            for (auto j = at + 1; j < borders.size(); ++j) borders[j] = borders[j - 1] + 1;
            more = true;
        }
    }
    return routes;
}

std::int64_t busiest(const Route& route, int num_stages) {
    std::vector<std::int64_t> stages(static_cast<std::size_t>(num_stages), 0);
    for (const auto& leg : route.legs) stages[static_cast<std::size_t>(leg.rank)] += cost_of(leg);
    return *std::max_element(stages.begin(), stages.end());
}

std::string why(int ranks, const LayoutSettings& layout) {
    try {
        static_cast<void>(make_plan(Sample{.ranks = ranks, .layout = layout}));
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::user_mistake);
        return error.what();
    }
    return "";
}

}  // namespace

TEST(StraightMap, IsTheOneThatMovesLeastAmongThoseOfLeastCost) {
    for (const int stages : {2, 3, 4}) {
        const auto all = all_straight(stages);
        std::int64_t least = busiest(all.front(), stages);
        for (const auto& route : all) least = std::min(least, busiest(route, stages));
        std::int64_t fewest = -1;
        for (const auto& route : all)
            if (busiest(route, stages) * 1000 <= least * 1015 && (fewest < 0 || moved(route) < fewest)) fewest = moved(route);
        const auto found = straight_map(shape, true, stages);
        EXPECT_EQ(moved(found), fewest) << stages << " stages";
        EXPECT_LE(busiest(found, stages) * 1000, least * 1015) << stages << " stages";
        EXPECT_EQ(found.slots, stages + 2);
    }
}

TEST(FoldedMap, GoesInToTheLastStageAndBack) {
    for (const int stages : {2, 3, 4}) {
        const auto route = folded_map(shape, true, stages);
        std::vector<int> ranks;
        for (const auto& leg : route.legs) ranks.push_back(leg.rank);
        const auto innermost = std::find(ranks.begin(), ranks.end(), stages - 1);
        ASSERT_NE(innermost, ranks.end());
        EXPECT_TRUE(std::is_sorted(ranks.begin(), innermost) && std::is_sorted(innermost, ranks.end(), std::greater<>())) << ::testing::PrintToString(ranks);
        EXPECT_EQ(route.slots, 2 * stages);
        for (const auto& leg : route.legs)
            if (leg.pieces.begin > 0) {
                const auto piece = static_cast<std::size_t>(leg.pieces.begin);
                EXPECT_NE(shape.pieces[piece].unit, shape.pieces[piece - 1].unit) << "folds are cut between units";
            }
    }
}

TEST(Maps, WithMoreStagesThanPiecesThereIsNone) {
    EXPECT_TRUE(straight_map(shape, true, 21).legs.empty());
    EXPECT_TRUE(folded_map(shape, true, 12).legs.empty());
}

TEST(WrittenMap, SaysStagesAndPieces) {
    std::string wrong;
    const auto route = written_map(shape, 3, "0@0, 2@13,1@15, 0@18", wrong);
    EXPECT_EQ(wrong, "");
    EXPECT_EQ(route.legs, (std::vector<Leg>{{{0, 13}, 0}, {{13, 15}, 2}, {{15, 18}, 1}, {{18, 20}, 0}}));
}

TEST(WrittenMap, SaysWhatDoesNotHold) {
    const auto complaint = [](int stages, const std::string& text) {
        std::string wrong;
        static_cast<void>(written_map(shape, stages, text, wrong));
        return wrong;
    };
    EXPECT_EQ(complaint(2, "0@0, 1"), "\" 1\" is not STAGE@PIECE");
    EXPECT_EQ(complaint(2, "0@0, 2@3"), "stage 2 is not one of 0 to 1");
    EXPECT_EQ(complaint(2, "0@0, 1@20"), "piece 20 is not one of 0 to 19");
    EXPECT_EQ(complaint(2, "0@1, 1@3"), "pieces must begin at 0 and ascend");
    EXPECT_EQ(complaint(2, "0@0, 1@3, 0@3"), "pieces must begin at 0 and ascend");
    EXPECT_EQ(complaint(3, "0@0, 1@3"), "every stage must have a piece");
}

TEST(CutPasses, FillRanksUpToACommonLoad) {
    for (int ranks = 2; ranks <= 16; ++ranks) {
        const auto deal = deal_cut_passes(8, true, shape, ranks);
        const auto bound = deal.load_bound(shape);
        // The coarsest piece is 8 % of a pass; real models have finer ones (tests/model/layouts_test.cpp).
        EXPECT_GE(bound, 0.92) << ranks << " ranks";
        EXPECT_GE(bound, deal_whole_passes(8, true, shape, ranks).load_bound(shape) - 0.003) << ranks << " ranks";
    }
}

TEST(CutPasses, APassIsCutAtMostOnceAndItsHeadRunsOnTheNextRank) {
    for (int ranks = 2; ranks <= 20; ++ranks) {
        const auto deal = deal_cut_passes(8, true, shape, ranks);
        for (std::int64_t slice = 0; slice < 8; ++slice)
            for (const auto branch : deal.branches()) {
                const auto& route = deal.route(slice, branch);
                ASSERT_LE(route.legs.size(), 2U);
                if (route.legs.size() == 2) {
                    EXPECT_EQ(route.first_rank(), route.last_rank() + 1);
                }
            }
    }
}

TEST(CutPasses, WherePassesDivideNothingIsCut) {
    for (const int ranks : {2, 4, 8, 16}) {
        const auto deal = deal_cut_passes(8, true, shape, ranks);
        for (const auto& route : deal.routes()) EXPECT_EQ(route.legs.size(), 1U) << ranks << " ranks";
    }
}

TEST(Rooms, WhatCrossesABorderIsItsStateAndTheSkipsUsedBehindIt) {
    // In front of the second half of u1.spatial (piece 15) stand its input, the half that is done, half of d0's skip and all of conv_in's.
    EXPECT_EQ(bytes_across(shape, 15), 4 * 8 + 3 * 8 + 4 * 8 + 7 * 8);
    const auto rooms = rooms_of(shape, {{{{0, 15}, 0}, {{15, 20}, 1}}, 1});
    EXPECT_EQ(std::accumulate(rooms.begin(), rooms.end(), std::int64_t{0}, [](auto sum, const Room& room) { return sum + room.bytes; }),
              bytes_across(shape, 15));
}

TEST(Rooms, ASkipWhoseUserIsCutGoesInPartsToBothRanks) {
    const Route route{{{{0, 10}, 0}, {{10, 15}, 1}, {{15, 20}, 2}}, 1};
    std::vector<std::pair<int, FrameRange>> parts;
    for (const auto& room : rooms_of(shape, route))
        if (room.content == Room::Content::skip && room.item == 1) parts.emplace_back(room.to, room.slots);
    EXPECT_EQ(parts, (std::vector<std::pair<int, FrameRange>>{{1, {0, 3}}, {2, {3, 7}}}));
}

TEST(Rooms, ASkipOfAFoldWaitsAtItsRank) {
    const Route route{{{{0, 4}, 0}, {{4, 14}, 1}, {{14, 20}, 0}}, 4};
    std::int64_t stays = 0;
    for (const auto& room : rooms_of(shape, route)) stays += room.from == room.to ? room.bytes : 0;
    EXPECT_EQ(stays, 2 * 7 * 8);  // conv_in's and d0's
    Deal deal(1, false, 2);
    deal.set(0, Branch::conditional, route);
    EXPECT_EQ(slot_bytes(shape, deal, 0), 4 * (2 * 7 * 8 + 7 * 8) + 7 * 8);  // and the state that comes back; once, the one that leaves
}

TEST(Auto, PassesThatDivideStayWhole) {
    const LayoutSettings automatic;
    for (const int ranks : {1, 2, 4, 8, 16})
        EXPECT_EQ(make_plan(Sample{.ranks = ranks, .cost = {100000, 100000}, .layout = automatic}).layout.kind, LayoutKind::whole) << ranks;
}

TEST(Auto, PassesThatDoNotDivideAreCut) {
    for (const int ranks : {3, 5, 6, 7}) {
        const auto plan = make_plan(Sample{.ranks = ranks, .cost = {100000, 100000}, .layout = {}});
        EXPECT_EQ(plan.layout.kind, LayoutKind::cut) << ranks;
        EXPECT_NE(plan.layout.reason.find("next "), std::string::npos) << plan.layout.reason;
    }
}

TEST(Auto, NothingThatAUserCanNameIsFaster) {
    for (const auto anchor : {Anchor::blended, Anchor::private_})
        for (const int ranks : {3, 5, 6, 7, 9, 11, 13}) {
            const auto seconds = [&](const LayoutSettings& layout) {
                const auto plan = make_plan(Sample{.ranks = ranks, .anchor = anchor, .cost = {10000, 12200}, .steps = 20, .layout = layout});
                return simulate(plan, compile(plan, 0), 0).seconds;
            };
            const auto chosen = seconds({});
            EXPECT_LE(chosen, 1.01 * seconds({.kind = LayoutKind::whole})) << ranks << " ranks";
            EXPECT_LE(chosen, 1.01 * seconds({.kind = LayoutKind::cut})) << ranks << " ranks";
            EXPECT_LE(chosen, 1.01 * seconds({.kind = LayoutKind::stages})) << ranks << " ranks";
        }
}

TEST(Auto, RanksBeyondThePassesLeaveThemWhole) {
    EXPECT_EQ(make_plan(Sample{.ranks = 20, .layout = {}}).layout.kind, LayoutKind::whole);
}

TEST(Auto, ABudgetTooSmallForAllWeightsTakesStages) {
    Settings settings;
    settings.video = {.width = 64, .height = 64};
    settings.slices = {.length = 7, .overlap = 3};
    auto pass = small_unet(7, {100, 100});
    for (auto& unit : pass.units) unit.weight_bytes = 1000000;
    const auto plan = make_plan(settings, 30, {.pass = pass}, 4, {}, 85'000'000);  // less than the weights of all 12 units and what libraries take
    EXPECT_EQ(plan.layout.kind, LayoutKind::stages) << layout_text(plan);
    EXPECT_NE(plan.layout.reason.find("memory.budget"), std::string::npos) << plan.layout.reason;
}

TEST(LayoutSettings, WhatRanksOrPiecesDoNotAllowIsRefused) {
    EXPECT_NE(why(3, {.kind = LayoutKind::stages, .stages = 4}).find("layout.stages = 4: must be at most the number of ranks, 3"), std::string::npos);
    EXPECT_NE(why(30, {.kind = LayoutKind::stages, .stages = 30}).find("20 pieces cannot be cut so often"), std::string::npos);
    EXPECT_NE(why(2, {.kind = LayoutKind::stages, .stages = 2, .map = "0@0, 1@99"}).find("piece 99 is not one of 0 to 19"), std::string::npos);
}

TEST(RankBytes, WeightsOfStagesAddUpToThoseOfTheModelAndWhatAllHold) {
    for (const int stages : {1, 2, 4}) {
        const auto plan = make_plan(Sample{.ranks = stages, .layout = {.kind = LayoutKind::stages, .stages = stages, .map = "folded"}});
        std::int64_t sum = 0, units = 0;
        for (int rank = 0; rank < stages; ++rank) sum += rank_bytes(plan, rank).weights;
        for (const auto& unit : plan.shape.units) units += unit.weight_bytes;
        EXPECT_EQ(sum, units + stages * plan.shape.shared_weight_bytes);  // folds are cut between units
    }
}

TEST(Simulation, ALoneRankIsAlwaysBusy) {
    const auto plan = make_plan(Sample{.cost = {100, 122}});
    const auto prediction = simulate(plan, compile(plan, 0), 0);
    EXPECT_DOUBLE_EQ(prediction.seconds, 3 * 8 * 222 * 56000e-9);
    EXPECT_DOUBLE_EQ(prediction.efficiency(), 1.0);
}

TEST(Simulation, IdleTimeIsWhatIsNotBusyByCause) {
    for (const auto& made : all_layouts()) {
        if (made.sample.ranks > 12 || made.sample.slices > 8) continue;
        const auto prediction = simulate(made.plan, made.programs, made.first_step);
        double causes = 0;
        for (std::size_t idle = 0; idle < num_idle; ++idle) causes += prediction.idle_share(static_cast<Idle>(idle));
        ASSERT_NEAR(prediction.idle_share(), causes, 1e-9) << made.sample;
        ASSERT_LE(prediction.efficiency(), made.plan.deal.load_bound(made.plan.shape) + 1e-9) << made.sample;
    }
}

TEST(Simulation, AFewStepsTellHowLongManyTake) {
    for (const int ranks : {3, 4, 6, 7})
        for (const auto anchor : {Anchor::blended, Anchor::private_})
            for (const auto& layout : {LayoutSettings{.kind = LayoutKind::whole}, {.kind = LayoutKind::cut}, {.kind = LayoutKind::stages, .stages = ranks}}) {
                const auto plan = make_plan(Sample{.ranks = ranks, .anchor = anchor, .cost = {1000, 1220}, .steps = 20, .layout = layout});
                const auto whole = simulate(plan, compile(plan, 0), 0).seconds;
                EXPECT_NEAR(estimated_seconds(plan, 2), whole, 0.15 * whole) << ranks << " ranks, " << layout_text(plan);
            }
}

TEST(Simulation, StagesOfAChainFillAndDrainOnceAClip) {
    Settings settings;
    settings.sampling.steps = 20;
    settings.layout = {.kind = LayoutKind::stages, .stages = 8, .map = "straight"};
    PassShape stages = plain_shape(8, {8000000, 8000000});
    for (std::size_t piece = 1; piece < 8; ++piece) stages.pieces[piece].state = {{0, {0, 1}, 8}};
    const auto ideal = [&](std::int64_t num_slices, bool ring) {
        Slices slices;
        for (std::int64_t slice = 0; slice < num_slices; ++slice) slices.push_back({{slice, ring ? (slice + 1) % num_slices : slice + 1}});
        const auto latents = num_slices + (ring ? 0 : 1);
        auto plan = make_plan(settings, slices, latents, latents, {.pass = stages}, 8, {.local_bytes_s = 1e15, .local_latency_s = 0});
        return simulate(plan, compile(plan, 0), 0).efficiency();
    };
    // What perfect stages of chains and rings of n slices reach.
    EXPECT_NEAR(ideal(23, true), 0.992, 0.003);
    EXPECT_NEAR(ideal(23, false), 0.992, 0.003);
    EXPECT_NEAR(ideal(4, false), 0.71, 0.03);
    EXPECT_NEAR(ideal(5, false), 0.89, 0.03);
    EXPECT_NEAR(ideal(5, true), 0.76, 0.03);
    EXPECT_NEAR(ideal(4, true), 0.61, 0.03);
}

}  // namespace weft::plan

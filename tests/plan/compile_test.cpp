#include "plan/rooms.hpp"
#include "plan/sample_plans.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace weft::plan {

namespace {

std::size_t index(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

/// What each operation of a program needs from those before it, on its own rank alone.
class Replay {
  public:
    Replay(const Made& made, int rank) : made_{made}, steps_done_(index(made.plan.num_latents), -1) {
        for (const auto frame : frames_in(made.plan.kept(rank))) steps_done_[index(frame)] = made.first_step;
    }

    /// Steps that a frame's latents have behind them here; -1: they are not here.
    [[nodiscard]] std::int64_t steps_done(std::int64_t frame) const { return steps_done_[index(frame)]; }
    [[nodiscard]] bool has_contribution(const Pass& pass, std::int64_t frame) const { return contributions_.contains({pass, frame}); }

    void apply(const Operation& operation) {
        if (const auto* compute = std::get_if<Compute>(&operation)) {
            if (compute->task.pieces.end != made_.plan.shape.num_pieces()) return;
            for (const auto frame : made_.plan.slices[index(compute->task.pass.slice)].frames) contributions_.insert({compute->task.pass, frame});
        } else if (const auto* take = std::get_if<Take>(&operation)) {
            for (const auto frame : frames_in(take->message.frames)) {
                if (take->message.cargo == Cargo::prediction)
                    contributions_.insert({take->message.pass, frame});
                else
                    steps_done_[index(frame)] = take->message.pass.step + 1;
            }
        } else if (const auto* advance = std::get_if<Advance>(&operation)) {
            for (const auto frame : frames_in(advance->frames)) steps_done_[index(frame)] = advance->step + 1;
        }
    }

  private:
    const Made& made_;
    std::vector<std::int64_t> steps_done_;
    std::set<std::pair<Pass, std::int64_t>> contributions_;
};

}  // namespace

TEST(Compile, EveryPieceOfAPassRunsOnceAStepInOrderOnTheRanksOfItsRoute) {
    for (const auto& made : all_layouts()) {
        std::map<Pass, std::vector<Leg>> found;
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank)
            for (const auto& operation : made.programs[rank])
                if (const auto* compute = std::get_if<Compute>(&operation)) {
                    ASSERT_EQ(compute->task.rank, static_cast<int>(rank));
                    found[compute->task.pass].push_back({compute->task.pieces, compute->task.rank});
                }
        std::size_t passes = 0;
        for (auto step = made.first_step; step < made.plan.steps; ++step)
            for (const auto& pass : made.passes_of(step)) {
                auto& legs = found[pass];
                std::sort(legs.begin(), legs.end(), [](const Leg& a, const Leg& b) { return a.pieces.begin < b.pieces.begin; });
                ASSERT_EQ(legs, made.route_of(pass).legs) << made.sample << ", " << describe(pass);
                ASSERT_EQ(legs.front().pieces.begin, 0);
                ASSERT_EQ(legs.back().pieces.end, made.plan.shape.num_pieces());
                ++passes;
            }
        ASSERT_EQ(found.size(), passes) << made.sample;
    }
}

TEST(Compile, WhatALegLeavesTravelsStraightToTheLegThatUsesIt) {
    for (const auto& made : all_layouts()) {
        std::multiset<std::tuple<Pass, std::size_t, int, int, std::int64_t>> wanted, found;
        for (auto step = made.first_step; step < made.plan.steps; ++step)
            for (const auto& pass : made.passes_of(step)) {
                const auto rooms = rooms_of(made.plan.shape, made.route_of(pass));
                for (std::size_t room = 0; room < rooms.size(); ++room)
                    if (rooms[room].from != rooms[room].to) wanted.insert({pass, room, rooms[room].from, rooms[room].to, rooms[room].bytes});
            }
        for (const auto& message : made.messages())
            if (message.cargo == Cargo::state || message.cargo == Cargo::skip)
                found.insert({message.pass, message.room, message.from, message.to, message.bytes});
        ASSERT_EQ(found, wanted) << made.sample;
    }
}

TEST(Compile, NoMorePassesAreOnTheirWayThanTheRouteHasSlots) {
    // By the order that the programs enforce: a pass may begin when the word of its slot's last pass, or that pass itself, stands before it on its rank.
    for (const auto& made : all_layouts())
        for (const auto& program : made.programs) {
            std::map<std::pair<std::size_t, std::int64_t>, int> held;  // (route, slot), begun here and not known to have ended
            for (const auto& operation : program) {
                if (const auto* take = std::get_if<Take>(&operation); take != nullptr && take->message.cargo == Cargo::slot)
                    --held[{made.plan.deal.route_index(take->message.pass.slice, take->message.pass.branch), take->message.slot}];
                const auto* compute = std::get_if<Compute>(&operation);
                if (compute == nullptr) continue;
                const auto& task = compute->task;
                const auto& route = made.route_of(task.pass);
                if (route.legs.size() == 1) continue;
                ASSERT_LT(task.slot, route.slots);
                auto& count = held[{made.plan.deal.route_index(task.pass.slice, task.pass.branch), task.slot}];
                const bool one_a_step = made.sample.layout.kind == LayoutKind::cut;  // ends before its frames are advanced, and so before it begins again
                if (task.pieces.begin == 0 && !one_a_step) {
                    ASSERT_EQ(++count, 1) << made.sample << ": " << describe(operation);
                }
                if (task.pieces.end == made.plan.shape.num_pieces() && route.first_rank() == route.last_rank()) --count;
            }
        }
}

TEST(Compile, EveryFrameIsAdvancedOnceAStepByItsOwner) {
    for (const auto& made : all_layouts()) {
        std::multiset<std::tuple<std::int64_t, std::int64_t, int>> wanted, found;
        for (auto step = made.first_step; step < made.plan.steps; ++step)
            for (std::int64_t frame = 0; frame < made.plan.num_latents; ++frame) wanted.insert({step, frame, made.plan.owner[index(frame)]});
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank)
            for (const auto& operation : made.programs[rank])
                if (const auto* advance = std::get_if<Advance>(&operation))
                    for (const auto frame : frames_in(advance->frames)) found.insert({advance->step, frame, static_cast<int>(rank)});
        ASSERT_EQ(found, wanted) << made.sample;
    }
}

TEST(Compile, PassesReadFramesWithTheirStepsBehindThem) {
    for (const auto& made : all_layouts())
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank) {
            Replay here(made, static_cast<int>(rank));
            for (const auto& operation : made.programs[rank]) {
                if (const auto* compute = std::get_if<Compute>(&operation); compute != nullptr && compute->task.pieces.begin == 0) {
                    for (const auto frame : made.plan.slices[index(compute->task.pass.slice)].frames)
                        ASSERT_EQ(here.steps_done(frame), compute->task.pass.step) << made.sample << ", rank " << rank << ", frame " << frame;
                }
                here.apply(operation);
            }
        }
}

TEST(Compile, OwnersHaveEveryContributionWhenTheyAdvance) {
    for (const auto& made : all_layouts())
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank) {
            Replay here(made, static_cast<int>(rank));
            for (const auto& operation : made.programs[rank]) {
                if (const auto* advance = std::get_if<Advance>(&operation))
                    for (const auto frame : frames_in(advance->frames)) {
                        ASSERT_EQ(here.steps_done(frame), advance->step);
                        for (const auto& pass : made.passes_of(advance->step)) {
                            const auto& covered = made.plan.slices[index(pass.slice)].frames;
                            if (std::find(covered.begin(), covered.end(), frame) == covered.end()) continue;
                            ASSERT_TRUE(here.has_contribution(pass, frame))
                                << made.sample << ", rank " << rank << ", frame " << frame << ": " << describe(pass);
                        }
                    }
                here.apply(operation);
            }
        }
}

TEST(Compile, EachMessageIsSentAndReceivedOnceWithTheSameContent) {
    for (const auto& made : all_layouts()) {
        std::map<std::int64_t, std::vector<std::string>> sent, received;
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank)
            for (const auto& operation : made.programs[rank]) {
                if (const auto* send = std::get_if<Send>(&operation)) {
                    ASSERT_EQ(send->message.from, static_cast<int>(rank));
                    sent[send->message.number].push_back(describe(send->message));
                } else if (const auto* receive = std::get_if<Receive>(&operation)) {
                    ASSERT_EQ(receive->message.to, static_cast<int>(rank));
                    received[receive->message.number].push_back(describe(receive->message));
                }
            }
        for (const auto& [number, texts] : sent) ASSERT_EQ(texts.size(), 1) << made.sample << ", message " << number;
        ASSERT_EQ(sent, received) << made.sample;
    }
}

TEST(Compile, ReceivesOfAPairStandInTheOrderOfTheirSends) {
    for (const auto& made : all_layouts()) {
        std::map<std::pair<int, int>, std::vector<std::int64_t>> sends, receives;
        for (const auto& program : made.programs)
            for (const auto& operation : program) {
                if (const auto* send = std::get_if<Send>(&operation)) sends[{send->message.from, send->message.to}].push_back(send->message.number);
                if (const auto* receive = std::get_if<Receive>(&operation))
                    receives[{receive->message.from, receive->message.to}].push_back(receive->message.number);
            }
        ASSERT_EQ(sends, receives) << made.sample;
        for (const auto& [pair, numbers] : sends) ASSERT_TRUE(std::is_sorted(numbers.begin(), numbers.end())) << made.sample;
    }
}

TEST(Compile, ReceivesOfFramesArePostedBeforeTheNextStepsWorkBeginsHere) {
    for (const auto& made : all_layouts()) {
        if (made.sample.layout.kind != LayoutKind::whole) continue;  // elsewhere they wait behind receives that wait for a slot
        for (const auto& program : made.programs) {
            std::int64_t latest = -1;  // step of a pass so far
            for (const auto& operation : program) {
                if (const auto* compute = std::get_if<Compute>(&operation)) latest = std::max(latest, compute->task.pass.step);
                if (const auto* receive = std::get_if<Receive>(&operation)) {
                    ASSERT_GE(receive->message.pass.step, latest) << made.sample << ": " << describe(operation);
                }
            }
        }
    }
}

TEST(Compile, TakesStandDirectlyBeforeWhatNeedsThem) {
    for (const auto& made : all_layouts())
        for (const auto& program : made.programs)
            for (std::size_t at = 0; at < program.size(); ++at) {
                const auto* take = std::get_if<Take>(&program[at]);
                if (take == nullptr) continue;
                const auto stands_between = [](const Operation& operation) {
                    const auto* send = std::get_if<Send>(&operation);
                    return std::holds_alternative<Take>(operation) || std::holds_alternative<Receive>(operation) || std::holds_alternative<Save>(operation) ||
                           (send != nullptr && send->message.cargo == Cargo::saved);
                };
                auto next = at;
                while (stands_between(program[next])) ++next;
                const auto* compute = std::get_if<Compute>(&program[next]);
                const auto* advance = std::get_if<Advance>(&program[next]);
                const auto& message = take->message;
                switch (message.cargo) {
                    case Cargo::prediction:
                        ASSERT_NE(advance, nullptr) << made.sample << ": " << describe(program[at]);
                        ASSERT_EQ(advance->step, message.pass.step);
                        break;
                    case Cargo::latents:
                        ASSERT_NE(compute, nullptr) << made.sample << ": " << describe(program[at]);
                        ASSERT_EQ(compute->task.pass.step, message.pass.step + 1);
                        ASSERT_EQ(compute->task.pieces.begin, 0);
                        break;
                    case Cargo::state:
                    case Cargo::skip:
                        ASSERT_NE(compute, nullptr) << made.sample << ": " << describe(program[at]);
                        ASSERT_EQ(compute->task.pass, message.pass);
                        ASSERT_EQ(compute->task.slot, message.slot);
                        break;
                    case Cargo::slot:
                        ASSERT_NE(compute, nullptr) << made.sample << ": " << describe(program[at]);
                        ASSERT_EQ(compute->task.pieces.begin, 0);
                        ASSERT_EQ(compute->task.slot, message.slot);
                        break;
                    case Cargo::saved: FAIL() << "frames for the run file are taken by the saver";
                }
                if (message.frames.empty()) continue;
                const auto frames = frames_in(message.frames);
                const auto& slice = compute != nullptr ? made.plan.slices[index(compute->task.pass.slice)].frames : frames;
                ASSERT_TRUE(std::any_of(frames.begin(), frames.end(),
                                        [&](auto frame) {
                                            return advance != nullptr ? contains(advance->frames, frame)
                                                                      : std::find(slice.begin(), slice.end(), frame) != slice.end();
                                        }))
                    << made.sample << ": " << describe(program[at]);
            }
}

TEST(Compile, APredictionGoesOnceToEachOtherOwnerOfItsFrames) {
    for (const auto& made : all_layouts()) {
        std::map<std::pair<Pass, int>, FrameRanges> wanted, found;
        for (auto step = made.first_step; step < made.plan.steps; ++step)
            for (const auto& pass : made.passes_of(step)) {
                std::map<int, std::vector<std::int64_t>> elsewhere;
                for (const auto frame : made.plan.slices[index(pass.slice)].frames)
                    if (const auto owner = made.plan.owner[index(frame)]; owner != made.route_of(pass).last_rank()) elsewhere[owner].push_back(frame);
                for (const auto& [owner, frames] : elsewhere) wanted[{pass, owner}] = ranges_of(frames);
            }
        for (const auto& message : made.messages())
            if (message.cargo == Cargo::prediction) {
                ASSERT_EQ(message.from, made.route_of(message.pass).last_rank());
                ASSERT_TRUE(found.insert({{message.pass, message.to}, message.frames}).second) << made.sample << ": " << describe(message);
            }
        ASSERT_EQ(found, wanted) << made.sample;
    }
}

TEST(Compile, LatentsGoOnceToEachOtherRankWithPassesOverThem) {
    for (const auto& made : all_layouts()) {
        std::multiset<std::tuple<std::int64_t, std::int64_t, int>> wanted, found;  // step, frame, to
        for (int rank = 0; rank < made.plan.num_ranks(); ++rank)
            for (const auto frame : frames_in(made.plan.read(rank)))
                for (auto step = made.first_step; made.plan.owner[index(frame)] != rank && step + 1 < made.plan.steps; ++step)
                    wanted.insert({step, frame, rank});
        for (const auto& message : made.messages())
            if (message.cargo == Cargo::latents)
                for (const auto frame : frames_in(message.frames)) {
                    ASSERT_EQ(message.from, made.plan.owner[index(frame)]);
                    found.insert({message.pass.step, frame, message.to});
                }
        ASSERT_EQ(found, wanted) << made.sample;
    }
}

TEST(Compile, OnlyFramesThatTheWriterDoesNotGetAnywayTravelForTheRunFile) {
    for (const auto& made : all_layouts()) {
        const auto read = made.plan.read(writer);
        std::multiset<std::pair<std::int64_t, std::int64_t>> wanted, found;  // step, frame
        for (auto step = made.first_step; step < made.plan.steps; ++step)
            for (std::int64_t frame = 0; frame < made.plan.num_latents; ++frame)
                if (made.plan.owner[index(frame)] != writer && (step + 1 == made.plan.steps || !contains(read, frame))) wanted.insert({step, frame});
        for (const auto& message : made.messages())
            if (message.cargo == Cargo::saved)
                for (const auto frame : frames_in(message.frames)) {
                    ASSERT_EQ(message.to, writer);
                    found.insert({message.pass.step, frame});
                }
        ASSERT_EQ(found, wanted) << made.sample;
    }
}

TEST(Compile, AnAdvanceSendsAtMostOneMessageOfAKindToARank) {
    for (const auto& made : all_layouts())
        for (const auto& program : made.programs) {
            std::set<std::tuple<int, Cargo, std::int64_t>> since;
            for (const auto& operation : program) {
                if (const auto* send = std::get_if<Send>(&operation)) {
                    const auto cargo = send->message.cargo;
                    ASSERT_TRUE(since.insert({send->message.to, cargo, send->message.pass.step}).second || cargo == Cargo::state || cargo == Cargo::skip)
                        << made.sample << ": " << describe(operation);
                } else {
                    since.clear();
                }
            }
        }
}

TEST(Compile, AStepIsInTheSaversHandsBeforeTheWriterComputesOn) {
    for (const auto& made : all_layouts()) {
        const auto& program = made.programs[writer];
        std::map<std::int64_t, std::size_t> newest_receive;  // by message: place
        std::map<std::int64_t, std::size_t> newest_own;      // by steps done: place behind tasks and frames kept
        for (std::size_t at = 0; at < program.size(); ++at) {
            if (const auto* receive = std::get_if<Receive>(&program[at])) newest_receive[receive->message.number] = at;
            if (const auto* keep = std::get_if<Keep>(&program[at])) newest_own[keep->steps_done] = at;
            if (const auto* compute = std::get_if<Compute>(&program[at])) newest_own[compute->task.pass.step + 1] = at + 1;
            const auto* save = std::get_if<Save>(&program[at]);
            if (save == nullptr || made.sample.anchor != Anchor::blended) continue;  // in a chain also the step two before must have left
            auto ready = newest_own[save->steps_done];
            for (const auto message : save->messages) ready = std::max(ready, newest_receive.at(message));
            const auto computes = std::count_if(program.begin() + static_cast<std::ptrdiff_t>(ready), program.begin() + static_cast<std::ptrdiff_t>(at),
                                                [](const auto& operation) { return std::holds_alternative<Compute>(operation); });
            ASSERT_EQ(computes, 0) << made.sample << ", step " << save->steps_done;
        }
    }
}

TEST(Compile, EachStepIsSavedOnceByTheWriterWithEveryFrame) {
    for (const auto& made : all_layouts()) {
        std::map<std::int64_t, Message> by_number;
        for (const auto& message : made.messages()) by_number[message.number] = message;
        std::map<std::int64_t, std::vector<std::int64_t>> kept;
        auto steps_done = made.first_step;
        for (std::size_t rank = 0; rank < made.programs.size(); ++rank)
            for (const auto& operation : made.programs[rank]) {
                if (const auto* keep = std::get_if<Keep>(&operation)) {
                    ASSERT_EQ(static_cast<int>(rank), writer);
                    for (const auto frame : frames_in(keep->frames)) kept[keep->steps_done].push_back(frame);
                }
                if (const auto* save = std::get_if<Save>(&operation)) {
                    ASSERT_EQ(static_cast<int>(rank), writer);
                    ASSERT_EQ(save->steps_done, ++steps_done) << made.sample;
                    auto frames = kept[save->steps_done];
                    for (const auto number : save->messages) {
                        const auto& message = by_number.at(number);
                        ASSERT_EQ(message.to, writer);
                        ASSERT_EQ(message.pass.step + 1, save->steps_done);
                        ASSERT_NE(message.cargo, Cargo::prediction);
                        for (const auto frame : frames_in(message.frames)) frames.push_back(frame);
                    }
                    std::sort(frames.begin(), frames.end());
                    ASSERT_EQ(static_cast<std::int64_t>(frames.size()), made.plan.num_latents) << made.sample << ", step " << steps_done;
                    ASSERT_EQ(ranges_of(frames), (FrameRanges{{0, made.plan.num_latents}})) << made.sample << ", step " << steps_done;
                }
            }
        ASSERT_EQ(steps_done, made.plan.steps) << made.sample;
    }
}

TEST(Compile, TheWriterKeepsFramesAsSoonAsItHasAdvancedThem) {
    for (const auto& made : all_layouts()) {
        Replay here(made, writer);
        for (const auto& operation : made.programs[writer]) {
            if (const auto* keep = std::get_if<Keep>(&operation)) {
                for (const auto frame : frames_in(keep->frames)) ASSERT_EQ(here.steps_done(frame), keep->steps_done) << made.sample;
            }
            here.apply(operation);
        }
    }
}

TEST(Compile, ALoneRankComputesAllPassesThenAdvancesThenSaves) {
    for (const auto anchor : {Anchor::blended, Anchor::private_})
        for (const bool guided : {true, false}) {
            const auto made = make({.slices = 5, .guided = guided, .anchor = anchor});
            const auto& program = made.programs.at(0);
            const auto passes = made.plan.passes_a_step();
            ASSERT_EQ(static_cast<std::int64_t>(program.size()), made.plan.steps * (passes + 3));
            for (std::int64_t step = 0; step < made.plan.steps; ++step) {
                const auto* operation = &program[index(step * (passes + 3))];
                for (std::int64_t i = 0; i < passes; ++i) EXPECT_EQ(std::get<Compute>(*operation++).task.pass.step, step);
                EXPECT_EQ(std::get<Advance>(*operation++).frames, (FrameRanges{{0, made.plan.num_latents}}));
                EXPECT_EQ(std::get<Keep>(*operation++).frames, (FrameRanges{{0, made.plan.num_latents}}));
                EXPECT_TRUE(std::get<Save>(*operation).messages.empty());
            }
        }
}

TEST(Compile, ALoneRankTakesSlicesInOrderConditionalFirst) {
    const auto made = make({.slices = 2, .steps = 1});
    std::vector<std::string> texts;
    for (const auto& operation : made.programs.at(0)) texts.push_back(describe(operation));
    EXPECT_EQ(texts,
              (std::vector<std::string>{"computing step 1, slice 1, conditional, pieces 0 to 19", "computing step 1, slice 1, unconditional, pieces 0 to 19",
                                        "computing step 1, slice 2, conditional, pieces 0 to 19", "computing step 1, slice 2, unconditional, pieces 0 to 19",
                                        "stepping 11 frames, step 1", "keeping 11 frames of step 1", "saving step 1"}));
}

TEST(Compile, RanksWithoutPassesHaveNothingToDo) {
    const auto made = make({.ranks = 20, .slices = 8});
    for (std::size_t rank = 0; rank < 20; ++rank) EXPECT_EQ(made.programs[rank].empty(), rank >= 16) << rank;
}

TEST(Compile, AFinishedJobHasEmptyPrograms) {
    for (const int ranks : {1, 3})
        for (const auto& program : make({.ranks = ranks}, 3).programs) EXPECT_TRUE(program.empty());
}

TEST(Compile, UnguidedPassesAreConditional) {
    for (const auto& program : make({.ranks = 3, .guided = false}).programs)
        for (const auto& operation : program)
            if (const auto* compute = std::get_if<Compute>(&operation)) {
                EXPECT_EQ(compute->task.pass.branch, Branch::conditional);
            }
}

TEST(Compile, WithPrivateAnchorsOnlyRanksOfNeighbouringSlicesExchange) {
    const auto made = make({.ranks = 8, .anchor = Anchor::private_});
    for (const auto& message : made.messages())
        if (message.cargo != Cargo::saved && message.pass.step + 1 < made.plan.steps) {
            EXPECT_EQ(std::abs(message.from - message.to), 1) << describe(message);
        }
}

}  // namespace weft::plan

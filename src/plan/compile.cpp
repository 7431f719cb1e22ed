#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/play.hpp"

#include <algorithm>
#include <map>
#include <utility>
#include <variant>

// Programs are made by playing the job: legs of passes take their cost, messages the time that the links give them, all else takes no time. A pass is admitted
// to its route when the latents that it reads are where it begins, one of the route's slots is free, and the step before the last is complete. A rank that is
// free first advances what can be advanced, and then takes the next leg as the plan's Order says. What ranks did in the play, in that order, are their
// programs; later they do not look again at what is ready.
//
// Why the programs end, at whatever speeds they really run. Every operation but Receive has a number, its place in the play; a rank's numbers ascend. A Receive
// stands where its room was free in the play: in front of its rank's first operation with a number of at least `place`, and `place` is at most the number of
// its Send.
//  * Only Take and Save wait, and only for messages whose Send has a smaller number: the play takes what has arrived.
//  * Receive waits for nothing: a slot is room on every rank for all that a pass leaves there, and a pass is admitted to it when all that the pass before had
//    left there was used, which stands earlier in the same programs. Neither does Send wait: the sender keeps the bytes until they have moved.
//  * Receives of a pair and direction of ranks stand in the order of their sends.
// Suppose that ranks are left and none can go on. Of the operations that stand next, let W have the smallest number. W is a Take or a Save that waits for a
// message m. The Send of m has a smaller number, so it is done, and so are the Sends before it to the same rank, in the same program. Their Receives
// and that of m stand before W in W's own program, so they are posted. Then nothing keeps a channel from moving m that moves one message of a pair after the
// other and none before its receive is posted, without tags: W can go on after all.
//
// A transport that moves all messages of a rank one after the other, both directions, in the order of their numbers (NCCL's stream) does not block either: let
// m be the smallest message that has not moved. What stands before its Send, and before its Receive since `place` is not above the Send's number, waits only
// for smaller messages, which have moved. So both are posted, and both ranks' queues have come to m. `check` (check.cpp) asserts what these arguments use.

namespace weft::plan {

namespace {

/// The programs with every receive in its place: where its room is there, or later, so that receives of a pair stand in the order of their sends.
std::vector<std::vector<Numbered>> with_receives(const Play& play) {
    const auto& messages = play.messages();
    auto place = play.room_since();
    std::map<std::pair<int, int>, std::int64_t> latest;
    for (const auto& message : messages) {
        auto& last = latest.try_emplace({message.from, message.to}, 0).first->second;
        last = std::max(last, place[index(message.number)]);
        place[index(message.number)] = last;
        ensure(last <= play.sent_at()[index(message.number)], "room for a message is there when it is sent");
    }
    std::vector<std::vector<std::pair<std::int64_t, std::int64_t>>> receives(play.programs().size());  // by rank: (place, message)
    for (const auto& message : messages) receives[index(message.to)].emplace_back(place[index(message.number)], message.number);
    std::vector<std::vector<Numbered>> programs(play.programs().size());
    for (std::size_t rank = 0; rank < programs.size(); ++rank) {
        auto& mine = receives[rank];
        std::sort(mine.begin(), mine.end());
        auto next = mine.begin();
        for (const auto& one : play.programs()[rank]) {
            for (; next != mine.end() && next->first <= one.number; ++next) programs[rank].push_back({-1, Receive{messages[index(next->second)]}});
            programs[rank].push_back(one);
        }
        ensure(next == mine.end(), "what is received is used behind it");
    }
    return programs;
}

}  // namespace

std::vector<Program> compile(const Plan& plan, std::int64_t first_step) {
    ensure(first_step >= 0 && first_step <= plan.steps, "a job begins at one of its steps");
    Play play(plan, first_step);
    play.run();
    const auto numbered = with_receives(play);
    check(plan, numbered, play.messages().size());
    std::vector<int> uses(play.messages().size());
    std::vector<Program> programs(numbered.size());
    for (std::size_t rank = 0; rank < numbered.size(); ++rank)
        for (const auto& one : numbered[rank]) {
            if (const auto* take = std::get_if<Take>(&one.operation)) ++uses[index(take->message.number)];
            if (const auto* save = std::get_if<Save>(&one.operation))
                for (const auto message : save->messages) ++uses[index(message)];
            programs[rank].push_back(one.operation);
        }
    for (auto& program : programs)
        for (auto& operation : program)
            if (auto* receive = std::get_if<Receive>(&operation)) receive->uses = uses[index(receive->message.number)];
    return programs;
}

}  // namespace weft::plan

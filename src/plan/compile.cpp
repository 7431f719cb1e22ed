#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/play.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <variant>

// Programs are made by playing the job: legs of passes take their cost, messages the time that the links give them, all else takes no time. A pass is admitted
// to its route when the latents that it reads are where it begins, one of the route's slots is free, and the step before the last is complete. A rank that is
// free first advances what can be advanced, and then takes the next leg as the plan's Order says. What ranks did in the play, in that order, are their
// programs; later they do not look again at what is ready. Two operations find their places behind the play: a Receive stands where its room was free, in
// front of its rank's first operation with a number of at least `place`, and `place` is at most the number of its Send; a Save stands as early as the saver can
// be told what to gather.
//
// Why the programs end, at whatever speeds they really run. Every operation but Receive has a number, its place in the play; a rank's numbers ascend. A Save
// that was brought forward counts as just above the operation that it stands behind.
//  * Only Take and Save wait, and only for messages whose Send has a smaller number: the play takes what has arrived, and a Save, which waits until the step
//    two before is gathered (pipeline/saver.hpp), stands where it did, or behind an operation that the play did behind that step's sends.
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

/// The writer's program with each Save in front of the first task behind: what it computes and keeps of the step, the receives of the rest, and an operation
/// that the play did behind all sends of the step two before; or else where it stood. A step is so in the saver's hands before the writer computes on, though
/// some of its frames leave their owners later.
std::vector<Numbered> with_saves_early(std::vector<Numbered> program, const std::vector<std::int64_t>& sent_at) {
    std::deque<Save> to_come;
    std::map<std::int64_t, int> left;  // by steps done: tasks and frames to keep
    const auto count = [&left](const Operation& operation, int change) {
        if (const auto* compute = std::get_if<Compute>(&operation)) left[compute->task.pass.step + 1] += change;
        if (const auto* keep = std::get_if<Keep>(&operation)) left[keep->steps_done] += change;
    };
    for (const auto& one : program) {
        if (const auto* save = std::get_if<Save>(&one.operation)) to_come.push_back(*save);
        count(one.operation, 1);
    }
    std::vector<Numbered> result;
    std::set<std::int64_t> received;
    std::int64_t last = -1;                           // number
    std::array<std::int64_t, 2> newest_send{-1, -1};  // of the last Save but one, and of the last
    const auto may_stand_here = [&](const Save& save) {
        return left[save.steps_done] == 0 && newest_send[0] < last && std::ranges::all_of(save.messages, [&](auto m) { return received.contains(m); });
    };
    const auto place_next = [&](std::int64_t number) {
        newest_send = {newest_send[1], -1};
        for (const auto message : to_come.front().messages) newest_send[1] = std::max(newest_send[1], sent_at[index(message)]);
        result.push_back({number, std::move(to_come.front())});
        to_come.pop_front();
    };
    std::size_t placed = 0, passed = 0;
    for (auto& one : program) {
        if (std::holds_alternative<Compute>(one.operation))
            for (; !to_come.empty() && may_stand_here(to_come.front()); ++placed) place_next(-1);
        if (std::holds_alternative<Save>(one.operation)) {
            if (++passed > placed) {
                place_next(one.number);
                ++placed;
                last = one.number;
            }
            continue;
        }
        if (const auto* receive = std::get_if<Receive>(&one.operation)) received.insert(receive->message.number);
        count(one.operation, -1);
        last = std::max(last, one.number);
        result.push_back(std::move(one));
    }
    return result;
}

}  // namespace

std::vector<Program> compile(const Plan& plan, std::int64_t first_step) {
    ensure(first_step >= 0 && first_step <= plan.steps, "a job begins at one of its steps");
    Play play(plan, first_step);
    play.run();
    auto numbered = with_receives(play);
    numbered[writer] = with_saves_early(std::move(numbered[writer]), play.sent_at());
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

#include "plan/rooms.hpp"
#include "plan/sample_plans.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <optional>
#include <queue>
#include <random>
#include <tuple>

/// Programs executed by ranks of random speeds over a channel that keeps nothing: a message moves when both its send and its receive are posted, and the
/// messages of a pair of ranks one after the other, in the order of their posts, without tags. Values are hashes of all that went into them, in order.
namespace weft::plan {

namespace {

using Value = std::uint64_t;
using Values = std::vector<Value>;

constexpr std::size_t saves_on_their_way = 2;  // as the saver has them (src/pipeline/saver.hpp)

std::size_t index(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

Value mixed(Value a, Value b) {
    Value x = a * 0x9E3779B97F4A7C15ULL + b + 0x7F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

Value predicted(const Pass& pass, const Values& input, std::size_t slot) {
    Value value = mixed(mixed(static_cast<Value>(pass.step), static_cast<Value>(pass.slice)), static_cast<Value>(pass.branch));
    for (const auto x : input) value = mixed(value, x);
    return mixed(value, slot);
}

/// Latents after each number of steps, as one loop over everything makes them.
std::vector<Values> plainly(const Made& made) {
    std::vector<Values> after(1);
    for (std::int64_t frame = 0; frame < made.plan.num_latents; ++frame) after[0].push_back(mixed(7, static_cast<Value>(frame)));
    for (std::int64_t step = 0; step < made.plan.steps; ++step) {
        auto next = after.back();
        for (const auto& pass : made.passes_of(step)) {  // in slice order
            const auto& frames = made.plan.slices[index(pass.slice)].frames;
            Values input;
            for (const auto frame : frames) input.push_back(after.back()[index(frame)]);
            for (std::size_t slot = 0; slot < frames.size(); ++slot) next[index(frames[slot])] = mixed(next[index(frames[slot])], predicted(pass, input, slot));
        }
        after.push_back(next);
    }
    return after;
}

class Machine {
  public:
    /// `stopped`: a rank that never ends its first pass, or -1.
    Machine(const Made& made, unsigned seed, int stopped = -1)
        : made_{made}, wanted_{plainly(made)}, random_{seed}, stopped_{stopped}, ranks_(made.programs.size()) {
        std::uniform_real_distribution<double> magnitude(-3, 3);
        for (const auto& route : made.plan.deal.routes()) rooms_.push_back(rooms_of(made.plan.shape, route));
        for (std::size_t r = 0; r < ranks_.size(); ++r) {
            auto& rank = ranks_[r];
            rank.pace = std::exp(magnitude(random_));
            rank.latents.assign(index(made.plan.num_latents), mixed(1000, r));  // what a rank does not keep is not there
            for (const auto frame : frames_in(made.plan.kept(static_cast<int>(r)))) rank.latents[index(frame)] = wanted_[index(made.first_step)][index(frame)];
            events_.push({0.0, next_event_++, static_cast<int>(r), {}});
        }
    }

    void run() {
        while (!events_.empty()) {
            const auto event = events_.top();
            events_.pop();
            now_ = event.time;
            if (event.arrived.has_value())
                arrive(*event.arrived);
            else
                go_on(event.rank);
        }
    }

    [[nodiscard]] bool all_ended() const {
        for (std::size_t r = 0; r < ranks_.size(); ++r)
            if (ranks_[r].next != made_.programs[r].size()) return false;
        return true;
    }
    [[nodiscard]] std::int64_t saved_steps() const { return saved_steps_; }
    [[nodiscard]] const std::vector<std::string>& wrong() const { return wrong_; }
    /// Passes of `step` that a rank has run.
    [[nodiscard]] std::int64_t passes_run(int rank, std::int64_t step) const {
        std::int64_t run = 0;
        for (std::size_t i = 0; i < ranks_[index(rank)].next; ++i)
            if (const auto* compute = std::get_if<Compute>(&made_.programs[index(rank)][i])) run += compute->task.pass.step == step ? 1 : 0;
        return run;
    }

  private:
    struct Rank {
        std::size_t next = 0;
        double pace = 1;
        bool waits = false;
        Values latents;
        std::map<std::pair<Pass, std::int64_t>, Value> predictions;                           // of a frame
        std::map<std::int64_t, Values> arrived;                                               // message -> content
        std::map<std::pair<std::size_t, std::size_t>, std::map<std::int64_t, Values>> slots;  // (route, room) -> slot -> content
        std::map<std::int64_t, Values> kept;                                                  // steps done -> the writer's own frames
        std::deque<Save> to_gather;
    };
    struct Event {
        double time;
        std::int64_t order;
        int rank;
        std::optional<Message> arrived;
        bool operator<(const Event& other) const { return std::tie(time, order) > std::tie(other.time, other.order); }
    };
    struct Channel {
        std::deque<std::pair<Message, Values>> sent;
        std::deque<std::int64_t> posted;
        bool busy = false;
    };

    double duration() { return std::exp(3 * std::normal_distribution<double>()(random_)); }  // heavy tails

    void move(std::pair<int, int> pair) {
        auto& channel = channels_[pair];
        if (channel.busy || channel.sent.empty() || channel.posted.empty()) return;
        if (channel.sent.front().first.number != channel.posted.front()) wrong_.emplace_back("a message meets another's receive");
        channel.busy = true;
        events_.push({now_ + duration(), next_event_++, pair.second, channel.sent.front().first});
    }

    void arrive(const Message& message) {
        auto& channel = channels_[{message.from, message.to}];
        auto& rank = ranks_[index(message.to)];
        rank.arrived[message.number] = std::move(channel.sent.front().second);
        channel.sent.pop_front();
        channel.posted.pop_front();
        channel.busy = false;
        move({message.from, message.to});
        gather(rank);
        if (rank.waits) go_on(message.to);
    }

    void go_on(int r) {
        auto& rank = ranks_[index(r)];
        const auto& program = made_.programs[index(r)];
        rank.waits = false;
        while (rank.next < program.size()) {
            const auto& operation = program[rank.next];
            if (std::holds_alternative<Compute>(operation) && r == stopped_) return;
            if (!std::visit([&](const auto& o) { return execute(r, rank, o); }, operation)) {
                rank.waits = true;
                return;
            }
            ++rank.next;
            if (std::holds_alternative<Compute>(operation)) {
                events_.push({now_ + rank.pace * duration(), next_event_++, r, {}});
                return;
            }
        }
    }

    bool execute(int, Rank&, const Receive& o) {
        const std::pair pair(o.message.from, o.message.to);
        channels_[pair].posted.push_back(o.message.number);
        move(pair);
        return true;
    }

    /// What a leg leaves: it depends on the pass, what went into it, and where it waits.
    Values left(const Pass& pass, std::size_t route, std::size_t room) const {
        const auto& one = rooms_[route][room];
        Values input;
        for (const auto frame : made_.plan.slices[index(pass.slice)].frames) input.push_back(wanted_[index(pass.step)][index(frame)]);
        const auto value = predicted(pass, input, 0);
        return {mixed(value, static_cast<Value>(one.item)), mixed(value, static_cast<Value>(one.tensor)), mixed(value, static_cast<Value>(one.slots.begin)),
                mixed(value, static_cast<Value>(one.content))};
    }
    std::size_t route_of(const Pass& pass) const { return made_.plan.deal.route_index(pass.slice, pass.branch); }

    bool execute(int, Rank& rank, const Send& o) {
        Values content;
        if (o.message.cargo == Cargo::state || o.message.cargo == Cargo::skip) content = left(o.message.pass, route_of(o.message.pass), o.message.room);
        for (const auto frame : frames_in(o.message.frames))
            content.push_back(o.message.cargo == Cargo::prediction ? rank.predictions.at({o.message.pass, frame}) : rank.latents[index(frame)]);
        const std::pair pair(o.message.from, o.message.to);
        channels_[pair].sent.emplace_back(o.message, std::move(content));
        move(pair);
        return true;
    }

    bool execute(int, Rank& rank, const Take& o) {
        const auto content = rank.arrived.find(o.message.number);
        if (content == rank.arrived.end()) return false;
        if (o.message.cargo == Cargo::state || o.message.cargo == Cargo::skip) {
            auto& slot = rank.slots[{route_of(o.message.pass), o.message.room}][o.message.slot];
            if (!slot.empty()) wrong_.push_back("a slot is filled that is in use: " + describe(o.message));
            slot = content->second;
        }
        const auto frames = frames_in(o.message.frames);
        for (std::size_t i = 0; i < frames.size(); ++i) {
            if (o.message.cargo == Cargo::prediction)
                rank.predictions[{o.message.pass, frames[i]}] = content->second[i];
            else
                rank.latents[index(frames[i])] = content->second[i];
        }
        return true;
    }

    bool execute(int r, Rank& rank, const Compute& o) {
        const auto& pass = o.task.pass;
        const auto route = route_of(pass);
        const auto& legs = made_.plan.deal.routes()[route].legs;
        const auto leg = made_.plan.deal.routes()[route].leg_of(o.task.pieces.begin);
        for (std::size_t room = 0; room < rooms_[route].size(); ++room) {
            const auto& one = rooms_[route][room];
            auto& slot = rank.slots[{route, room}][o.task.slot];
            if (one.to_leg == leg && slot != left(pass, route, room))
                wrong_.push_back("rank " + std::to_string(r) + " misses what was left for " + describe(pass));
            if (one.to_leg == leg) slot.clear();
            if (one.from_leg == leg && one.from == one.to) slot = left(pass, route, room);
        }
        const auto& frames = made_.plan.slices[index(pass.slice)].frames;
        if (leg > 0) {
            if (leg + 1 < legs.size()) return true;
            Values input;
            for (const auto frame : frames) input.push_back(wanted_[index(pass.step)][index(frame)]);
            for (std::size_t slot = 0; slot < frames.size(); ++slot) rank.predictions[{pass, frames[slot]}] = predicted(pass, input, slot);
            return true;
        }
        Values input;
        for (const auto frame : frames) {
            input.push_back(rank.latents[index(frame)]);
            if (input.back() != wanted_[index(pass.step)][index(frame)])
                wrong_.push_back("rank " + std::to_string(r) + " reads another frame " + std::to_string(frame) + " in " + describe(pass));
        }
        if (legs.size() > 1) return true;
        for (std::size_t slot = 0; slot < frames.size(); ++slot) rank.predictions[{pass, frames[slot]}] = predicted(pass, input, slot);
        return true;
    }

    bool execute(int, Rank& rank, const Keep& o) {
        auto& all = rank.kept.try_emplace(o.steps_done, index(made_.plan.num_latents), Value{0}).first->second;
        for (const auto frame : frames_in(o.frames)) all[index(frame)] = rank.latents[index(frame)];
        return true;
    }

    bool execute(int, Rank& rank, const Advance& o) {
        for (const auto frame : frames_in(o.frames))
            for (const auto slice : made_.plan.covering(frame))
                for (const auto branch : {Branch::unconditional, Branch::conditional}) {
                    if (!made_.plan.guided && branch == Branch::unconditional) continue;
                    auto& x = rank.latents[index(frame)];
                    x = mixed(x, rank.predictions.at({{o.step, slice, branch}, frame}));
                }
        return true;
    }

    bool execute(int, Rank& rank, const Save& o) {
        gather(rank);
        if (rank.to_gather.size() >= saves_on_their_way) return false;
        rank.to_gather.push_back(o);
        gather(rank);
        return true;
    }

    /// What the saver does beside the program.
    void gather(Rank& rank) {
        const auto arrived = [&](auto number) { return rank.arrived.contains(number); };
        for (; !rank.to_gather.empty() && std::ranges::all_of(rank.to_gather.front().messages, arrived); rank.to_gather.pop_front()) {
            const auto& save = rank.to_gather.front();
            auto all = rank.kept.try_emplace(save.steps_done, index(made_.plan.num_latents), Value{0}).first->second;
            for (const auto& message : made_.messages()) {
                if (std::ranges::find(save.messages, message.number) == save.messages.end()) continue;
                const auto frames = frames_in(message.frames);
                for (std::size_t i = 0; i < frames.size(); ++i) all[index(frames[i])] = rank.arrived.at(message.number)[i];
            }
            if (all != wanted_[index(save.steps_done)]) wrong_.push_back("other latents are saved after step " + std::to_string(save.steps_done));
            saved_steps_ = save.steps_done;
        }
    }

    const Made& made_;
    std::vector<std::vector<Room>> rooms_;  // by route
    std::vector<Values> wanted_;
    std::mt19937 random_;
    int stopped_;
    std::vector<Rank> ranks_;
    std::map<std::pair<int, int>, Channel> channels_;
    std::priority_queue<Event> events_;
    std::int64_t next_event_ = 0;
    double now_ = 0;
    std::int64_t saved_steps_ = 0;
    std::vector<std::string> wrong_;
};

void expect_as_one_rank(const Made& made, unsigned seed) {
    Machine machine(made, seed);
    machine.run();
    ASSERT_TRUE(machine.all_ended()) << made.sample << ", seed " << seed << ": ranks wait for ever";
    ASSERT_EQ(machine.saved_steps(), made.plan.steps) << made.sample << ", seed " << seed;
    ASSERT_TRUE(machine.wrong().empty()) << made.sample << ", seed " << seed << ": " << machine.wrong().front();
}

/// Do the programs end over a transport that moves the messages of each rank one after the other, both directions, in the order of their numbers, and none
/// before both ends have posted it? So NCCL's streams do (src/comm/nccl_link.cpp). Messages that stay in host memory move as soon as both ends have.
bool end_over_one_queue_a_rank(const Made& made) {
    struct Transfer {
        int posted = 0;
        bool moved = false;
    };
    std::map<std::int64_t, Transfer> transfers;
    std::vector<std::deque<Message>> queues(made.programs.size());
    for (std::size_t rank = 0; rank < queues.size(); ++rank) {
        std::map<std::int64_t, Message> mine;
        for (const auto& operation : made.programs[rank])
            if (const auto* message = message_of(operation); message != nullptr && for_device(*message)) mine.emplace(message->number, *message);
        for (const auto& [number, message] : mine) queues[rank].push_back(message);
    }
    std::vector<std::size_t> next(made.programs.size(), 0);
    const auto moved = [&](std::int64_t number) { return transfers[number].moved; };
    std::deque<Save> to_gather;
    for (bool going = true; going;) {
        going = false;
        for (std::size_t rank = 0; rank < next.size(); ++rank)
            for (; next[rank] < made.programs[rank].size(); ++next[rank], going = true) {
                const auto& operation = made.programs[rank][next[rank]];
                if (const auto* take = std::get_if<Take>(&operation); take != nullptr && !moved(take->message.number)) break;
                if (const auto* save = std::get_if<Save>(&operation)) {
                    while (!to_gather.empty() && std::ranges::all_of(to_gather.front().messages, moved)) to_gather.pop_front();
                    if (to_gather.size() >= saves_on_their_way) break;
                    to_gather.push_back(*save);
                }
                if (const auto* message = message_of(operation); message != nullptr && !std::holds_alternative<Take>(operation)) {
                    auto& transfer = transfers[message->number];
                    if (++transfer.posted == 2 && !for_device(*message)) transfer.moved = true;
                }
            }
        for (auto& queue : queues)
            while (!queue.empty() && transfers[queue.front().number].posted == 2) {
                const auto message = queue.front();
                auto& other = queues[index(message.from)].front().number == message.number ? queues[index(message.to)] : queues[index(message.from)];
                if (other.empty() || other.front().number != message.number) break;
                transfers[message.number].moved = true;
                queues[index(message.from)].pop_front();
                queues[index(message.to)].pop_front();
                going = true;
            }
    }
    for (std::size_t rank = 0; rank < next.size(); ++rank)
        if (next[rank] != made.programs[rank].size()) return false;
    return true;
}

}  // namespace

TEST(Execution, EveryLayoutEndsOverOneQueueARank) {
    for (const auto& made : all_layouts()) ASSERT_TRUE(end_over_one_queue_a_rank(made)) << made.sample;
}

TEST(Execution, AQueueThatMeetsAMessageOutOfOrderIsSeen) {
    auto made = make({.ranks = 3, .layout = {.kind = LayoutKind::stages, .stages = 3}});
    for (auto& program : made.programs)
        for (auto& operation : program)  // the last message of all comes first
            for (auto* message : {const_cast<Message*>(message_of(operation))})
                if (message != nullptr && for_device(*message)) message->number = 1000000 - message->number;
    EXPECT_FALSE(end_over_one_queue_a_rank(made));
}

TEST(Execution, EveryLayoutEndsWithTheValuesOfOneLoop) {
    unsigned seed = 1;
    for (const auto& made : all_layouts()) ASSERT_NO_FATAL_FAILURE(expect_as_one_rank(made, seed++));
}

TEST(Execution, AnyInterleavingEndsWithTheValuesOfOneLoop) {
    for (const int ranks : {2, 3, 5, 7, 8, 13, 16})
        for (const auto anchor : {Anchor::blended, Anchor::private_}) {
            const auto made = make({.ranks = ranks, .anchor = anchor, .last = LastSlice::moved_back, .cost = {100, 122}, .steps = 4});
            for (unsigned seed = 0; seed < 100; ++seed) ASSERT_NO_FATAL_FAILURE(expect_as_one_rank(made, seed));
        }
}

TEST(Execution, RandomMapsEndWithTheValuesOfOneLoop) {
    const auto shape = small_unet(7, {1, 1});
    for (unsigned seed = 0; seed < 400; ++seed) {
        const int stages = 2 + static_cast<int>(seed % 6);
        const auto made = make({.ranks = stages * (1 + static_cast<int>(seed % 2)),
                                .slices = 2 + static_cast<std::int64_t>(seed % 7),
                                .guided = seed % 3 != 0,
                                .anchor = seed % 4 == 0 ? Anchor::blended : Anchor::private_,
                                .cost = {100, 122},
                                .steps = 3,
                                .layout = {.kind = LayoutKind::stages, .stages = stages, .map = random_map(shape, stages, seed)}});
        for (unsigned run = 0; run < 5; ++run) ASSERT_NO_FATAL_FAILURE(expect_as_one_rank(made, 5 * seed + run));
    }
}

TEST(Execution, TheMachineSeesLatentsThatWereNotTaken) {
    auto made = make({.ranks = 3});
    auto& program = made.programs[1];
    program.erase(std::find_if(program.begin(), program.end(), [](const auto& operation) {
        const auto* take = std::get_if<Take>(&operation);
        return take != nullptr && take->message.cargo == Cargo::latents;
    }));
    Machine machine(made, 1);
    machine.run();
    EXPECT_FALSE(machine.wrong().empty());
}

TEST(Execution, TheMachineSeesRanksThatWaitForEver) {
    auto made = make({.ranks = 3});
    auto& program = made.programs[1];
    program.erase(std::find_if(program.begin(), program.end(), [](const auto& operation) { return std::holds_alternative<Receive>(operation); }));
    Machine machine(made, 1);
    machine.run();
    EXPECT_FALSE(machine.all_ended());
}

TEST(Execution, WithPrivateAnchorsDistantRanksBeginTheNextStepWhileOneStillComputes) {
    const auto made = make({.ranks = 4, .anchor = Anchor::private_});
    Machine machine(made, 1, 0);
    machine.run();
    EXPECT_EQ(machine.passes_run(3, 1), 4) << "rank 3's slices share no frame with rank 0's";
}

TEST(Execution, ABlendedAnchorHoldsEveryoneUntilAllHaveComputed) {
    const auto made = make({.ranks = 4, .anchor = Anchor::blended});
    Machine machine(made, 1, 0);
    machine.run();
    for (const int rank : {1, 2, 3}) {
        EXPECT_EQ(machine.passes_run(rank, 0), 4);
        EXPECT_EQ(machine.passes_run(rank, 1), 0);
    }
}

}  // namespace weft::plan

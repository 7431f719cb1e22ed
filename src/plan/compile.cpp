#include "base/error.hpp"
#include "plan/plan.hpp"
#include "plan/rooms.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <utility>

// Programs are made by playing the job: legs of passes take their cost, messages the time that the links give them, all else takes no time. A pass is admitted
// to its route when the latents that it reads are where it begins, one of the route's slots is free, and the step before the last is complete. A rank that is
// free first advances what can be advanced, and then takes the ready leg of the smallest key, (step, place, leg) or (leg, step, place). What ranks did in the
// play, in that order, are their programs; later they do not look again at what is ready.
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
// for smaller messages, which have moved. So both are posted, and both ranks' queues have come to m. `check` below asserts what these arguments use.

namespace weft::plan {

namespace {

using Time = std::int64_t;  // nanoseconds since the begin of the play

std::size_t index(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

std::size_t index(Branch branch) {
    return static_cast<std::size_t>(branch);
}

/// An operation with its place in the play.
struct Numbered {
    std::int64_t number = 0;
    Operation operation;
};

bool travels(Cargo cargo, const Room& room) {
    return room.from != room.to && (cargo == Cargo::state) == (room.content == Room::Content::state);
}

Cargo cargo_of(const Room& room) {
    return room.content == Room::Content::state ? Cargo::state : Cargo::skip;
}

/// Do the slices form a ring, each sharing frames with the one before and the one behind it alone?
bool is_ring(const Plan& plan, const std::vector<std::vector<std::int64_t>>& covering) {
    const auto n = plan.num_slices();
    if (n < 4) return false;
    std::vector<std::set<std::int64_t>> neighbours(index(n));
    for (const auto& slices : covering)
        for (const auto a : slices)
            for (const auto b : slices)
                if (a != b) neighbours[index(a)].insert(b);
    for (std::int64_t slice = 0; slice < n; ++slice)
        if (neighbours[index(slice)] != std::set<std::int64_t>{(slice + 1) % n, (slice + n - 1) % n}) return false;
    return true;
}

class Play {
  public:
    Play(const Plan& plan, std::int64_t first_step);

    /// Plays to the end; once.
    void run();

    [[nodiscard]] const std::vector<std::vector<Numbered>>& programs() const { return programs_; }
    [[nodiscard]] const std::vector<Message>& messages() const { return messages_; }
    /// By message: number from which on its room is there.
    [[nodiscard]] std::vector<std::int64_t> room_since() const;
    /// By message: number of its Send.
    [[nodiscard]] const std::vector<std::int64_t>& sent_at() const { return sent_at_; }

  private:
    using Key = std::array<std::int64_t, 3>;
    struct Leg {
        Key key;
        Pass pass;
        std::size_t leg = 0;
        bool operator<(const Leg& other) const { return key < other.key; }
    };
    /// What a rank is about.
    struct Player {
        std::set<Leg> ready;
        std::optional<Leg> running;
        std::map<std::int64_t, std::vector<std::int64_t>> to_advance;  // step -> frames with all contributions there
        std::map<std::int64_t, std::int64_t> latents;                  // frame -> message not taken yet
        std::map<Pass, std::int64_t> predictions;                      // message not taken yet
        std::vector<std::int64_t> begins;                              // by step: number of the first operation of its work on it
    };
    /// A pass on its way.
    struct Flow {
        std::int64_t slot = 0;
        std::int64_t admitted = 0;                    // number
        std::vector<std::int64_t> missing;            // by leg: messages that have not come
        std::vector<std::set<std::int64_t>> to_take;  // by leg
    };
    struct FreeSlot {
        std::int64_t slot = 0;
        std::int64_t word = -1;  // message that brought the word of it, to be taken
    };
    struct Way {  // of a route
        const Route* route = nullptr;
        std::vector<Room> rooms;
        bool needs_words = false;   // the first rank cannot know by itself that a slot is free
        std::int64_t to_admit = 0;  // passes of the whole job that are still to come
        std::int64_t words = 0;     // on their way
        std::deque<FreeSlot> free;
        std::set<std::pair<std::pair<std::int64_t, std::int64_t>, Pass>> waiting;  // ((step, place), pass): with latents, without a slot
    };
    /// What a Save will say.
    struct Gathered {
        std::vector<std::int64_t> messages;
    };
    struct Event {
        Time time = 0;
        std::int64_t order = 0;
        int rank = -1;              // whose leg ends, or
        std::int64_t message = -1;  // what arrives
        bool operator<(const Event& other) const { return std::pair(time, order) > std::pair(other.time, other.order); }
    };

    [[nodiscard]] std::int64_t place(const Pass& pass) const;
    void emit(int rank, Operation operation);
    std::int64_t send(Message message, std::int64_t room_since = std::numeric_limits<std::int64_t>::max());
    void take(int rank, const std::set<std::int64_t>& messages);

    void feed(const Pass& pass);
    void frames_are_there(int rank, std::int64_t steps_done, const std::vector<std::int64_t>& frames);
    bool admit(Way& way);
    void make_ready(const Pass& pass, std::size_t leg);
    void contribute(const Pass& pass, const std::vector<std::int64_t>& frames);
    void start(int rank);
    void finish(int rank);
    void arrive(const Message& message);
    [[nodiscard]] bool may_advance(std::int64_t step, int rank) const;
    void advance(std::int64_t step, int rank);
    bool save();
    void settle();

    const Plan& plan_;
    std::int64_t first_step_;
    bool ring_;
    bool has_legs_ = false;                            // are passes run by several ranks?
    std::vector<std::vector<std::int64_t>> covering_;  // frame -> slices
    std::vector<std::vector<int>> readers_;            // frame -> ranks where passes over it begin, ascending
    Wires wires_;

    std::vector<Player> players_;
    std::vector<Way> ways_;
    std::map<Pass, Flow> flows_;
    std::priority_queue<Event> events_;
    std::int64_t next_event_ = 0;
    std::vector<std::int64_t> contributions_left_;          // by frame, for its present step
    std::vector<std::array<std::int64_t, 2>> frames_left_;  // by slice and branch, until its next step may begin
    std::vector<std::int64_t> unsaved_left_;                // by step: frames not advanced yet
    std::map<std::int64_t, Gathered> gathered_;             // by step
    std::int64_t complete_;                                 // steps all of whose frames were advanced
    std::int64_t saved_;                                    // steps for which the writer has emitted Save

    Time now_ = 0;
    std::int64_t next_number_ = 0;
    std::vector<std::vector<Numbered>> programs_;
    std::vector<Message> messages_;
    std::vector<std::int64_t> sent_at_;     // by message
    std::vector<std::int64_t> room_since_;  // by message; largest number: with the receiver's work on its step
};

Play::Play(const Plan& plan, std::int64_t first_step)
    : plan_{plan},
      first_step_{first_step},
      covering_(index(plan.num_latents)),
      readers_(index(plan.num_latents)),
      wires_{plan.links},
      players_(index(plan.num_ranks())),
      contributions_left_(index(plan.num_latents)),
      unsaved_left_(index(plan.steps), plan.num_latents),
      complete_{first_step},
      saved_{first_step},
      programs_(index(plan.num_ranks())) {
    for (const auto& route : plan.deal.routes()) {
        Way way;
        way.route = &route;
        way.rooms = rooms_of(plan.shape, route);
        for (std::int64_t slot = 0; slot < route.slots; ++slot) way.free.push_back({slot, -1});
        has_legs_ = has_legs_ || route.legs.size() > 1;
        ways_.push_back(std::move(way));
    }
    std::vector<std::int64_t> passes_a_step(ways_.size(), 0);
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice) {
        const auto& frames = plan.slices[index(slice)].frames;
        frames_left_.push_back({static_cast<std::int64_t>(frames.size()), static_cast<std::int64_t>(frames.size())});
        for (const auto branch : plan.deal.branches()) ++passes_a_step[plan.deal.route_index(slice, branch)];
        for (const auto frame : frames) {
            covering_[index(frame)].push_back(slice);
            for (const auto branch : plan.deal.branches()) {
                ++contributions_left_[index(frame)];
                readers_[index(frame)].push_back(plan.deal.route(slice, branch).first_rank());
            }
        }
    }
    for (auto& readers : readers_) {
        std::sort(readers.begin(), readers.end());
        readers.erase(std::unique(readers.begin(), readers.end()), readers.end());
    }
    for (std::size_t way = 0; way < ways_.size(); ++way) {
        const auto& route = *ways_[way].route;
        ways_[way].to_admit = passes_a_step[way] * (plan.steps - first_step);
        // A route of one pass a step: the pass begins anew when its frames have been advanced, and so after it ended.
        ways_[way].needs_words = route.legs.size() > 1 && route.first_rank() != route.last_rank() && passes_a_step[way] > 1;
    }
    ring_ = is_ring(plan, covering_);
}

/// Place of a pass among those of its step: ranks prefer smaller ones. Slices in order, conditional first; in a ring each step begins one slice later, so that
/// its first pass finds both neighbours served (../shared/schedule.md section 4).
std::int64_t Play::place(const Pass& pass) const {
    const auto n = plan_.num_slices();
    const auto slice = ring_ ? ((pass.slice - pass.step) % n + n) % n : pass.slice;
    return 2 * slice + (pass.branch == Branch::conditional ? 0 : 1);
}

void Play::emit(int rank, Operation operation) {
    programs_[index(rank)].push_back({next_number_++, std::move(operation)});
}

std::int64_t Play::send(Message message, std::int64_t room_since) {
    message.number = static_cast<std::int64_t>(messages_.size());
    sent_at_.push_back(next_number_);
    room_since_.push_back(room_since);
    emit(message.from, Send{message});
    const auto flight = wires_.send(message.from, message.to, message.bytes, now_, haste_of(message));
    events_.push({flight.arrive_ns, next_event_++, -1, message.number});
    messages_.push_back(std::move(message));
    return messages_.back().number;
}

void Play::take(int rank, const std::set<std::int64_t>& messages) {
    for (const auto number : messages) emit(rank, Take{messages_[index(number)]});
}

/// The latents that a pass reads are where it begins.
void Play::feed(const Pass& pass) {
    ways_[plan_.deal.route_index(pass.slice, pass.branch)].waiting.insert({{pass.step, place(pass)}, pass});
}

void Play::frames_are_there(int rank, std::int64_t steps_done, const std::vector<std::int64_t>& frames) {
    for (const auto frame : frames)
        for (const auto slice : covering_[index(frame)])
            for (const auto branch : plan_.deal.branches()) {
                if (plan_.deal.route(slice, branch).first_rank() != rank) continue;
                auto& left = frames_left_[index(slice)][index(branch)];
                if (--left > 0) continue;
                left = static_cast<std::int64_t>(plan_.slices[index(slice)].frames.size());
                feed({steps_done, slice, branch});
            }
}

bool Play::admit(Way& way) {
    if (way.waiting.empty()) return false;
    const auto pass = way.waiting.begin()->second;
    const bool whole = way.route->legs.size() == 1;
    if (pass.step > complete_ + 1 || (!whole && way.free.empty())) return false;
    way.waiting.erase(way.waiting.begin());
    --way.to_admit;
    Flow flow;
    flow.admitted = next_number_;
    flow.missing.assign(way.route->legs.size(), 0);
    flow.to_take.resize(way.route->legs.size());
    if (!whole) {
        flow.slot = way.free.front().slot;
        if (way.free.front().word >= 0) flow.to_take.front().insert(way.free.front().word);
        way.free.pop_front();
        for (const auto& room : way.rooms)
            if (room.from != room.to) ++flow.missing[room.to_leg];
    }
    flows_.emplace(pass, std::move(flow));
    make_ready(pass, 0);
    return true;
}

void Play::make_ready(const Pass& pass, std::size_t leg) {
    const auto number = static_cast<std::int64_t>(leg);
    const auto key = plan_.order == Order::pass ? Key{pass.step, place(pass), number} : Key{number, pass.step, place(pass)};
    players_[index(plan_.deal.route(pass.slice, pass.branch).legs[leg].rank)].ready.insert({key, pass, leg});
}

void Play::start(int rank) {
    auto& player = players_[index(rank)];
    const auto leg = *player.ready.begin();
    const auto& pass = leg.pass;
    player.ready.erase(player.ready.begin());
    while (first_step_ + static_cast<std::int64_t>(player.begins.size()) <= pass.step) player.begins.push_back(next_number_);

    auto& flow = flows_.at(pass);
    auto needed = flow.to_take[leg.leg];
    if (leg.leg == 0)
        for (const auto frame : plan_.slices[index(pass.slice)].frames)
            if (const auto found = player.latents.find(frame); found != player.latents.end()) {
                const auto number = found->second;
                needed.insert(number);
                for (const auto& range : messages_[index(number)].frames)
                    player.latents.erase(player.latents.lower_bound(range.begin), player.latents.lower_bound(range.end));
            }
    take(rank, needed);
    const auto& pieces = plan_.deal.route(pass.slice, pass.branch).legs[leg.leg].pieces;
    emit(rank, Compute{{pass, pieces, rank, flow.slot}});
    player.running = leg;
    events_.push({now_ + plan_.shape.cost(pieces)[index(pass.branch)], next_event_++, rank, -1});
}

void Play::contribute(const Pass& pass, const std::vector<std::int64_t>& frames) {
    for (const auto frame : frames)
        if (--contributions_left_[index(frame)] == 0) players_[index(plan_.owner[index(frame)])].to_advance[pass.step].push_back(frame);
}

void Play::finish(int rank) {
    auto& player = players_[index(rank)];
    const auto [key, pass, leg] = *std::exchange(player.running, std::nullopt);
    auto& way = ways_[plan_.deal.route_index(pass.slice, pass.branch)];
    const auto& route = *way.route;
    const auto& flow = flows_.at(pass);
    for (std::size_t room = 0; room < way.rooms.size(); ++room) {
        const auto& one = way.rooms[room];
        if (one.from_leg != leg || one.from == one.to) continue;
        send({.cargo = cargo_of(one), .from = rank, .to = one.to, .pass = pass, .slot = flow.slot, .room = room, .bytes = one.bytes}, flow.admitted);
    }
    if (leg + 1 < route.legs.size()) return;

    std::map<int, std::vector<std::int64_t>> by_owner;
    for (const auto frame : plan_.slices[index(pass.slice)].frames) by_owner[plan_.owner[index(frame)]].push_back(frame);
    for (auto& [owner, frames] : by_owner) {
        if (owner == rank) {
            contribute(pass, frames);
            continue;
        }
        auto ranges = ranges_of(std::move(frames));
        const auto bytes = count(ranges) * plan_.frame_elements() * plan_.prediction_bytes;
        send({.cargo = Cargo::prediction, .from = rank, .to = owner, .pass = pass, .frames = std::move(ranges), .bytes = bytes});
    }
    if (route.legs.size() > 1) {
        // Words that nobody will wait for are not sent.
        if (!way.needs_words)
            way.free.push_back({flow.slot, -1});
        else if (way.to_admit > static_cast<std::int64_t>(way.free.size()) + way.words) {
            ++way.words;
            send({.cargo = Cargo::slot, .from = rank, .to = route.first_rank(), .pass = pass, .slot = flow.slot, .bytes = 1});
        }
    }
    flows_.erase(pass);
}

void Play::arrive(const Message& message) {
    auto& player = players_[index(message.to)];
    const auto frames = [&] {
        std::vector<std::int64_t> all;
        for (const auto& range : message.frames)
            for (auto frame = range.begin; frame < range.end; ++frame) all.push_back(frame);
        return all;
    };
    switch (message.cargo) {
        case Cargo::prediction:
            ensure(player.predictions.insert({message.pass, message.number}).second, "a pass gives each owner its prediction once");
            contribute(message.pass, frames());
            break;
        case Cargo::latents:
            for (const auto frame : frames()) player.latents[frame] = message.number;
            frames_are_there(message.to, message.pass.step + 1, frames());
            break;
        case Cargo::saved: break;
        case Cargo::state:
        case Cargo::skip: {
            auto& flow = flows_.at(message.pass);
            const auto leg = ways_[plan_.deal.route_index(message.pass.slice, message.pass.branch)].rooms[message.room].to_leg;
            flow.to_take[leg].insert(message.number);
            if (--flow.missing[leg] == 0) make_ready(message.pass, leg);
            break;
        }
        case Cargo::slot: {
            auto& way = ways_[plan_.deal.route_index(message.pass.slice, message.pass.branch)];
            --way.words;
            way.free.push_back({message.slot, message.number});
            break;
        }
    }
}

/// A rank that is free advances before its next leg, but where that helps nobody else: then behind all of its passes of the step, in one go.
bool Play::may_advance(std::int64_t step, int rank) const {
    const auto& player = players_[index(rank)];
    if (player.running.has_value()) return false;
    if (player.ready.empty() || player.ready.begin()->pass.step > step || has_legs_) return true;
    const auto& frames = player.to_advance.at(step);
    return std::any_of(frames.begin(), frames.end(), [&](auto frame) { return readers_[index(frame)] != std::vector<int>{rank}; });
}

void Play::advance(std::int64_t step, int rank) {
    auto& player = players_[index(rank)];
    auto frames = std::move(player.to_advance.at(step));
    player.to_advance.erase(step);
    std::sort(frames.begin(), frames.end());

    std::set<std::int64_t> needed;
    for (const auto frame : frames)
        for (const auto slice : covering_[index(frame)])
            for (const auto branch : plan_.deal.branches())
                if (const auto found = player.predictions.find({step, slice, branch}); found != player.predictions.end()) {
                    needed.insert(found->second);
                    player.predictions.erase(found);
                }
    take(rank, needed);
    emit(rank, Advance{step, ranges_of(frames)});

    const bool is_last = step + 1 == plan_.steps;
    std::map<int, std::vector<std::int64_t>> to_readers;
    std::vector<std::int64_t> to_writer;
    for (const auto frame : frames) {
        const auto& readers = readers_[index(frame)];
        if (!is_last)
            for (const auto reader : readers)
                if (reader != rank) to_readers[reader].push_back(frame);
        if (rank != writer && (is_last || !std::binary_search(readers.begin(), readers.end(), writer))) to_writer.push_back(frame);
    }
    auto& gathered = gathered_[step];
    const auto send_frames = [&](Cargo cargo, int to, std::vector<std::int64_t> some) {
        auto ranges = ranges_of(std::move(some));
        const auto bytes = count(ranges) * plan_.frame_elements() * 4;
        const auto number = send({.cargo = cargo, .from = rank, .to = to, .pass = {step, 0, Branch::conditional}, .frames = std::move(ranges), .bytes = bytes});
        if (to == writer) gathered.messages.push_back(number);
    };
    for (auto& [reader, its_frames] : to_readers) send_frames(Cargo::latents, reader, std::move(its_frames));
    if (!to_writer.empty()) send_frames(Cargo::saved, writer, std::move(to_writer));
    if (rank == writer) emit(rank, Keep{step + 1, ranges_of(frames)});

    unsaved_left_[index(step)] -= static_cast<std::int64_t>(frames.size());
    while (complete_ < plan_.steps && unsaved_left_[index(complete_)] == 0) ++complete_;
    for (const auto frame : frames)
        contributions_left_[index(frame)] = static_cast<std::int64_t>(covering_[index(frame)].size() * plan_.deal.branches().size());
    if (!is_last) frames_are_there(rank, step + 1, frames);
}

bool Play::save() {
    if (saved_ >= complete_ || players_[writer].running.has_value()) return false;
    auto gathered = gathered_.extract(saved_);
    emit(writer, Save{++saved_, std::move(gathered.mapped().messages)});
    return true;
}

void Play::settle() {
    for (bool moved = true; moved;) {
        moved = save();
        for (auto& way : ways_)
            while (admit(way)) moved = true;
        for (int rank = 0; rank < plan_.num_ranks(); ++rank) {
            auto& player = players_[index(rank)];
            while (!player.to_advance.empty() && may_advance(player.to_advance.begin()->first, rank)) {
                advance(player.to_advance.begin()->first, rank);
                moved = true;
            }
        }
    }
}

void Play::run() {
    if (first_step_ < plan_.steps)
        for (std::int64_t slice = 0; slice < plan_.num_slices(); ++slice)
            for (const auto branch : plan_.deal.branches()) feed({first_step_, slice, branch});
    while (true) {
        settle();
        bool started = false;
        for (int rank = 0; rank < plan_.num_ranks(); ++rank)
            if (const auto& player = players_[index(rank)]; !player.running.has_value() && !player.ready.empty()) {
                start(rank);
                started = true;
            }
        if (started) continue;
        if (events_.empty()) break;
        now_ = events_.top().time;
        while (!events_.empty() && events_.top().time == now_) {
            const auto event = events_.top();
            events_.pop();
            if (event.rank >= 0)
                finish(event.rank);
            else
                arrive(Message(messages_[index(event.message)]));
        }
    }
    ensure(saved_ == std::max(plan_.steps, first_step_), "the play ends with the last step saved");
    ensure(flows_.empty(), "the play ends with every pass at its end");
}

std::vector<std::int64_t> Play::room_since() const {
    auto since = room_since_;
    for (const auto& message : messages_) {
        auto& mine = since[index(message.number)];
        if (mine != std::numeric_limits<std::int64_t>::max()) continue;
        const auto& begins = players_[index(message.to)].begins;
        const auto step = index(message.pass.step - first_step_);
        mine = std::min(sent_at_[index(message.number)], step < begins.size() ? begins[step] : std::numeric_limits<std::int64_t>::max());
    }
    return since;
}

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

/// That slots are room enough: what is received into one, or stays in it, meets nothing that is still to be used.
class SlotCheck {
  public:
    explicit SlotCheck(const Plan& plan) {
        for (const auto& route : plan.deal.routes()) rooms_.push_back(rooms_of(plan.shape, route));
    }

    void receive(const Plan& plan, const Message& message) {
        const auto route = plan.deal.route_index(message.pass.slice, message.pass.branch);
        fill({route, message.room, message.slot});
        ensure(travels(message.cargo, rooms_[route][message.room]) && rooms_[route][message.room].bytes == message.bytes, "a message fits its room");
    }

    void compute(const Plan& plan, const Task& task) {
        const auto& pass = task.pass;
        const auto route = plan.deal.route_index(pass.slice, pass.branch);
        const auto leg = plan.deal.route(pass.slice, pass.branch).leg_of(task.pieces.begin);
        for (std::size_t room = 0; room < rooms_[route].size(); ++room) {
            const auto& one = rooms_[route][room];
            if (one.to_leg == leg) ensure(filled_.erase({route, room, task.slot}) == 1, "a leg finds what was left for it");
        }
        for (std::size_t room = 0; room < rooms_[route].size(); ++room) {
            const auto& one = rooms_[route][room];
            if (one.from_leg == leg && one.from == one.to) fill({route, room, task.slot});
        }
    }

  private:
    using Place = std::tuple<std::size_t, std::size_t, std::int64_t>;
    void fill(const Place& place) { ensure(filled_.insert(place).second, "a slot is free when a pass is admitted to it"); }

    std::vector<std::vector<Room>> rooms_;
    std::set<Place> filled_;
};

/// What the arguments above and the interpreter rely on.
void check(const Plan& plan, const std::vector<std::vector<Numbered>>& programs, std::size_t num_messages) {
    struct Seen {
        std::int64_t sent = -1;      // number
        std::int64_t received = -1;  // place in the receiver's program
        int taken = 0, listed = 0;
    };
    std::vector<Seen> seen(num_messages);
    std::map<std::pair<int, int>, std::vector<std::int64_t>> sends, receives;
    for (std::size_t rank = 0; rank < programs.size(); ++rank)
        for (const auto& [number, operation] : programs[rank])
            if (const auto* send = std::get_if<Send>(&operation)) {
                const auto& message = send->message;
                auto& sent = seen[index(message.number)].sent;
                ensure(sent < 0 && message.from == static_cast<int>(rank) && message.to != message.from, "a message is sent once, by its sender");
                sent = number;
                sends[{message.from, message.to}].push_back(message.number);
            }
    for (std::size_t rank = 0; rank < programs.size(); ++rank) {
        std::int64_t last = -1;
        SlotCheck slots(plan);
        for (std::size_t place = 0; place < programs[rank].size(); ++place) {
            const auto& [number, operation] = programs[rank][place];
            const auto expect_here = [&, number = number](std::int64_t message) {
                const auto& it = seen[index(message)];
                ensure(it.received >= 0 && it.sent >= 0 && it.sent < number, "what a rank waits for was sent before, and its receive is posted");
            };
            if (const auto* receive = std::get_if<Receive>(&operation)) {
                const auto& message = receive->message;
                auto& it = seen[index(message.number)];
                ensure(it.received < 0 && message.to == static_cast<int>(rank), "a message is received once, where it goes");
                ensure(last < it.sent, "nothing stands before a receive that the play did behind its send");
                it.received = static_cast<std::int64_t>(place);
                receives[{message.from, message.to}].push_back(message.number);
                if (message.cargo == Cargo::state || message.cargo == Cargo::skip) slots.receive(plan, message);
                continue;
            }
            ensure(number > last, "a program's numbers ascend");
            last = number;
            if (const auto* take = std::get_if<Take>(&operation)) {
                expect_here(take->message.number);
                ++seen[index(take->message.number)].taken;
                ensure(take->message.to == static_cast<int>(rank) && take->message.cargo != Cargo::saved, "a message is taken where it goes");
            } else if (const auto* compute = std::get_if<Compute>(&operation)) {
                slots.compute(plan, compute->task);
            } else if (const auto* save = std::get_if<Save>(&operation)) {
                for (const auto message : save->messages) {
                    expect_here(message);
                    ++seen[index(message)].listed;
                }
            }
        }
    }
    ensure(sends == receives, "receives of a pair of ranks stand in the order of their sends");
    for (const auto& it : seen) ensure(it.taken <= 1 && it.listed <= 1 && it.taken + it.listed >= 1, "what travels is used, once");
}

}  // namespace

Haste haste_of(const Message& message) {
    return message.cargo == Cargo::saved ? Haste::background : Haste::foreground;
}

bool for_device(const Message& message) {
    switch (message.cargo) {
        case Cargo::prediction:
        case Cargo::state:
        case Cargo::skip: return true;
        case Cargo::latents: return message.to != writer;
        case Cargo::saved:
        case Cargo::slot: break;
    }
    return false;
}

std::map<std::int64_t, std::int64_t> device_turns(const Program& program) {
    std::map<std::int64_t, std::int64_t> turns;
    for (const auto& operation : program) {
        const auto* receive = std::get_if<Receive>(&operation);
        const auto* send = std::get_if<Send>(&operation);
        if (receive == nullptr && send == nullptr) continue;
        const auto& message = receive != nullptr ? receive->message : send->message;
        if (for_device(message)) turns.emplace(message.number, 0);
    }
    std::int64_t turn = 0;
    for (auto& [number, place] : turns) place = turn++;
    return turns;
}

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

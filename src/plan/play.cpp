#include "plan/play.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"

#include <algorithm>
#include <limits>

namespace weft::plan {

namespace {

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

}  // namespace

Play::Play(const Plan& plan, std::int64_t first_step)
    : plan_{plan},
      first_step_{first_step},
      covering_(index(plan.num_latents)),
      readers_(index(plan.num_latents)),
      link_times_{plan.links},
      players_(index(plan.num_ranks())),
      contributions_left_(index(plan.num_latents)),
      unsaved_left_(index(plan.steps), plan.num_latents),
      complete_{first_step},
      saved_{first_step},
      programs_(index(plan.num_ranks())) {
    for (const auto& route : plan.deal.routes()) {
        RouteState state;
        state.route = &route;
        state.rooms = rooms_of(plan.shape, route);
        for (std::int64_t slot = 0; slot < route.slots; ++slot) state.free.push_back({slot, -1});
        has_legs_ = has_legs_ || route.legs.size() > 1;
        routes_.push_back(std::move(state));
    }
    std::vector<std::int64_t> passes_a_step(routes_.size(), 0);
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
    for (std::size_t i = 0; i < routes_.size(); ++i) {
        const auto& route = *routes_[i].route;
        routes_[i].to_admit = passes_a_step[i] * (plan.steps - first_step);
        // A route of one pass a step: the pass begins anew when its frames have been advanced, and so after it ended.
        routes_[i].needs_words = route.legs.size() > 1 && route.first_rank() != route.last_rank() && passes_a_step[i] > 1;
    }
    ring_ = is_ring(plan, covering_);
}

/// Place of a pass among those of its step: ranks prefer smaller ones. Slices in order, conditional first; in a ring each step begins one slice later, so that
/// its first pass finds both neighbours served.
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
    events_.push({link_times_.send(message.from, message.to, message.bytes, now_), next_event_++, -1, message.number});
    messages_.push_back(std::move(message));
    return messages_.back().number;
}

void Play::take(int rank, const std::set<std::int64_t>& messages) {
    for (const auto number : messages) emit(rank, Take{messages_[index(number)]});
}

/// The latents that a pass reads are where it begins.
void Play::feed(const Pass& pass) {
    routes_[plan_.deal.route_index(pass.slice, pass.branch)].waiting.insert({{pass.step, place(pass)}, pass});
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

bool Play::admit(RouteState& state) {
    if (state.waiting.empty()) return false;
    const auto pass = state.waiting.begin()->second;
    const bool whole = state.route->legs.size() == 1;
    if (pass.step > complete_ + 1 || (!whole && state.free.empty())) return false;
    // With strict order a later pass may not take the slot of an earlier one, for which ranks wait.
    if (plan_.order == Order::strict && state.to_come.begin()->second != pass) return false;
    state.to_come.erase(*state.waiting.begin());
    state.waiting.erase(state.waiting.begin());
    --state.to_admit;
    Flow flow;
    flow.admitted = next_number_;
    flow.missing.assign(state.route->legs.size(), 0);
    flow.to_take.resize(state.route->legs.size());
    if (!whole) {
        flow.slot = state.free.front().slot;
        if (state.free.front().word >= 0) flow.to_take.front().insert(state.free.front().word);
        state.free.pop_front();
        for (const auto& room : state.rooms)
            if (room.from != room.to) ++flow.missing[room.to_leg];
    }
    flows_.emplace(pass, std::move(flow));
    make_ready(pass, 0);
    return true;
}

Play::Leg Play::leg_of(const Pass& pass, std::size_t leg) const {
    const auto number = static_cast<std::int64_t>(leg);
    return {plan_.order == Order::leg ? Key{number, pass.step, place(pass)} : Key{pass.step, place(pass), number}, pass, leg};
}

void Play::make_ready(const Pass& pass, std::size_t leg) {
    players_[index(plan_.deal.route(pass.slice, pass.branch).legs[leg].rank)].ready.insert(leg_of(pass, leg));
}

void Play::announce(std::int64_t step) {
    if (plan_.order != Order::strict || step >= plan_.steps) return;
    for (std::int64_t slice = 0; slice < plan_.num_slices(); ++slice)
        for (const auto branch : plan_.deal.branches()) {
            const Pass pass{step, slice, branch};
            const auto& legs = plan_.deal.route(slice, branch).legs;
            for (std::size_t leg = 0; leg < legs.size(); ++leg) players_[index(legs[leg].rank)].to_come.insert(leg_of(pass, leg));
            routes_[plan_.deal.route_index(slice, branch)].to_come.insert({{step, place(pass)}, pass});
        }
}

bool Play::may_start(int rank) const {
    const auto& player = players_[index(rank)];
    if (player.running.has_value() || player.ready.empty()) return false;
    if (plan_.order != Order::strict) return true;
    const auto& next = *player.ready.begin();
    if (player.to_come.empty() || player.to_come.begin()->key != next.key) return false;
    if (next.pass.step == first_step_ || player.owned == 0) return true;
    const auto advanced = player.advanced.find(next.pass.step - 1);
    return advanced != player.advanced.end() && advanced->second == player.owned;
}

void Play::start(int rank) {
    auto& player = players_[index(rank)];
    const auto leg = *player.ready.begin();
    const auto& pass = leg.pass;
    player.ready.erase(player.ready.begin());
    player.to_come.erase(leg);
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
    send_unsent(rank);
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
    auto& state = routes_[plan_.deal.route_index(pass.slice, pass.branch)];
    const auto& route = *state.route;
    const auto& flow = flows_.at(pass);
    for (std::size_t room = 0; room < state.rooms.size(); ++room) {
        const auto& one = state.rooms[room];
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
        if (!state.needs_words)
            state.free.push_back({flow.slot, -1});
        else if (state.to_admit > static_cast<std::int64_t>(state.free.size()) + state.words) {
            ++state.words;
            send({.cargo = Cargo::slot, .from = rank, .to = route.first_rank(), .pass = pass, .slot = flow.slot, .bytes = 1});
        }
    }
    flows_.erase(pass);
}

void Play::arrive(const Message& message) {
    auto& player = players_[index(message.to)];
    const auto frames = frames_in(message.frames);
    switch (message.cargo) {
        case Cargo::prediction:
            ensure(player.predictions.insert({message.pass, message.number}).second, "a pass gives each owner its prediction once");
            contribute(message.pass, frames);
            break;
        case Cargo::latents:
            for (const auto frame : frames) player.latents[frame] = message.number;
            frames_are_there(message.to, message.pass.step + 1, frames);
            break;
        case Cargo::saved: break;
        case Cargo::state:
        case Cargo::skip: {
            auto& flow = flows_.at(message.pass);
            const auto leg = routes_[plan_.deal.route_index(message.pass.slice, message.pass.branch)].rooms[message.room].to_leg;
            flow.to_take[leg].insert(message.number);
            if (--flow.missing[leg] == 0) make_ready(message.pass, leg);
            break;
        }
        case Cargo::slot: {
            auto& state = routes_[plan_.deal.route_index(message.pass.slice, message.pass.branch)];
            --state.words;
            state.free.push_back({message.slot, message.number});
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
    for (auto& [reader, its_frames] : to_readers) send_frames(Cargo::latents, rank, reader, step, std::move(its_frames));
    auto& unsent = player.unsent[step];
    unsent.insert(unsent.end(), to_writer.begin(), to_writer.end());
    unsent_[step] += static_cast<std::int64_t>(to_writer.size());
    if (rank == writer) emit(rank, Keep{step + 1, ranges_of(frames)});

    unsaved_left_[index(step)] -= static_cast<std::int64_t>(frames.size());
    while (complete_ < plan_.steps && unsaved_left_[index(complete_)] == 0) announce(++complete_ + 1);
    player.advanced[step] += static_cast<std::int64_t>(frames.size());
    for (const auto frame : frames)
        contributions_left_[index(frame)] = static_cast<std::int64_t>(covering_[index(frame)].size() * plan_.deal.branches().size());
    if (!is_last) frames_are_there(rank, step + 1, frames);
}

void Play::send_frames(Cargo cargo, int from, int to, std::int64_t step, std::vector<std::int64_t> frames) {
    auto ranges = ranges_of(std::move(frames));
    const auto bytes = count(ranges) * plan_.frame_elements() * 4;
    const auto number = send({.cargo = cargo, .from = from, .to = to, .pass = {step, 0, Branch::conditional}, .frames = std::move(ranges), .bytes = bytes});
    if (to == writer) gathered_[step].push_back(number);
}

bool Play::send_unsent(int rank) {
    auto& player = players_[index(rank)];
    bool sent = false;
    for (auto& [step, frames] : std::exchange(player.unsent, {})) {
        if (frames.empty()) continue;
        unsent_[step] -= static_cast<std::int64_t>(frames.size());
        send_frames(Cargo::saved, rank, writer, step, std::move(frames));
        sent = true;
    }
    return sent;
}

bool Play::save() {
    if (saved_ >= complete_ || unsent_[saved_] > 0 || players_[writer].running.has_value()) return false;
    auto messages = std::move(gathered_[saved_]);
    gathered_.erase(saved_);
    emit(writer, Save{++saved_, std::move(messages)});
    return true;
}

void Play::settle() {
    for (bool moved = true; moved;) {
        moved = save();
        for (auto& state : routes_)
            while (admit(state)) moved = true;
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
    for (const auto owner : plan_.owner) ++players_[index(owner)].owned;
    announce(first_step_);
    announce(first_step_ + 1);
    if (first_step_ < plan_.steps)
        for (std::int64_t slice = 0; slice < plan_.num_slices(); ++slice)
            for (const auto branch : plan_.deal.branches()) feed({first_step_, slice, branch});
    while (true) {
        settle();
        bool started = false;
        for (int rank = 0; rank < plan_.num_ranks(); ++rank)
            if (may_start(rank)) {
                start(rank);
                started = true;
            }
        if (started) continue;
        if (events_.empty()) {
            bool sent = false;
            for (int rank = 0; rank < plan_.num_ranks(); ++rank) sent = send_unsent(rank) || sent;
            if (sent) continue;
            break;
        }
        now_ = events_.top().time;
        while (!events_.empty() && events_.top().time == now_) {
            const auto event = events_.top();
            events_.pop();
            if (event.rank >= 0)
                finish(event.rank);
            else
                arrive(messages_[index(event.message)]);
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

}  // namespace weft::plan

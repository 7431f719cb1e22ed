#include "base/error.hpp"
#include "plan/plan.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>
#include <optional>
#include <ranges>
#include <set>
#include <tuple>
#include <utility>

// Programs are made by playing the job: passes take their cost, all else takes no time. A rank that is free does what is ready and has the smallest key
// (step, slice, conditional before unconditional), where stepping frames counts behind all passes of its step. What ranks did in the play, in that order,
// are their programs; later they do not look again at what is ready.
//
// Why the programs end, at whatever speeds they really run. Every operation but Receive has a number, its place in the play; a rank's numbers ascend.
//  * Only Take and Save wait, and only for messages whose Send has a smaller number: the play takes what was sent before.
//  * Receive waits for nothing, and neither does Send: the sender keeps the bytes until the receive is posted. Both stand in the same order for a pair and
//    direction of ranks, so a channel without tags that moves one message after the other and none before its receive is posted is enough.
// Suppose that ranks are left and none can go on. Of the operations that stand next, let W have the smallest number. W is a Take or a Save that waits for a
// message m. The Send of m has a smaller number, so it is done, and so are the Sends before it to the same rank, in the same program. Their Receives
// and that of m stand before W in W's own program, so they are posted. Then nothing keeps the channel from moving m: W can go on after all.
// `check` below asserts what this argument uses.

namespace weft::plan {

namespace {

std::size_t index(std::int64_t i) {
    return static_cast<std::size_t>(i);
}

/// An operation with its place in the play.
struct Numbered {
    std::int64_t number = 0;
    Operation operation;
};

struct PassOrder {
    bool operator()(const Pass& a, const Pass& b) const {
        const auto key = [](const Pass& pass) { return std::tuple(pass.step, pass.slice, pass.branch == Branch::conditional ? 0 : 1); };
        return key(a) < key(b);
    }
};

class Play {
  public:
    Play(const Plan& plan, std::int64_t first_step);

    /// Plays to the end; once.
    void run();

    [[nodiscard]] const std::vector<std::vector<Numbered>>& programs() const { return programs_; }
    [[nodiscard]] const std::vector<Message>& messages() const { return messages_; }
    /// Place in a rank's program where its work on `step` begins: what its first pass of this or a later step takes and computes.
    [[nodiscard]] std::size_t begin_of(int rank, std::int64_t step) const { return step_begins_[index(rank)].at(index(step - first_step_)); }

  private:
    /// What a rank is about.
    struct Player {
        std::set<Pass, PassOrder> ready;
        std::optional<Pass> running;
        std::map<std::int64_t, std::vector<std::int64_t>> to_advance;         // step -> frames with all contributions there
        std::map<std::int64_t, std::int64_t> latents;                         // frame -> message not taken yet
        std::map<std::pair<std::int64_t, Branch>, std::int64_t> predictions;  // (slice, branch) -> message not taken yet
    };
    /// What a Save will say.
    struct Gathered {
        std::vector<std::int64_t> own, messages;
    };

    [[nodiscard]] std::vector<Branch> branches() const;
    void emit(int rank, Operation operation);
    std::int64_t send(Message message);
    void take(int rank, const std::set<std::int64_t>& messages);

    void begin_passes(std::int64_t slice, std::int64_t step);
    void start(int rank);
    void finish(int rank);
    [[nodiscard]] bool may_advance(std::int64_t step, int rank) const;
    void advance(std::int64_t step, int rank);
    bool save();
    void settle();

    const Plan& plan_;
    std::int64_t first_step_;
    BranchCost cost_;
    std::vector<std::vector<std::int64_t>> covering_;  // frame -> slices
    std::vector<std::vector<int>> readers_;            // frame -> ranks that run passes over it, ascending

    std::vector<Player> players_;
    std::set<std::pair<std::int64_t, int>> running_;   // (end, rank)
    std::set<std::pair<std::int64_t, int>> advances_;  // (step, owner)
    std::vector<std::int64_t> contributions_left_;     // by frame, for its present step
    std::vector<std::int64_t> frames_left_;            // by slice, until its next step may begin
    std::vector<std::int64_t> unsaved_left_;           // by step: frames not advanced yet
    std::map<std::int64_t, Gathered> gathered_;        // by step
    std::int64_t saved_;                               // steps complete for which the writer has emitted Save

    std::int64_t now_ = 0;
    std::int64_t next_number_ = 0;
    std::vector<std::vector<Numbered>> programs_;
    std::vector<std::vector<std::size_t>> step_begins_;
    std::vector<Message> messages_;
};

Play::Play(const Plan& plan, std::int64_t first_step)
    : plan_{plan},
      first_step_{first_step},
      covering_(index(plan.num_latents)),
      readers_(index(plan.num_latents)),
      players_(index(plan.num_ranks())),
      contributions_left_(index(plan.num_latents)),
      unsaved_left_(index(plan.steps), plan.num_latents),
      saved_{first_step},
      programs_(index(plan.num_ranks())),
      step_begins_(index(plan.num_ranks())) {
    const auto unit = std::gcd(plan.pass_cost[0], plan.pass_cost[1]);
    cost_ = {plan.pass_cost[0] / unit, plan.pass_cost[1] / unit};
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan.slices.size()); ++slice) {
        const auto& frames = plan.slices[index(slice)].frames;
        frames_left_.push_back(static_cast<std::int64_t>(frames.size()));
        for (const auto frame : frames) {
            covering_[index(frame)].push_back(slice);
            for (const auto branch : branches()) {
                ++contributions_left_[index(frame)];
                readers_[index(frame)].push_back(plan.deal.rank(slice, branch));
            }
        }
    }
    for (auto& readers : readers_) {
        std::sort(readers.begin(), readers.end());
        readers.erase(std::unique(readers.begin(), readers.end()), readers.end());
    }
}

std::vector<Branch> Play::branches() const {
    if (plan_.guided) return {Branch::conditional, Branch::unconditional};
    return {Branch::conditional};
}

void Play::emit(int rank, Operation operation) {
    programs_[index(rank)].push_back({next_number_++, std::move(operation)});
}

std::int64_t Play::send(Message message) {
    message.number = static_cast<std::int64_t>(messages_.size());
    emit(message.from, Send{message});
    messages_.push_back(std::move(message));
    return messages_.back().number;
}

void Play::take(int rank, const std::set<std::int64_t>& messages) {
    for (const auto number : messages) emit(rank, Take{messages_[index(number)]});
}

void Play::begin_passes(std::int64_t slice, std::int64_t step) {
    for (const auto branch : branches()) players_[index(plan_.deal.rank(slice, branch))].ready.insert({step, slice, branch});
}

void Play::start(int rank) {
    auto& player = players_[index(rank)];
    const auto pass = *player.ready.begin();
    player.ready.erase(player.ready.begin());
    auto& begins = step_begins_[index(rank)];
    while (first_step_ + static_cast<std::int64_t>(begins.size()) <= pass.step) begins.push_back(programs_[index(rank)].size());

    std::set<std::int64_t> needed;
    for (const auto frame : plan_.slices[index(pass.slice)].frames)
        if (const auto found = player.latents.find(frame); found != player.latents.end()) needed.insert(found->second);
    for (const auto number : needed)
        for (const auto& range : messages_[index(number)].frames)
            player.latents.erase(player.latents.lower_bound(range.begin), player.latents.lower_bound(range.end));
    take(rank, needed);
    emit(rank, Compute{{pass, {0, plan_.num_units}, rank}});
    player.running = pass;
    running_.insert({now_ + cost_[index(static_cast<int>(pass.branch))], rank});
}

void Play::finish(int rank) {
    auto& player = players_[index(rank)];
    const auto pass = *std::exchange(player.running, std::nullopt);
    std::map<int, std::vector<std::int64_t>> elsewhere;  // owner -> frames
    for (const auto frame : plan_.slices[index(pass.slice)].frames) {
        const auto owner = plan_.owner[index(frame)];
        if (owner != rank) elsewhere[owner].push_back(frame);
        if (--contributions_left_[index(frame)] > 0) continue;
        players_[index(owner)].to_advance[pass.step].push_back(frame);
        advances_.insert({pass.step, owner});
    }
    for (auto& [owner, frames] : elsewhere) {
        const auto number = send({0, Cargo::prediction, rank, owner, pass, ranges_of(std::move(frames))});
        const auto is_new = players_[index(owner)].predictions.insert({{pass.slice, pass.branch}, number}).second;
        ensure(is_new, "a pass's prediction is taken before that of its next step is sent");
    }
}

bool Play::may_advance(std::int64_t step, int rank) const {
    const auto& player = players_[index(rank)];
    if (player.running.has_value() || (!player.ready.empty() && player.ready.begin()->step <= step)) return false;
    return rank != writer || saved_ >= step;  // the writer's frames stay as they are until they are saved
}

void Play::advance(std::int64_t step, int rank) {
    auto& player = players_[index(rank)];
    auto frames = std::move(player.to_advance.at(step));
    player.to_advance.erase(step);
    std::sort(frames.begin(), frames.end());

    std::set<std::int64_t> needed;
    for (const auto frame : frames)
        for (const auto slice : covering_[index(frame)])
            for (const auto branch : branches())
                if (const auto found = player.predictions.find({slice, branch}); found != player.predictions.end()) {
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
    for (auto& [reader, its_frames] : to_readers) {
        const auto number = send({0, Cargo::latents, rank, reader, {step, 0, Branch::conditional}, ranges_of(its_frames)});
        for (const auto frame : its_frames) players_[index(reader)].latents[frame] = number;
        if (reader == writer) gathered.messages.push_back(number);
    }
    if (!to_writer.empty()) gathered.messages.push_back(send({0, Cargo::saved, rank, writer, {step, 0, Branch::conditional}, ranges_of(std::move(to_writer))}));

    unsaved_left_[index(step)] -= static_cast<std::int64_t>(frames.size());
    for (const auto frame : frames) {
        if (rank == writer) gathered.own.push_back(frame);
        contributions_left_[index(frame)] = static_cast<std::int64_t>(covering_[index(frame)].size() * branches().size());
        for (const auto slice : covering_[index(frame)]) {
            if (--frames_left_[index(slice)] > 0) continue;
            frames_left_[index(slice)] = static_cast<std::int64_t>(plan_.slices[index(slice)].frames.size());
            if (!is_last) begin_passes(slice, step + 1);
        }
    }
}

bool Play::save() {
    if (saved_ == plan_.steps || unsaved_left_[index(saved_)] > 0 || players_[writer].running.has_value()) return false;
    auto gathered = gathered_.extract(saved_);
    emit(writer, Save{++saved_, ranges_of(std::move(gathered.mapped().own)), std::move(gathered.mapped().messages)});
    return true;
}

void Play::settle() {
    for (bool moved = true; moved;) {
        moved = save();
        for (const auto& [step, rank] : advances_) {
            if (!may_advance(step, rank)) continue;
            advance(step, rank);
            advances_.erase({step, rank});
            moved = true;
            break;
        }
    }
}

void Play::run() {
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan_.slices.size()); ++slice)
        if (first_step_ < plan_.steps) begin_passes(slice, first_step_);
    while (true) {
        settle();
        for (int rank = 0; rank < plan_.num_ranks(); ++rank)
            if (const auto& player = players_[index(rank)]; !player.running.has_value() && !player.ready.empty()) start(rank);
        if (running_.empty()) break;
        now_ = running_.begin()->first;
        while (!running_.empty() && running_.begin()->first == now_) {
            const auto rank = running_.begin()->second;
            running_.erase(running_.begin());
            finish(rank);
        }
    }
    ensure(saved_ == std::max(plan_.steps, first_step_), "the play ends with the last step saved");
}

/// The programs with every receive in its place: where the receiver's work on the step begins in which the message is sent, or earlier, so that receives of a
/// pair stand in the order of their sends.
std::vector<std::vector<Numbered>> with_receives(const Play& play) {
    std::vector<std::map<std::size_t, std::vector<std::int64_t>>> receives(play.programs().size());  // rank -> place -> messages
    std::map<std::pair<int, int>, std::size_t> first_of_later;
    const auto& messages = play.messages();
    for (const auto& message : std::views::reverse(messages)) {
        auto& place = first_of_later.try_emplace({message.from, message.to}, std::numeric_limits<std::size_t>::max()).first->second;
        place = std::min(place, play.begin_of(message.to, message.pass.step));
        receives[index(message.to)][place].push_back(message.number);
    }
    std::vector<std::vector<Numbered>> programs(play.programs().size());
    for (std::size_t rank = 0; rank < programs.size(); ++rank) {
        const auto& played = play.programs()[rank];
        for (std::size_t place = 0; place < played.size(); ++place) {
            if (const auto found = receives[rank].find(place); found != receives[rank].end())
                for (const auto number : std::views::reverse(found->second)) programs[rank].push_back({-1, Receive{messages[index(number)]}});
            programs[rank].push_back(played[place]);
        }
    }
    return programs;
}

/// What the argument above and the interpreter rely on.
void check(const std::vector<std::vector<Numbered>>& programs, std::size_t num_messages) {
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
        for (std::size_t place = 0; place < programs[rank].size(); ++place) {
            const auto& [number, operation] = programs[rank][place];
            const auto expect_here = [&, number = number](std::int64_t message) {
                const auto& it = seen[index(message)];
                ensure(it.received >= 0 && it.sent >= 0 && it.sent < number, "what a rank waits for was sent before, and its receive is posted");
            };
            if (const auto* receive = std::get_if<Receive>(&operation)) {
                const auto& message = receive->message;
                auto& received = seen[index(message.number)].received;
                ensure(received < 0 && message.to == static_cast<int>(rank), "a message is received once, where it goes");
                received = static_cast<std::int64_t>(place);
                receives[{message.from, message.to}].push_back(message.number);
                continue;
            }
            ensure(number > last, "a program's numbers ascend");
            last = number;
            if (const auto* take = std::get_if<Take>(&operation)) {
                expect_here(take->message.number);
                ++seen[index(take->message.number)].taken;
                ensure(take->message.to == static_cast<int>(rank) && take->message.cargo != Cargo::saved, "a message is taken where it goes");
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

std::vector<Program> compile(const Plan& plan, std::int64_t first_step) {
    ensure(first_step >= 0 && first_step <= plan.steps, "a job begins at one of its steps");
    Play play(plan, first_step);
    play.run();
    const auto numbered = with_receives(play);
    check(numbered, play.messages().size());
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

#include "plan/simulate.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"

#include <algorithm>
#include <queue>
#include <unordered_map>
#include <variant>

namespace weft::plan {

namespace {

using Time = std::int64_t;  // nanoseconds

double seconds_of(Time time) {
    return static_cast<double>(time) * 1e-9;
}

class Simulation {
  public:
    Simulation(const Plan& plan, const std::vector<Program>& programs, std::int64_t first_step)
        : plan_{plan}, programs_{programs}, first_step_{first_step}, link_times_{plan.links}, ranks_(programs.size()) {}

    [[nodiscard]] Prediction run() {
        for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
            ranks_[rank].computes_left =
                std::ranges::count_if(programs_[rank], [](const auto& operation) { return std::holds_alternative<Compute>(operation); });
            events_.push({0, next_event_++, static_cast<int>(rank), -1});
        }
        while (!events_.empty()) {
            const auto event = events_.top();
            events_.pop();
            now_ = event.time;
            end_ = std::max(end_, now_);
            if (event.message >= 0) arrive(event.message);
            if (event.rank >= 0) go_on(event.rank);
        }
        Prediction prediction{.seconds = seconds_of(end_), .ranks = {}, .steps_s = {}};
        for (std::size_t r = 0; r < ranks_.size(); ++r) {
            auto& rank = ranks_[r];
            ensure(rank.next == programs_[r].size(), "every simulated rank ends");
            rank.times.idle_s[static_cast<std::size_t>(Idle::ends)] += seconds_of(end_ - rank.last);
            prediction.ranks.push_back(rank.times);
        }
        for (const auto time : steps_) prediction.steps_s.push_back(seconds_of(time));
        return prediction;
    }

  private:
    struct Rank {
        std::size_t next = 0;
        bool has_computed = false;
        std::ptrdiff_t computes_left = 0;
        Time waits_since = -1;
        std::int64_t waits_for = -1;  // message
        Time last = 0;                // end of its last operation
        RankTimes times;
    };
    struct Transfer {
        bool sent = false, posted = false, arrived = false;
        Time begin = 0;  // both ends are there
        Message message;
    };
    struct Event {
        Time time;
        std::int64_t order;
        int rank;
        std::int64_t message;
        bool operator<(const Event& other) const { return std::pair(time, order) > std::pair(other.time, other.order); }
    };

    void match(Transfer& transfer) {
        if (!transfer.sent || !transfer.posted) return;
        transfer.begin = now_;
        const auto& message = transfer.message;
        events_.push({link_times_.send(message.from, message.to, message.bytes, now_), next_event_++, -1, message.number});
    }

    void arrive(std::int64_t number) {
        auto& transfer = transfers_.at(number);
        transfer.arrived = true;
        if (ranks_[index(transfer.message.to)].waits_for == number) go_on(transfer.message.to);
    }

    /// True when the rank may go on with its next operation now.
    bool execute(Rank&, const Receive& o) {
        auto& transfer = transfers_[o.message.number];
        transfer.posted = true;
        transfer.message = o.message;
        match(transfer);
        return true;
    }
    bool execute(Rank&, const Send& o) {
        auto& transfer = transfers_[o.message.number];
        transfer.sent = true;
        transfer.message = o.message;
        match(transfer);
        return true;
    }
    bool execute(Rank& rank, const Take& o) {
        const auto& transfer = transfers_.at(o.message.number);
        if (!transfer.arrived) {
            if (rank.waits_since < 0) rank.waits_since = now_;
            rank.waits_for = o.message.number;
            return false;
        }
        if (rank.waits_since >= 0) {
            const auto in_transfer = std::min(now_ - rank.waits_since, now_ - transfer.begin);
            const auto idle = [&](Idle why) -> double& {
                return rank.times.idle_s[static_cast<std::size_t>(rank.computes_left > 0 && rank.has_computed ? why : Idle::ends)];
            };
            idle(Idle::transfer) += seconds_of(in_transfer);
            idle(idle_of(o.message.cargo)) += seconds_of(now_ - rank.waits_since - in_transfer);
            rank.waits_since = rank.waits_for = -1;
        }
        return true;
    }
    bool execute(Rank&, const Compute&) { return true; }
    bool execute(Rank&, const Advance& o) {
        if (steps_.size() <= index(o.step - first_step_)) steps_.resize(index(o.step - first_step_) + 1, 0);
        steps_[index(o.step - first_step_)] = std::max(steps_[index(o.step - first_step_)], now_);
        return true;
    }
    bool execute(Rank&, const Keep&) { return true; }
    bool execute(Rank&, const Save&) { return true; }

    void go_on(int r) {
        auto& rank = ranks_[index(r)];
        const auto& program = programs_[index(r)];
        while (rank.next < program.size()) {
            const auto& operation = program[rank.next];
            if (!std::visit([&](const auto& o) { return execute(rank, o); }, operation)) return;
            ++rank.next;
            rank.last = now_;
            if (const auto* compute = std::get_if<Compute>(&operation)) {
                const auto& task = compute->task;
                const auto cost = plan_.shape.cost(task.pieces)[static_cast<std::size_t>(task.pass.branch)];
                rank.times.busy_s += seconds_of(cost);
                rank.has_computed = true;
                --rank.computes_left;
                rank.last = now_ + cost;
                events_.push({now_ + cost, next_event_++, r, -1});
                return;
            }
        }
    }

    const Plan& plan_;
    const std::vector<Program>& programs_;
    std::int64_t first_step_;
    LinkTimes link_times_;
    std::vector<Rank> ranks_;
    std::unordered_map<std::int64_t, Transfer> transfers_;
    std::priority_queue<Event> events_;
    std::int64_t next_event_ = 0;
    std::vector<Time> steps_;
    Time now_ = 0;
    Time end_ = 0;
};

}  // namespace

std::string_view name_of(Idle idle) {
    static constexpr std::array<std::string_view, num_idle> names{"waiting for other passes", "waiting for earlier legs", "transfers", "fill and drain"};
    return names.at(static_cast<std::size_t>(idle));
}

Idle idle_of(Cargo cargo) {
    return cargo == Cargo::state || cargo == Cargo::skip || cargo == Cargo::slot ? Idle::legs : Idle::others;
}

double Prediction::idle_share() const {
    double busy = 0;
    for (const auto& rank : ranks) busy += rank.busy_s;
    return seconds > 0 ? 1.0 - busy / (seconds * static_cast<double>(ranks.size())) : 0;
}

double Prediction::idle_share(Idle idle) const {
    double sum = 0;
    for (const auto& rank : ranks) sum += rank.idle_s[static_cast<std::size_t>(idle)];
    return seconds > 0 ? sum / (seconds * static_cast<double>(ranks.size())) : 0;
}

Prediction simulate(const Plan& plan, const std::vector<Program>& programs, std::int64_t first_step) {
    return Simulation(plan, programs, first_step).run();
}

double estimated_seconds(const Plan& plan, std::int64_t steps) {
    const auto played = [&plan](std::int64_t some) {
        auto few = plan;
        few.steps = std::min(plan.steps, some);
        return simulate(few, compile(few, 0), 0).seconds;
    };
    if (plan.steps <= 2 * steps) return played(plan.steps);
    const auto short_s = played(steps), long_s = played(2 * steps);
    return std::max(bound_seconds(plan), long_s + static_cast<double>(plan.steps - 2 * steps) * (long_s - short_s) / static_cast<double>(steps));
}

double bound_seconds(const Plan& plan) {
    const auto loads = plan.deal.loads(plan.shape);
    return seconds_of(*std::max_element(loads.begin(), loads.end())) * static_cast<double>(plan.steps);
}

}  // namespace weft::plan

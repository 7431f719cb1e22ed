#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/play.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <variant>

namespace weft::plan {

namespace {

/// That slots are room enough: what is received into one, or stays in it, meets nothing that is still to be used.
class SlotCheck {
  public:
    explicit SlotCheck(const Plan& plan) {
        for (const auto& route : plan.deal.routes()) rooms_.push_back(rooms_of(plan.shape, route));
    }

    void receive(const Plan& plan, const Message& message) {
        const auto route = plan.deal.route_index(message.pass.slice, message.pass.branch);
        fill({route, message.room, message.slot});
        const auto& room = rooms_[route][message.room];
        const bool as_said = room.from != room.to && (message.cargo == Cargo::state) == (room.content == Room::Content::state);
        ensure(as_said && room.bytes == message.bytes, "a message fits its room");
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

}  // namespace

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
        std::array<std::int64_t, 2> newest_send{-1, -1};  // of what the last Save but one names, and of the last
        SlotCheck slots(plan);
        for (std::size_t place = 0; place < programs[rank].size(); ++place) {
            const auto& [number, operation] = programs[rank][place];
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
            ensure(number > last || (number < 0 && std::holds_alternative<Save>(operation)), "a program's numbers ascend");
            last = std::max(last, number);
            if (const auto* save = std::get_if<Save>(&operation)) {
                ensure(newest_send[0] < last, "what a Save waits for, the step two before, was sent before");
                newest_send = {newest_send[1], -1};
                for (const auto message : save->messages) {
                    auto& it = seen[index(message)];
                    ensure(it.received >= 0, "what a Save names will come: its receive is posted");
                    newest_send[1] = std::max(newest_send[1], it.sent);
                    ++it.listed;
                }
            } else if (const auto* take = std::get_if<Take>(&operation)) {
                auto& it = seen[index(take->message.number)];
                ensure(it.received >= 0 && it.sent >= 0 && it.sent < number, "what a rank waits for was sent before, and its receive is posted");
                ++it.taken;
                ensure(take->message.to == static_cast<int>(rank) && take->message.cargo != Cargo::saved, "a message is taken where it goes");
            } else if (const auto* compute = std::get_if<Compute>(&operation)) {
                slots.compute(plan, compute->task);
            }
        }
    }
    ensure(sends == receives, "receives of a pair of ranks stand in the order of their sends");
    for (const auto& it : seen) ensure(it.taken <= 1 && it.listed <= 1 && it.taken + it.listed >= 1, "what travels is used, once");
}

}  // namespace weft::plan

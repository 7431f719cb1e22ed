#include "pipeline/trace.hpp"

#include "base/error.hpp"
#include "base/stopwatch.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <sstream>
#include <variant>

namespace weft::pipeline {

double Trace::now() {
    return steady_seconds();
}

void Trace::begin(comm::Transport& transport) {
    transport.barrier();
    begin_s_ = now();
}

std::string_view name_of(Trace::Kind kind) {
    static constexpr std::array<std::string_view, 8> names{"task", "unit", "advance", "wait", "send", "receive", "fetch", "stall"};
    return names.at(static_cast<std::size_t>(kind));
}

std::vector<std::vector<LogicalTime>> logical_times(const std::vector<plan::Program>& programs) {
    std::vector<std::vector<LogicalTime>> times(programs.size());
    std::vector<std::int64_t> clock(programs.size(), 0);
    std::map<std::int64_t, std::int64_t> sent;  // message -> clock of its Send
    for (bool moved = true; moved;) {
        moved = false;
        for (std::size_t rank = 0; rank < programs.size(); ++rank)
            for (; times[rank].size() < programs[rank].size(); moved = true) {
                const auto& operation = programs[rank][times[rank].size()];
                LogicalTime time{.begin = ++clock[rank], .end = 0};
                if (const auto* take = std::get_if<plan::Take>(&operation)) {
                    const auto found = sent.find(take->message.number);
                    if (found == sent.end()) {
                        --clock[rank];
                        break;
                    }
                    clock[rank] = std::max(clock[rank], found->second + 1);
                }
                if (std::holds_alternative<plan::Compute>(operation)) ++clock[rank];
                time.end = clock[rank];
                if (const auto* send = std::get_if<plan::Send>(&operation)) sent[send->message.number] = clock[rank];
                times[rank].push_back(time);
            }
    }
    for (std::size_t rank = 0; rank < programs.size(); ++rank) ensure(times[rank].size() == programs[rank].size(), "programs end");
    return times;
}

namespace {

std::string to_line(const std::vector<Trace::Entry>& entries) {
    std::ostringstream line;
    line.precision(9);
    for (const auto& entry : entries)
        line << static_cast<int>(entry.kind) << " " << entry.operation << " " << entry.item << " " << std::fixed << entry.begin_s << " " << entry.end_s << " ";
    return std::move(line).str();
}

/// What an entry was about.
class Teller {
  public:
    Teller(const plan::Plan& plan, Events& events) : plan_{plan}, events_{events} {}

    void emit(std::int64_t rank, const Trace::Entry& entry, const plan::Operation& operation, const LogicalTime& time) const {
        std::vector<Events::Field> fields{{"rank", rank},
                                          {"kind", std::string(name_of(entry.kind))},
                                          {"begin", entry.begin_s},
                                          {"end", entry.end_s},
                                          {"operation", entry.operation},
                                          {"clock_begin", time.begin},
                                          {"clock_end", time.end}};
        std::optional<plan::Pass> pass;
        if (const auto* compute = std::get_if<plan::Compute>(&operation)) {
            const auto& task = compute->task;
            pass = task.pass;
            fields.insert(fields.end(), {{"first_piece", task.pieces.begin}, {"last_piece", task.pieces.end - 1}, {"slot", task.slot}});
            if (entry.kind == Trace::Kind::unit) {
                const auto& piece = plan_.shape.pieces.at(static_cast<std::size_t>(entry.item));
                fields.insert(fields.end(), {{"piece", entry.item}, {"unit", plan_.shape.units.at(static_cast<std::size_t>(piece.unit)).name}});
            }
            if (entry.kind == Trace::Kind::fetch || entry.kind == Trace::Kind::stall)
                fields.insert(fields.end(), {{"unit", plan_.shape.units.at(static_cast<std::size_t>(entry.item)).name}});
        } else if (const auto* advance = std::get_if<plan::Advance>(&operation)) {
            fields.insert(fields.end(), {{"step", advance->step}, {"frames", plan::count(advance->frames)}});
        } else if (const auto* message = plan::message_of(operation)) {
            fields.insert(fields.end(), {{"message", message->number},
                                         {"cargo", std::string(plan::name_of(message->cargo))},
                                         {"from", std::int64_t{message->from}},
                                         {"to", std::int64_t{message->to}},
                                         {"bytes", message->bytes}});
            pass = message->pass;
        }
        if (pass)
            fields.insert(fields.end(), {{"step", pass->step}, {"slice", pass->slice}, {"branch", std::int64_t{pass->branch == plan::Branch::conditional}}});
        events_.emit("trace", fields);
    }

  private:
    const plan::Plan& plan_;
    Events& events_;
};

}  // namespace

std::vector<std::vector<Trace::Entry>> gather_traces(const Trace& mine, comm::Transport& transport) {
    std::vector<std::vector<Trace::Entry>> traces;
    for (const auto& line : transport.gather(to_line(mine.entries()))) {
        std::istringstream words(line);
        auto& entries = traces.emplace_back();
        Trace::Entry entry;
        for (int kind = 0; words >> kind >> entry.operation >> entry.item >> entry.begin_s >> entry.end_s;) {
            entry.kind = static_cast<Trace::Kind>(kind);
            entries.push_back(entry);
        }
    }
    return traces;
}

void emit_traces(const std::vector<std::vector<Trace::Entry>>& traces, const plan::Plan& plan, const std::vector<plan::Program>& programs, Events& events) {
    if (traces.empty()) return;
    const auto times = logical_times(programs);
    const Teller teller(plan, events);
    for (std::size_t rank = 0; rank < traces.size(); ++rank)
        for (const auto& entry : traces[rank]) {
            const auto place = static_cast<std::size_t>(entry.operation);
            teller.emit(static_cast<std::int64_t>(rank), entry, programs.at(rank).at(place), times.at(rank).at(place));
        }
}

}  // namespace weft::pipeline

#include "app/trace_table.hpp"

#include "base/text.hpp"
#include "pipeline/rank_times.hpp"

#include <algorithm>
#include <iomanip>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>

namespace weft::app {

using Kind = pipeline::Trace::Kind;

namespace {

/// Message -> when its sender had it ready, on the sender's clock; the ranks' clocks begin together, at a barrier.
std::unordered_map<std::int64_t, double> sends_by_message(const RecordedTrace& trace) {
    std::unordered_map<std::int64_t, double> ready;
    for (std::size_t rank = 0; rank < trace.ranks.size(); ++rank)
        for (const auto* const line : trace.of(rank, Kind::send)) ready[line->message] = line->begin_s;
    return ready;
}

std::string plural(std::int64_t count, const char* one, const char* many) {
    return cat(count, " ", count == 1 ? one : many);
}

std::string percent(double part, double whole) {
    return fixed(whole > 0 ? 100 * part / whole : 0, 1);
}

/// "the hidden state of step 2, slice 1, conditional, from rank 1"
std::string awaited(const TraceLine& wait) {
    const auto what = [&]() -> std::string {
        switch (wait.cargo) {
            case plan::Cargo::prediction: return cat("the prediction of ", describe(wait.pass));
            case plan::Cargo::latents: return cat("latents of step ", wait.pass.step + 1);
            case plan::Cargo::saved: return cat("latents of step ", wait.pass.step + 1, " for the run file");
            case plan::Cargo::state: return cat("the hidden state of ", describe(wait.pass));
            case plan::Cargo::skip: return cat("a skip of ", describe(wait.pass));
            case plan::Cargo::slot: return cat("the end of ", describe(wait.pass));
        }
        return "?";
    };
    return cat(what(), ", from rank ", wait.from);
}

std::string row(const std::string& name, const RankFigures& figures, double seconds) {
    std::ostringstream out;
    out << std::left << std::setw(6) << name << std::right << std::setw(10) << fixed(figures.times.busy_s, 3) << std::setw(9)
        << percent(figures.times.busy_s, seconds);
    for (const auto idle_s : figures.times.idle_s) out << std::setw(10) << percent(idle_s, seconds);
    out << std::setw(8) << percent(figures.rest_s, seconds);
    if (figures.longest_wait != nullptr) out << "  " << fixed(figures.longest_wait_s, 3) << " s for " << awaited(*figures.longest_wait);
    out << "\n";
    return std::move(out).str();
}

std::string ranks_text(const Figures& figures) {
    std::string text = "                        idle %, waiting for\nrank      busy s   busy %    passes      legs transfers      ends  rest %  longest wait\n";
    RankFigures all;
    for (std::size_t rank = 0; rank < figures.ranks.size(); ++rank) {
        const auto& one = figures.ranks[rank];
        text += row(cat(rank), one, figures.seconds);
        all.times.busy_s += one.times.busy_s;
        all.rest_s += one.rest_s;
        for (std::size_t idle = 0; idle < plan::num_idle; ++idle) all.times.idle_s[idle] += one.times.idle_s[idle];
    }
    if (figures.ranks.size() > 1) text += row("all", all, figures.seconds * static_cast<double>(figures.ranks.size()));
    return text;
}

std::string links_text(const RecordedTrace& trace, const Window& window) {
    struct Link {
        std::int64_t bytes = 0;
        std::int64_t messages = 0;
    };
    std::map<std::pair<int, int>, Link> links;
    std::map<plan::Cargo, std::int64_t> by_cargo;
    for (std::size_t rank = 0; rank < trace.ranks.size(); ++rank)
        for (const auto* const line : trace.of(rank, Kind::send)) {
            if (line->end_s < window.begin_s || line->end_s > window.end_s) continue;
            auto& link = links[{line->from, line->to}];
            link.bytes += line->bytes;
            ++link.messages;
            by_cargo[line->cargo] += line->bytes;
        }
    if (links.empty()) return "links     nothing travelled\n";
    std::vector<std::string> cargoes;
    for (const auto& [cargo, bytes] : by_cargo) cargoes.push_back(cat(name_of(cargo), " ", human_bytes(bytes)));
    std::string text = cat("links     ", links.size(), " carried ", join(cargoes), "\n");
    std::map<int, std::vector<std::string>> sends;
    for (const auto& [ends, link] : links)
        sends[ends.first].push_back(cat("to ", ends.second, " ", human_bytes(link.bytes), " in ", plural(link.messages, "message", "messages")));
    for (const auto& [rank, items] : sends) {
        auto label = cat("rank ", rank);
        label.resize(std::max<std::size_t>(10, label.size() + 1), ' ');
        text += cat(label, "sends ", join(items), "\n");
    }
    return text;
}

/// Weights that were streamed: how much of it went on behind computing.
std::string weights_text(const RecordedTrace& trace, const Window& window) {
    std::string text;
    for (std::size_t rank = 0; rank < trace.ranks.size(); ++rank) {
        double fetched_s = 0, stalled_s = 0;
        std::int64_t fetches = 0;
        for (const auto& line : trace.ranks[rank]) {
            const auto part_s = window.part_of(line.begin_s, line.end_s);
            if (line.kind == Kind::stall) stalled_s += part_s;
            if (line.kind != Kind::fetch || !window.shows(line)) continue;
            fetched_s += part_s;
            ++fetches;
        }
        if (fetches == 0) continue;
        text += cat("weights   rank ", rank, ": ", plural(fetches, "unit", "units"), " fetched in ", human_seconds(fetched_s), ", ",
                    percent(std::max(0.0, fetched_s - stalled_s), fetched_s), " % of it behind computing; passes waited ", human_seconds(stalled_s), "\n");
    }
    return text;
}

}  // namespace

double Figures::efficiency() const {
    double busy = 0;
    for (const auto& rank : ranks) busy += rank.times.busy_s;
    return seconds > 0 ? busy / (seconds * static_cast<double>(ranks.size())) : 0;
}

Figures measure(const RecordedTrace& trace, const Window& window) {
    const auto sends = sends_by_message(trace);
    Figures figures{.ranks = {}, .seconds = window.end_s - window.begin_s};
    for (const auto& lines : trace.ranks) {
        RankFigures rank;
        std::vector<pipeline::Stretch> stretches;
        for (const auto& line : lines) {
            const bool waits = line.kind == Kind::wait;
            stretches.push_back({line.kind, line.begin_s, line.end_s, line.cargo, waits ? sends.at(line.message) : 0});
            const auto part_s = window.part_of(line.begin_s, line.end_s);
            if (!waits || part_s <= rank.longest_wait_s) continue;
            rank.longest_wait_s = part_s;
            rank.longest_wait = &line;
        }
        rank.times = pipeline::rank_times(stretches, window.begin_s, window.end_s, trace.seconds);
        double known = rank.times.busy_s;
        for (const auto idle_s : rank.times.idle_s) known += idle_s;
        rank.rest_s = std::max(0.0, figures.seconds - known);
        figures.ranks.push_back(rank);
    }
    return figures;
}

Overlap overlap_of(const RecordedTrace& trace) {
    struct Extent {
        std::int64_t begin = std::numeric_limits<std::int64_t>::max();
        std::int64_t end = 0;
    };
    std::map<std::int64_t, Extent> steps;
    for (std::size_t rank = 0; rank < trace.ranks.size(); ++rank)
        for (const auto* const task : trace.of(rank, Kind::task)) {
            auto& extent = steps[task->pass.step];
            extent.begin = std::min(extent.begin, task->clock.begin);
            extent.end = std::max(extent.end, task->clock.end);
        }
    Overlap overlap;
    for (const auto& [step, extent] : steps) {
        const auto next = steps.find(step + 1);
        if (next == steps.end()) continue;
        ++overlap.steps;
        if (next->second.begin < extent.end) ++overlap.overlapping;
    }
    return overlap;
}

std::string headline(const RecordedTrace& trace, const Window& window) {
    std::set<plan::Pass> passes;
    std::int64_t legs = 0;
    for (std::size_t rank = 0; rank < trace.ranks.size(); ++rank)
        for (const auto* const task : trace.of(rank, Kind::task)) {
            if (!window.shows(*task)) continue;
            passes.insert(task->pass);
            ++legs;
        }
    auto text = plural(std::ssize(trace.ranks), "rank", "ranks");
    if (!passes.empty()) {
        const auto first = passes.begin()->step + 1;
        const auto last = passes.rbegin()->step + 1;
        text += first == last ? cat(", step ", first) : cat(", steps ", first, " to ", last);
    }
    text += cat(", ", plural(std::ssize(passes), "pass", "passes"), legs > std::ssize(passes) ? cat(" in ", legs, " legs") : "");
    const auto whole = window.begin_s <= 0 && window.end_s >= trace.seconds;
    text += whole ? cat(", ", human_seconds(trace.seconds)) : cat(", from ", fixed(window.begin_s, 3), " to ", fixed(window.end_s, 3), " s");
    return cat(text, ", efficiency ", fixed(100 * measure(trace, window).efficiency(), 1), " %");
}

std::string as_table(const RecordedTrace& trace, const Window& window) {
    auto text = cat("trace     ", trace.source, "\ndenoise   ", headline(trace, window),
                    trace.load_bound > 0 ? cat(" (load bound ", fixed(100 * trace.load_bound, 1), " %)") : "", "\n");
    if (const auto overlap = overlap_of(trace); overlap.steps > 0)
        text += cat("overlap   in ", overlap.overlapping, " of the ", overlap.steps,
                    " before the last step, a pass of the next begins before the last pass ends, by the logical clock\n");
    return cat(text, "\n", ranks_text(measure(trace, window)), "\n", links_text(trace, window), weights_text(trace, window));
}

}  // namespace weft::app

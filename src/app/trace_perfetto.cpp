#include "app/trace_perfetto.hpp"

#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <vector>

namespace weft::app {

using Kind = pipeline::Trace::Kind;
using Json = nlohmann::ordered_json;

namespace {

enum Track : int { tasks = 1, units = 2, waits = 3, weights = 4, sends = 1000, receives = 2000 };

/// Bars of one track may not overlap but by nesting, so that transfers which go on together get a track each.
class Lanes {
  public:
    std::size_t place(double begin_s, double end_s) {
        const auto free = std::ranges::find_if(ends_s_, [&](double end) { return end <= begin_s; });
        const auto lane = static_cast<std::size_t>(free - ends_s_.begin());
        if (free == ends_s_.end()) ends_s_.push_back(0);
        ends_s_[lane] = end_s;
        return lane;
    }
    [[nodiscard]] std::size_t size() const { return ends_s_.size(); }

  private:
    std::vector<double> ends_s_;
};

double microseconds(double seconds) {
    return std::round(seconds * 1e9) / 1e3;
}

std::string short_name(const plan::Pass& pass) {
    return cat("step ", pass.step + 1, " slice ", pass.slice + 1, pass.branch == plan::Branch::conditional ? " cond" : " uncond");
}

class Writer {
  public:
    Writer(const RecordedTrace& trace, const Window& window) : trace_{trace}, window_{window} {}

    [[nodiscard]] std::string text() {
        note_messages();
        for (std::size_t rank = 0; rank < trace_.ranks.size(); ++rank) write_rank(static_cast<int>(rank));
        return text_ + "\n]}\n";
    }

  private:
    struct Ends {
        const TraceLine* send = nullptr;
        const TraceLine* receive = nullptr;
    };

    void note_messages() {
        for (std::size_t rank = 0; rank < trace_.ranks.size(); ++rank) {
            for (const auto* const line : trace_.of(rank, Kind::send)) messages_[line->message].send = line;
            for (const auto* const line : trace_.of(rank, Kind::receive)) messages_[line->message].receive = line;
        }
    }

    /// Receives are posted long before: their bars begin when both ends are there.
    [[nodiscard]] double begin_of(const TraceLine& line) const {
        if (line.kind != Kind::receive) return line.begin_s;
        return std::clamp(messages_.at(line.message).send->begin_s, line.begin_s, line.end_s);
    }

    [[nodiscard]] bool shows(const TraceLine& line) const { return line.end_s >= window_.begin_s && begin_of(line) < window_.end_s; }

    [[nodiscard]] bool draws_arrow(const TraceLine& line) const {
        if (line.kind != Kind::send && line.kind != Kind::receive) return false;
        const auto& ends = messages_.at(line.message);
        return ends.receive != nullptr && shows(*ends.send) && shows(*ends.receive);
    }

    void write_rank(int rank) {
        const auto index = static_cast<std::size_t>(rank);
        const auto host = index < trace_.hosts.size() ? trace_.hosts[index] : "";
        write(
            {{"name", "process_name"}, {"ph", "M"}, {"pid", rank}, {"args", {{"name", host.empty() ? cat("rank ", rank) : cat("rank ", rank, " on ", host)}}}});
        write({{"name", "process_sort_index"}, {"ph", "M"}, {"pid", rank}, {"args", {{"sort_index", rank}}}});
        Lanes out;
        Lanes in;
        bool fetches = false;
        std::vector<const TraceLine*> lines;
        for (const auto& line : trace_.ranks[index])
            if (shows(line)) lines.push_back(&line);
        std::ranges::stable_sort(lines, {}, [this](const auto* line) { return begin_of(*line); });
        for (const auto* const line : lines) {
            switch (line->kind) {
                case Kind::task:
                case Kind::advance: write_bar(rank, tasks, *line); break;
                case Kind::unit: write_bar(rank, units, *line); break;
                case Kind::stall:
                case Kind::wait: write_bar(rank, waits, *line); break;
                case Kind::fetch:
                    write_bar(rank, weights, *line);
                    fetches = true;
                    break;
                case Kind::send: write_bar(rank, sends + static_cast<int>(out.place(line->begin_s, line->end_s)), *line); break;
                case Kind::receive: write_bar(rank, receives + static_cast<int>(in.place(begin_of(*line), line->end_s)), *line); break;
            }
        }
        name_track(rank, tasks, "tasks");
        name_track(rank, units, "units");
        name_track(rank, waits, "waits");
        if (fetches) name_track(rank, weights, "weights");
        for (std::size_t lane = 0; lane < out.size(); ++lane) name_track(rank, sends + static_cast<int>(lane), "sends");
        for (std::size_t lane = 0; lane < in.size(); ++lane) name_track(rank, receives + static_cast<int>(lane), "receives");
    }

    void name_track(int rank, int track, const char* name) {
        write({{"name", "thread_name"}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"name", name}}}});
        write({{"name", "thread_sort_index"}, {"ph", "M"}, {"pid", rank}, {"tid", track}, {"args", {{"sort_index", track}}}});
    }

    void write_bar(int rank, int track, const TraceLine& line) {
        const auto begin_us = microseconds(begin_of(line));
        write({{"name", name_of(line)},
               {"cat", pipeline::name_of(line.kind)},
               {"ph", "X"},
               {"pid", rank},
               {"tid", track},
               {"ts", begin_us},
               {"dur", microseconds(line.end_s) - begin_us},
               {"args", arguments_of(line)}});
        if (!draws_arrow(line)) return;
        Json arrow{{"name", "message"}, {"cat", "message"}, {"ph", "s"}, {"id", line.message}, {"pid", rank}, {"tid", track}, {"ts", begin_us}};
        if (line.kind == Kind::receive) arrow.update({{"ph", "f"}, {"bp", "e"}});
        write(arrow);
    }

    static std::string name_of(const TraceLine& line) {
        switch (line.kind) {
            case Kind::task: return short_name(line.pass);
            case Kind::unit: return line.unit;
            case Kind::fetch: return cat("weights of ", line.unit);
            case Kind::stall: return cat("for weights of ", line.unit);
            case Kind::advance: return cat("advance ", line.frames, line.frames == 1 ? " frame" : " frames", ", step ", line.pass.step + 1);
            case Kind::wait:
            case Kind::send:
            case Kind::receive: break;
        }
        const bool whole_step = line.cargo == plan::Cargo::latents || line.cargo == plan::Cargo::saved;
        return cat(plan::name_of(line.cargo), " ", whole_step ? cat("step ", line.pass.step + 1) : short_name(line.pass));
    }

    static Json arguments_of(const TraceLine& line) {
        Json arguments{{"clock", cat(line.clock.begin, " to ", line.clock.end)}};
        if (line.kind == Kind::task) arguments.update({{"pieces", cat(line.pieces.begin, " to ", line.pieces.end - 1)}, {"slot", line.slot}});
        if (line.kind == Kind::unit) arguments.update({{"piece", line.piece}, {"pass", short_name(line.pass)}});
        if (line.message >= 0) arguments.update({{"message", line.message}, {"from", line.from}, {"to", line.to}, {"bytes", line.bytes}});
        if (line.kind == Kind::receive) arguments["posted_s"] = line.begin_s;
        return arguments;
    }

    void write(const Json& json) {
        text_ += text_.empty() ? "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n" : ",\n";
        text_ += json.dump(-1, ' ', false, Json::error_handler_t::replace);
    }

    const RecordedTrace& trace_;
    const Window& window_;
    std::unordered_map<std::int64_t, Ends> messages_;
    std::string text_;
};

}  // namespace

std::string as_perfetto(const RecordedTrace& trace, const Window& window) {
    return Writer(trace, window).text();
}

}  // namespace weft::app

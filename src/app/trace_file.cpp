#include "app/trace_file.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>
#include <unordered_set>

namespace weft::app {

using Kind = pipeline::Trace::Kind;
using Json = nlohmann::json;

namespace {

constexpr std::array cargoes{plan::Cargo::prediction, plan::Cargo::latents, plan::Cargo::saved, plan::Cargo::state, plan::Cargo::skip, plan::Cargo::slot};
constexpr int most_ranks = 1 << 16;

Kind kind_called(const std::string& name) {
    for (int kind = 0; kind <= static_cast<int>(Kind::stall); ++kind)
        if (pipeline::name_of(static_cast<Kind>(kind)) == name) return static_cast<Kind>(kind);
    refuse(cat("unknown kind ", in_quotes(name)));
}

plan::Cargo cargo_called(const std::string& name) {
    const auto* const found = std::ranges::find_if(cargoes, [&](plan::Cargo cargo) { return plan::name_of(cargo) == name; });
    if (found == cargoes.end()) refuse(cat("unknown cargo ", in_quotes(name)));
    return *found;
}

int rank_in(const Json& json, const char* key) {
    const auto rank = json.at(key).get<std::int64_t>();
    if (rank < 0 || rank >= most_ranks) refuse(cat(key, " = ", rank, ": must be from 0 to ", most_ranks - 1));
    return static_cast<int>(rank);
}

TraceLine to_line(const Json& json) {
    TraceLine line{.kind = kind_called(json.at("kind").get<std::string>()),
                   .begin_s = json.at("begin").get<double>(),
                   .end_s = json.at("end").get<double>(),
                   .clock = {.begin = json.at("clock_begin").get<std::int64_t>(), .end = json.at("clock_end").get<std::int64_t>()}};
    line.begin_s = std::min(line.begin_s, line.end_s);  // a transfer may end before the thread that posted it looks at the clock
    line.pass.step = json.at("step").get<std::int64_t>();
    line.pass.slice = json.value("slice", std::int64_t{0});
    line.pass.branch = json.value("branch", std::int64_t{1}) == 0 ? plan::Branch::unconditional : plan::Branch::conditional;
    switch (line.kind) {
        case Kind::unit:
            line.piece = json.at("piece").get<std::int64_t>();
            line.unit = json.at("unit").get<std::string>();
            [[fallthrough]];
        case Kind::task:
            line.pieces = {json.at("first_piece").get<std::int64_t>(), json.at("last_piece").get<std::int64_t>() + 1};
            line.slot = json.at("slot").get<std::int64_t>();
            break;
        case Kind::fetch:
        case Kind::stall: line.unit = json.at("unit").get<std::string>(); break;
        case Kind::advance: line.frames = json.at("frames").get<std::int64_t>(); break;
        case Kind::wait:
        case Kind::send:
        case Kind::receive:
            line.message = json.at("message").get<std::int64_t>();
            line.cargo = cargo_called(json.at("cargo").get<std::string>());
            line.from = rank_in(json, "from");
            line.to = rank_in(json, "to");
            line.bytes = json.at("bytes").get<std::int64_t>();
            break;
    }
    return line;
}

class Reader {
  public:
    explicit Reader(const std::string& path) : path_{path} {}

    [[nodiscard]] RecordedTrace read() {
        const auto text = read_text(path_);
        std::int64_t number = 0;
        for (const auto& line : split(text, '\n')) {
            ++number;
            if (line.empty()) continue;
            const auto json = Json::parse(line, nullptr, false);
            try {
                if (json.is_object())
                    take(json);
                else  // a start was killed while it wrote
                    torn_ = torn_ || (has_lines_ && !closed_);
            } catch (const Json::exception& error) {
                refuse(cat(path_, ": line ", number, " is not as this version's weft generate --events writes it: ", error.what()));
            } catch (const Error& error) {
                refuse(cat(path_, ": line ", number, " is not as this version's weft generate --events writes it: ", error.what()));
            }
        }
        end_trace();
        if (!newest_) refuse(cat(path_, ": holds no complete trace; weft generate CONFIG --events FILE writes it, once all steps are denoised"));
        return finished();
    }

  private:
    void take(const Json& json) {
        const auto event = json.value("event", std::string{});
        if (event == "trace") {
            const auto rank = static_cast<std::size_t>(rank_in(json, "rank"));
            if (trace_.ranks.size() <= rank) trace_.ranks.resize(rank + 1);
            trace_.ranks[rank].push_back(to_line(json));
            has_lines_ = true;
            return;
        }
        closed_ = closed_ || has_lines_;
        if (event == "plan") {
            end_trace();
            num_ranks_ = json.contains("ranks") ? static_cast<std::size_t>(rank_in(json, "ranks")) : 0;
            load_bound_ = json.value("load_bound", 0.0);
        } else if (event == "phase" && json.value("name", std::string{}) == "denoise") {
            end_trace();
            awaited_ = true;
        } else if (event == "rank" && has_lines_) {
            const auto rank = static_cast<std::size_t>(rank_in(json, "rank"));
            if (trace_.hosts.size() <= rank) trace_.hosts.resize(rank + 1);
            trace_.hosts[rank] = json.value("host", std::string{});
        }
    }

    /// Rank 0 writes rank by rank, so that what came is all there is if nothing arrives that was not sent.
    [[nodiscard]] bool complete() const {
        std::unordered_set<std::int64_t> sent;
        for (const auto& lines : trace_.ranks)
            for (const auto& line : lines)
                if (line.kind == Kind::send) sent.insert(line.message);
        for (const auto& lines : trace_.ranks)
            for (const auto& line : lines)
                if ((line.kind == Kind::receive || line.kind == Kind::wait) && !sent.contains(line.message)) return false;
        return has_lines_ && !torn_;
    }

    void end_trace() {
        if (complete()) {
            newest_ = std::move(trace_);
            newest_->load_bound = load_bound_;
            if (newest_->ranks.size() < num_ranks_) newest_->ranks.resize(num_ranks_);  // ranks that only decode
            ++num_traces_;
            awaited_ = false;
        }
        trace_ = {};
        has_lines_ = closed_ = torn_ = false;
    }

    RecordedTrace finished() {
        auto trace = *std::move(newest_);
        for (auto& lines : trace.ranks) {
            std::ranges::stable_sort(lines, {}, &TraceLine::begin_s);
            for (const auto& line : lines) trace.seconds = std::max(trace.seconds, line.end_s);
        }
        trace.source = path_;
        if (num_traces_ > 1) trace.source += cat(", the newest of ", num_traces_, " traces");
        if (awaited_) trace.source += "; a later start left none";
        return trace;
    }

    std::string path_;
    RecordedTrace trace_;  // that of the start which is being read
    bool has_lines_ = false;
    bool closed_ = false;  // something else came behind its lines
    bool torn_ = false;
    std::size_t num_ranks_ = 0;
    double load_bound_ = 0;
    std::optional<RecordedTrace> newest_;
    int num_traces_ = 0;
    bool awaited_ = false;  // a start began to denoise, and has left no trace yet
};

}  // namespace

std::vector<const TraceLine*> RecordedTrace::of(std::size_t rank, Kind kind) const {
    std::vector<const TraceLine*> found;
    for (const auto& line : ranks.at(rank))
        if (line.kind == kind) found.push_back(&line);
    return found;
}

RecordedTrace read_trace(const std::string& path) {
    return Reader(path).read();
}

double Window::part_of(double from_s, double to_s) const {
    return std::max(0.0, std::min(to_s, end_s) - std::max(from_s, begin_s));
}

}  // namespace weft::app

#include "app/trace_picture.hpp"

#include "app/trace_table.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <unordered_map>

namespace weft::app {

using Kind = pipeline::Trace::Kind;

namespace {

struct Colour {
    const char* conditional;
    const char* unconditional;
    const char* text;  ///< on the conditional one; on the other it is dark
};
/// Of successive steps, in turn: distinct to the colour-blind too (after Okabe and Ito).
constexpr std::array colours{Colour{"#0072b2", "#8fc3e4", "#fff"}, Colour{"#e69f00", "#f7d78f", "#222"}, Colour{"#00805e", "#8ad3bb", "#fff"},
                             Colour{"#c8442c", "#f0b3a6", "#fff"}, Colour{"#8e4a9e", "#d6b3de", "#fff"}};

constexpr double width = 1600;
constexpr double left = 120;
constexpr double right = 24;
constexpr double top = 84;
constexpr std::size_t most_tips = 1500;
constexpr std::size_t most_arrows = 300;

/// Pixels with one digit, which is finer than any screen; "12" for "12.0".
std::string px(double value) {
    auto text = fixed(value, 1);
    if (text.ends_with(".0")) text.resize(text.size() - 2);
    return text;
}

/// 1, 2 or 5 times a power of ten, so that there are about ten.
double tick_step(double seconds) {
    const auto power = std::pow(10.0, std::floor(std::log10(seconds / 8)));
    for (const double factor : {1.0, 2.0, 5.0})
        if (seconds / (factor * power) <= 12) return factor * power;
    return 10 * power;
}

const Colour& colour_of(const plan::Pass& pass) {
    return colours.at(static_cast<std::size_t>(pass.step) % colours.size());
}

const char* fill_of(const plan::Pass& pass) {
    return pass.branch == plan::Branch::conditional ? colour_of(pass).conditional : colour_of(pass).unconditional;
}

class Picture {
  public:
    Picture(const RecordedTrace& trace, const Window& window)
        : trace_{trace}, window_{window}, figures_{measure(trace, window)}, num_ranks_{trace.ranks.size()} {
        const auto pitch = std::clamp(800.0 / static_cast<double>(num_ranks_), 8.0, 42.0);
        lane_ = std::floor(pitch * 0.8);
        pitch_ = std::floor(pitch);
        for (std::size_t rank = 0; rank < num_ranks_; ++rank)
            for (const auto* const task : trace_.of(rank, Kind::task)) {
                if (!window_.shows(*task)) continue;
                ++num_tasks_;
                steps_.insert(task->pass.step);
                unconditional_ = unconditional_ || task->pass.branch == plan::Branch::unconditional;
            }
    }

    [[nodiscard]] std::string svg() {
        const auto bottom = top + static_cast<double>(num_ranks_) * pitch_;
        const auto height = bottom + 44;
        std::string text = cat("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"", px(width), "\" height=\"", px(height), "\" viewBox=\"0 0 ", px(width), " ",
                               px(height), "\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n<title>", headline(trace_, window_), "</title>\n",
                               definitions(), "<rect width=\"", px(width), "\" height=\"", px(height),
                               "\" fill=\"#fff\"/>\n<text x=\"16\" y=\"28\" font-size=\"17\" font-weight=\"bold\">", headline(trace_, window_), "</text>\n");
        const auto drawn_arrows = arrows();
        text += legend(!drawn_arrows.empty()) + axis(bottom);
        for (std::size_t rank = 0; rank < num_ranks_; ++rank) text += lane(rank);
        return cat(text, drawn_arrows, "</svg>\n");
    }

  private:
    [[nodiscard]] double x_of(double seconds) const {
        const auto inside = std::clamp(seconds, window_.begin_s, window_.end_s) - window_.begin_s;
        return left + (width - left - right) * inside / (window_.end_s - window_.begin_s);
    }
    [[nodiscard]] double y_of(std::size_t rank) const { return top + static_cast<double>(rank) * pitch_; }

    static std::string definitions() {
        return "<defs>\n"
               "<pattern id=\"hatch\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><rect width=\"5\" height=\"5\" fill=\"#f1f1f1\"/>"
               "<path d=\"M-1 1 1 -1M0 5 5 0M4 6 6 4\" stroke=\"#a8a8a8\"/></pattern>\n"
               "<marker id=\"head\" viewBox=\"0 0 6 6\" refX=\"6\" refY=\"3\" markerWidth=\"6\" markerHeight=\"6\" orient=\"auto\">"
               "<path d=\"M0 0 6 3 0 6z\" fill=\"#222\"/></marker>\n</defs>\n";
    }

    [[nodiscard]] std::string legend(bool has_arrows) const {
        constexpr double y = 46;
        double x = 16;
        std::string text = "<g class=\"legend\">\n";
        const auto item = [&](const std::string& shape, const std::string& words) {
            text += cat("<g transform=\"translate(", px(x), " ", px(y), ")\">", shape, "<text x=\"24\" y=\"12\">", words, "</text></g>\n");
            x += 24 + 6.5 * static_cast<double>(words.size()) + 14;
        };
        const auto box = [](const std::string& fill) { return cat("<rect y=\"1\" width=\"18\" height=\"14\" fill=\"", fill, "\"/>"); };
        std::size_t shown = 0;
        for (const auto step : steps_) {
            if (shown++ == colours.size()) break;
            const bool again = steps_.contains(step + static_cast<std::int64_t>(colours.size()));
            item(box(colour_of({.step = step}).conditional),
                 again ? cat("step ", step + 1, ", ", step + 1 + std::ssize(colours), " ...") : cat("step ", step + 1));
        }
        if (unconditional_ && !steps_.empty()) item(box(colour_of({.step = *steps_.begin()}).unconditional), "paler: unconditional");
        item("<text x=\"9\" y=\"12\" text-anchor=\"middle\">3</text>", "slice");
        item(box("#dcdcdc"), "waits for other passes");
        item(box("url(#hatch)"), "waits for an earlier leg");
        item("<rect x=\"8\" y=\"1\" width=\"2\" height=\"14\" fill=\"#111\"/>", "frames advance");
        if (has_arrows) item("<path d=\"M0 2 18 14\" stroke=\"#222\" fill=\"none\" marker-end=\"url(#head)\"/>", "hidden state");
        return text + "</g>\n";
    }

    [[nodiscard]] std::string axis(double bottom) const {
        const auto step = tick_step(window_.end_s - window_.begin_s);
        const auto digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
        std::string lines;
        std::string labels;
        const auto first = static_cast<std::int64_t>(std::ceil(window_.begin_s / step - 1e-9));
        const auto last = static_cast<std::int64_t>(std::floor(window_.end_s / step + 1e-9));
        for (auto tick = first; tick <= last; ++tick) {
            const auto seconds = static_cast<double>(tick) * step;
            const auto x = px(x_of(seconds));
            lines += cat("M", x, " ", px(top - 6), "V", px(bottom + 4));
            labels += cat("<text x=\"", x, "\" y=\"", px(bottom + 18), "\">", fixed(seconds, digits), "</text>\n");
        }
        return cat("<path d=\"", lines, "\" stroke=\"#e4e4e4\" fill=\"none\"/>\n<g class=\"axis\" text-anchor=\"middle\" fill=\"#444\">\n", labels,
                   "<text x=\"", px((left + width - right) / 2), "\" y=\"", px(bottom + 36), "\">seconds</text>\n</g>\n");
    }

    /// Its upper left corner is the origin.
    [[nodiscard]] std::string lane(std::size_t rank) const {
        const auto busy = figures_.seconds > 0 ? 100 * figures_.ranks[rank].times.busy_s / figures_.seconds : 0;
        const auto size = std::min(12.0, lane_);
        auto text =
            cat("<g class=\"lane\" transform=\"translate(0 ", px(y_of(rank)), ")\">\n<text x=\"16\" y=\"", px(lane_ / 2 + size * 0.36), "\" font-size=\"",
                px(size), "\"><tspan font-weight=\"bold\">rank ", rank, "</tspan><tspan x=\"", px(left - 10), "\" text-anchor=\"end\" fill=\"#555\">",
                fixed(busy, 0), " %</tspan></text>\n<path d=\"M", px(left), " ", px(lane_), "H", px(width - right), "\" stroke=\"#ccc\"/>\n");
        return cat(text, waits(rank), tasks(rank), advances(rank), "</g>\n");
    }

    [[nodiscard]] std::string waits(std::size_t rank) const {
        std::array<std::string, 2> paths;
        for (const auto* const line : trace_.of(rank, Kind::wait)) {
            const auto begin = x_of(line->begin_s);
            const auto length = x_of(line->end_s) - begin;
            if (length >= 0.4)
                paths.at(plan::idle_of(line->cargo) == plan::Idle::legs ? 1 : 0) +=
                    cat("M", px(begin), " 0h", px(length), "v", px(lane_), "h-", px(length), "z");
        }
        std::string text;
        for (std::size_t i = 0; i < paths.size(); ++i)
            if (!paths.at(i).empty()) text += cat("<path class=\"waits\" d=\"", paths.at(i), "\" fill=\"", i == 0 ? "#dcdcdc" : "url(#hatch)", "\"/>\n");
        return text;
    }

    struct Bar {
        double begin = 0;  // pixels
        double end = 0;
        const TraceLine* task = nullptr;
        [[nodiscard]] double length() const { return end - begin; }
    };

    [[nodiscard]] std::vector<Bar> bars(std::size_t rank) const {
        std::vector<Bar> bars;
        for (const auto* const task : trace_.of(rank, Kind::task)) {
            if (!window_.shows(*task)) continue;
            const Bar bar{x_of(task->begin_s), x_of(task->end_s), task};
            if (bars.empty() || bar.length() >= 1) {
                bars.push_back(bar);
                continue;
            }
            auto& before = bars.back();
            const bool near = bar.begin - before.end < 0.5;
            if (near && before.length() < 1 && before.task->pass.step == task->pass.step && before.task->pass.branch == task->pass.branch)
                before.end = bar.end;
            else if (bar.end - before.end >= 0.3)
                bars.push_back(bar);
        }
        return bars;
    }

    [[nodiscard]] std::string tasks(std::size_t rank) const {
        std::string text;
        std::string labels;
        for (const auto& bar : bars(rank)) {
            const auto& pass = bar.task->pass;
            // A thin gap tells one slice's bar from the next one's.
            const auto length = bar.length() > 4 ? bar.length() - 0.8 : std::max(0.3, bar.length());
            text += cat("<rect class=\"task\" x=\"", px(bar.begin), "\" width=\"", px(length), "\" height=\"", px(lane_), "\" fill=\"", fill_of(pass), "\"");
            if (num_tasks_ <= most_tips)
                text += cat("><title>", describe(pass), ", pieces ", bar.task->pieces.begin, " to ", bar.task->pieces.end - 1, ", ",
                            fixed(bar.task->begin_s, 3), " to ", fixed(bar.task->end_s, 3), " s</title></rect>\n");
            else
                text += "/>\n";
            const auto label = cat(pass.slice + 1);
            if (lane_ < 12 || length < 4 + 6.5 * static_cast<double>(label.size())) continue;
            labels += cat("<text x=\"", px(bar.begin + length / 2), "\" y=\"", px(lane_ / 2 + 4), "\"",
                          pass.branch == plan::Branch::conditional ? cat(" fill=\"", colour_of(pass).text, "\"") : "", ">", label, "</text>\n");
        }
        return labels.empty() ? text : cat(text, "<g text-anchor=\"middle\" font-size=\"11\" pointer-events=\"none\">\n", labels, "</g>\n");
    }

    [[nodiscard]] std::string advances(std::size_t rank) const {
        std::string path;
        double drawn_to = 0;
        for (const auto* const line : trace_.of(rank, Kind::advance)) {
            const auto begin = x_of(line->begin_s);
            if (!window_.shows(*line) || begin < drawn_to) continue;
            const auto length = std::max(1.2, x_of(line->end_s) - begin);
            path += cat("M", px(begin), " 0h", px(length), "v", px(lane_), "h-", px(length), "z");
            drawn_to = begin + length;
        }
        return path.empty() ? path : cat("<path class=\"advances\" d=\"", path, "\" fill=\"#111\"/>\n");
    }

    [[nodiscard]] std::string arrows() const {
        std::unordered_map<std::int64_t, double> sent_s;
        for (std::size_t rank = 0; rank < num_ranks_; ++rank)
            for (const auto* const line : trace_.of(rank, Kind::send)) sent_s[line->message] = line->begin_s;
        std::set<std::string> paths;  // parts of a state that travel together are one arrow
        for (std::size_t rank = 0; rank < num_ranks_; ++rank)
            for (const auto* const line : trace_.of(rank, Kind::receive)) {
                const auto begin_s = sent_s.at(line->message);
                if (line->cargo != plan::Cargo::state || line->end_s < window_.begin_s || begin_s >= window_.end_s) continue;
                const auto from = y_of(static_cast<std::size_t>(line->from));
                const auto to = y_of(static_cast<std::size_t>(line->to));
                const bool down = from < to;
                paths.insert(cat("M", px(x_of(begin_s)), " ", px(down ? from + lane_ : from), "L", px(x_of(line->end_s)), " ", px(down ? to : to + lane_)));
            }
        if (paths.empty() || paths.size() > most_arrows) return "";
        std::string text = "<g class=\"states\" stroke=\"#222\" stroke-width=\"0.8\" fill=\"none\">\n";
        for (const auto& path : paths) text += cat("<path d=\"", path, "\" marker-end=\"url(#head)\"/>\n");
        return text + "</g>\n";
    }

    const RecordedTrace& trace_;
    const Window& window_;
    Figures figures_;
    std::size_t num_ranks_;
    double lane_ = 0;   // a lane's height
    double pitch_ = 0;  // and that with the gap to the next
    std::size_t num_tasks_ = 0;
    std::set<std::int64_t> steps_;
    bool unconditional_ = false;
};

}  // namespace

std::string as_picture(const RecordedTrace& trace, const Window& window) {
    return Picture(trace, window).svg();
}

}  // namespace weft::app

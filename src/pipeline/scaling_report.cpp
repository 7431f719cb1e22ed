#include "base/text.hpp"
#include "pipeline/scaling.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

namespace weft::pipeline {

std::string table_head() {
    return "ranks  steps   scale  exchange  load bound  efficiency  predicted   others  legs  transfers  ends  rest   (predicted)               layout\n";
}

std::string table_line(const ScalingRow& row) {
    const auto percent = [](double share) { return fixed(100 * share, 1); };
    std::ostringstream out;
    out << std::right << std::setw(5) << row.ranks << std::setw(7) << row.steps << std::setw(8) << fixed(row.time_scale, 2) << std::setw(9)
        << fixed(100 * row.exchange, 2) << " " << std::setw(11) << percent(row.load_bound) << std::setw(12) << percent(row.efficiency()) << std::setw(11)
        << percent(row.predicted_efficiency()) << std::setw(9) << percent(row.idle[0]) << std::setw(6) << percent(row.idle[1]) << std::setw(11)
        << percent(row.idle[2]) << std::setw(6) << percent(row.idle[3]) << std::setw(6) << percent(row.other) << "   (";
    for (std::size_t idle = 0; idle < plan::num_idle; ++idle) out << (idle > 0 ? " " : "") << percent(row.predicted_idle[idle]);
    out << ")  " << row.layout << "\n";
    return std::move(out).str();
}

std::string as_json(const std::vector<ScalingRow>& rows, const std::string& what) {
    nlohmann::ordered_json json{{"what", what}, {"rows", nlohmann::ordered_json::array()}};
    for (const auto& row : rows) {
        nlohmann::ordered_json idle, predicted_idle;
        for (std::size_t i = 0; i < plan::num_idle; ++i) {
            idle[std::string(plan::name_of(static_cast<plan::Idle>(i)))] = row.idle[i];
            predicted_idle[std::string(plan::name_of(static_cast<plan::Idle>(i)))] = row.predicted_idle[i];
        }
        json["rows"].push_back({{"ranks", row.ranks},
                                {"layout", row.layout},
                                {"steps", row.steps},
                                {"load_bound", row.load_bound},
                                {"efficiency", row.efficiency()},
                                {"predicted_efficiency", row.predicted_efficiency()},
                                {"one_rank_s", row.one_rank_s},
                                {"seconds", row.seconds},
                                {"predicted_s", row.predicted_s},
                                {"idle", idle},
                                {"predicted_idle", predicted_idle},
                                {"other", row.other},
                                {"time_scale", row.time_scale},
                                {"exchange", row.exchange},
                                {"late_s", row.late_s}});
    }
    return json.dump(1) + "\n";
}

std::string as_plot(const std::vector<ScalingRow>& rows, const std::string& what) {
    constexpr double width = 720, height = 400, left = 60, right = 20, top = 50, bottom = 50;
    int most = 1;
    double least = 0.9;
    for (const auto& row : rows) {
        most = std::max(most, row.ranks);
        least = std::min({least, row.efficiency(), row.predicted_efficiency()});
    }
    least = std::floor(least * 10) / 10;
    const auto x = [&](double ranks) { return left + (ranks - 1) / std::max(1, most - 1) * (width - left - right); };
    const auto y = [&](double efficiency) { return top + (1 - efficiency) / (1 - least) * (height - top - bottom); };
    std::ostringstream svg;
    svg << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << width << " " << height
        << "\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"" << left
        << "\" y=\"22\" font-size=\"14\">" << what << "</text>\n";
    for (double tick = least; tick < 1.001; tick += (1 - least) / 5)
        svg << "<line x1=\"" << left << "\" x2=\"" << width - right << "\" y1=\"" << y(tick) << "\" y2=\"" << y(tick) << "\" stroke=\"#ddd\"/><text x=\""
            << left - 8 << "\" y=\"" << y(tick) + 4 << "\" text-anchor=\"end\">" << fixed(100 * tick, 0) << " %</text>\n";
    for (const auto& row : rows)
        svg << "<text x=\"" << x(row.ranks) << "\" y=\"" << height - bottom + 18 << "\" text-anchor=\"middle\">" << row.ranks << "</text>\n";
    svg << "<text x=\"" << width / 2 << "\" y=\"" << height - 12 << "\" text-anchor=\"middle\">ranks</text>\n";
    const auto line = [&](const char* name, const char* colour, const char* dashes, double legend, const auto& value) {
        svg << "<polyline fill=\"none\" stroke=\"" << colour << "\" stroke-width=\"2\" stroke-dasharray=\"" << dashes << "\" points=\"";
        for (const auto& row : rows) svg << x(row.ranks) << "," << y(value(row)) << " ";
        svg << "\"/>\n";
        for (const auto& row : rows) svg << "<circle cx=\"" << x(row.ranks) << "\" cy=\"" << y(value(row)) << "\" r=\"3\" fill=\"" << colour << "\"/>\n";
        svg << "<text x=\"" << legend << "\" y=\"40\" fill=\"" << colour << "\">" << name << "</text>\n";
    };
    line("load bound", "#999", "2 4", left, [](const ScalingRow& row) { return row.load_bound; });
    line("predicted", "#d95f02", "6 4", left + 100, [](const ScalingRow& row) { return row.predicted_efficiency(); });
    line("measured with stand-in units", "#1f6fb4", "none", left + 190, [](const ScalingRow& row) { return row.efficiency(); });
    svg << "</svg>\n";
    return std::move(svg).str();
}

}  // namespace weft::pipeline

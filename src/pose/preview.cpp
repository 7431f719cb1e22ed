#include "pose/preview.hpp"

#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <cmath>

namespace weft::pose {

namespace {

constexpr int panel_height = 384;
constexpr int line_height = 22;
constexpr int gap = 8;
constexpr double dimmed = 0.45;
constexpr int opaque = 96;  // of a mark's brightest channel; limbs have 102 and more
constexpr std::uint8_t paper = 40;

int width_of(const io::Picture& map) {
    return std::max(1, static_cast<int>(std::lround(double{panel_height} * map.width / map.height)));
}

/// The map's marks over the dimmed picture, which shows through where the map is dark.
io::Picture overlay(const PreviewPanel& panel) {
    auto shown = io::scale(panel.map, width_of(panel.map), panel_height);
    if (!panel.picture) return shown;
    const auto below = io::scale(*panel.picture, shown.width, shown.height);
    for (std::size_t i = 0; i < shown.rgb.size(); i += 3) {
        const int brightest = std::max({shown.rgb[i], shown.rgb[i + 1], shown.rgb[i + 2]});
        const double through = dimmed * std::max(0.0, 1 - brightest / double{opaque});
        for (std::size_t j = i; j < i + 3; ++j) shown.rgb[j] = static_cast<std::uint8_t>(std::min(255.0, shown.rgb[j] + through * below.rgb[j]));
    }
    return shown;
}

}  // namespace

io::Picture draw_preview(std::span<const std::array<PreviewPanel, 3>> rows) {
    int width = gap;
    for (const auto& panel : rows.front()) width += width_of(panel.map) + gap;
    const int row_height = line_height + panel_height + gap;
    const int height = gap + row_height * static_cast<int>(rows.size());
    io::Picture sheet{width, height, std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, paper)};
    cv::Mat pixels(height, width, CV_8UC3, sheet.rgb.data());
    int top = gap;
    for (const auto& row : rows) {
        int left = gap;
        for (const auto& panel : row) {
            auto shown = overlay(panel);
            cv::putText(pixels, panel.label, {left, top + line_height - 7}, cv::FONT_HERSHEY_SIMPLEX, 0.45, cv::Scalar(230, 230, 230), 1, cv::LINE_AA);
            cv::Mat(shown.height, shown.width, CV_8UC3, shown.rgb.data()).copyTo(pixels(cv::Rect(left, top + line_height, shown.width, shown.height)));
            left += shown.width + gap;
        }
        top += row_height;
    }
    return sheet;
}

}  // namespace weft::pose

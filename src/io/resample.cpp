#include "io/resample.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace weft::io {

namespace {

double sinc(double x) {
    return x == 0 ? 1.0 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x);
}

double support_of(Filter filter) {
    return filter == Filter::bilinear ? 1.0 : filter == Filter::bicubic ? 2.0 : 3.0;
}

double value_of(Filter filter, double x) {
    x = std::abs(x);
    switch (filter) {
        case Filter::bilinear: return x < 1.0 ? 1.0 - x : 0.0;
        case Filter::bicubic: {
            constexpr double a = -0.5;
            if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
            return x < 2.0 ? (((x - 5) * x + 8) * x - 4) * a : 0.0;
        }
        case Filter::lanczos: return x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
    }
    return 0;
}

constexpr int weight_bits = 22;

/// Weights of the source samples that one sample of the result is made of.
struct Window {
    int first = 0;
    std::vector<int> weights;
};

std::vector<Window> windows(int from, int to, Filter filter) {
    const double scale = static_cast<double>(from) / to;
    const double filter_scale = std::max(scale, 1.0);
    const double support = support_of(filter) * filter_scale;
    std::vector<Window> all;
    for (int i = 0; i < to; ++i) {
        const double centre = (i + 0.5) * scale;
        Window window{.first = std::max(0, static_cast<int>(centre - support + 0.5)), .weights = {}};
        const int end = std::min(from, static_cast<int>(centre + support + 0.5));
        std::vector<double> weights;
        double sum = 0;
        for (int x = window.first; x < end; ++x) {
            weights.push_back(value_of(filter, (x - centre + 0.5) * (1.0 / filter_scale)));
            sum += weights.back();
        }
        for (auto weight : weights) {
            if (sum != 0) weight /= sum;
            const double fixed = weight * (1 << weight_bits);
            window.weights.push_back(static_cast<int>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
        }
        all.push_back(std::move(window));
    }
    return all;
}

std::uint8_t to_byte(int sum) {
    return static_cast<std::uint8_t>(std::clamp(sum >> weight_bits, 0, 255));
}

Picture along_rows(const Picture& picture, int width, Filter filter) {
    if (width == picture.width) return picture;
    const auto all = windows(picture.width, width, filter);
    Picture made{.width = width,
                 .height = picture.height,
                 .rgb = std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(picture.height) * 3)};
    auto* into = made.rgb.data();
    for (int y = 0; y < picture.height; ++y) {
        const auto* const row = picture.rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) * 3;
        for (const auto& window : all)
            for (int channel = 0; channel < 3; ++channel) {
                int sum = 1 << (weight_bits - 1);
                for (std::size_t i = 0; i < window.weights.size(); ++i)
                    sum += row[(static_cast<std::size_t>(window.first) + i) * 3 + static_cast<std::size_t>(channel)] * window.weights[i];
                *into++ = to_byte(sum);
            }
    }
    return made;
}

Picture along_columns(const Picture& picture, int height, Filter filter) {
    if (height == picture.height) return picture;
    const auto row_bytes = static_cast<std::size_t>(picture.width) * 3;
    Picture made{.width = picture.width, .height = height, .rgb = std::vector<std::uint8_t>(row_bytes * static_cast<std::size_t>(height))};
    auto* into = made.rgb.data();
    for (const auto& window : windows(picture.height, height, filter))
        for (std::size_t x = 0; x < row_bytes; ++x) {
            int sum = 1 << (weight_bits - 1);
            for (std::size_t i = 0; i < window.weights.size(); ++i)
                sum += picture.rgb[(static_cast<std::size_t>(window.first) + i) * row_bytes + x] * window.weights[i];
            *into++ = to_byte(sum);
        }
    return made;
}

}  // namespace

Picture resample(const Picture& picture, int width, int height, Filter filter) {
    ensure(width >= 1 && height >= 1 && picture.width >= 1 && picture.height >= 1, "pictures have a pixel at least");
    const bool columns_first = height < picture.height && picture.height - height > 2 * (picture.width - width);
    if (columns_first) return along_rows(along_columns(picture, height, filter), width, filter);
    return along_columns(along_rows(picture, width, filter), height, filter);
}

}  // namespace weft::io

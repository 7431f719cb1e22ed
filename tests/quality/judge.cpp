#include "quality/judge.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "plan/seams.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace weft::quality {

namespace {
constexpr int kNoPart = -1;  // a label that nobody has
constexpr int kMixed = -2;

double square_distance(const std::uint8_t* pixel, const auto& colour) {
    double sum = 0;
    for (std::size_t c = 0; c < 3; ++c) sum += (double(pixel[c]) - double(colour[c])) * (double(pixel[c]) - double(colour[c]));
    return sum;
}

bool shows_figure(const std::uint8_t* pixel, const std::uint8_t* background, const auto& figure) {
    const double to_background = square_distance(pixel, background);
    return std::any_of(figure.begin(), figure.end(), [&](const auto& colour) { return square_distance(pixel, colour) < to_background; });
}
}  // namespace

void Judge::Tally::add(double value) {
    least = count == 0 ? value : std::min(least, value);
    most = count == 0 ? value : std::max(most, value);
    sum += value;
    ++count;
}

double Judge::Tally::mean() const {
    return count == 0 ? kUnknown : sum / double(count);
}

Judge::Judge(int width, int height, Pixels background, Parts parts)
    : width_{width}, height_{height}, background_{background.begin(), background.end()}, parts_{std::move(parts)}, colours_(parts_.parts.size()) {
    ensure(width > 0 && height > 0 && background.size() == std::size_t(width) * std::size_t(height) * 3,
           "the background's size and its number of bytes disagree");
    part_of_.fill(kNoPart);
    part_of_[parts_.mixed] = kMixed;
    for (std::size_t i = 0; i < parts_.parts.size(); ++i) {
        const auto& part = parts_.parts[i];
        const int other = std::exchange(part_of_[part.label], int(i));
        if (other != kNoPart)
            refuse(cat("label ", int(part.label), " is given to part ", part.name, " and to ",
                       other == kMixed ? "mixed pixels" : cat("part ", parts_.parts[std::size_t(other)].name)));
        if (std::any_of(parts_.parts.begin(), parts_.parts.begin() + std::ptrdiff_t(i), [&](const Part& before) { return before.name == part.name; }))
            refuse(cat("two parts are called ", part.name));
    }
    if (std::none_of(parts_.parts.begin(), parts_.parts.end(), [](const Part& part) { return part.figure; })) refuse("no part belongs to the figure");
}

void Judge::add(Pixels film, Pixels truth, Labels labels) {
    ensure(film.size() == background_.size() && truth.size() == background_.size() && labels.size() * 3 == background_.size(),
           "film, truth, labels and background are of different sizes");
    for (std::size_t i = 0; i < labels.size(); ++i)
        if (part_of_[labels[i]] == kNoPart)
            refuse(cat("frame ", num_frames_, " (counted from 0) has label ", int(labels[i]), " at (", i % std::size_t(width_), ", ", i / std::size_t(width_),
                       "), which no part has"));
    judge_overlap(film, truth, judge_colours(film, truth, labels));
    judge_flicker(film, labels);
    judge_error(film, truth);
    ++num_frames_;
}

/// Returns the colours of the figure's parts in the truth.
std::vector<Judge::Colour> Judge::judge_colours(Pixels film, Pixels truth, Labels labels) {
    struct Sums {
        std::int64_t pixels = 0;
        std::array<std::int64_t, 3> film{};
        std::array<std::int64_t, 3> truth{};
    };
    std::vector<Sums> sums(parts_.parts.size());
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const int part = part_of_[labels[i]];
        if (part == kMixed) continue;
        auto& sum = sums[std::size_t(part)];
        ++sum.pixels;
        for (std::size_t c = 0; c < 3; ++c) {
            sum.film[c] += film[i * 3 + c];
            sum.truth[c] += truth[i * 3 + c];
        }
    }
    std::vector<Colour> figure;
    for (std::size_t part = 0; part < sums.size(); ++part) {
        const auto& sum = sums[part];
        if (sum.pixels == 0) continue;
        const auto pixels = double(sum.pixels);
        if (parts_.parts[part].figure) figure.push_back({double(sum.truth[0]) / pixels, double(sum.truth[1]) / pixels, double(sum.truth[2]) / pixels});
        if (sum.pixels < kLeastPixels) continue;
        std::int64_t off = 0;
        for (std::size_t c = 0; c < 3; ++c) off += std::abs(sum.film[c] - sum.truth[c]);
        colours_[part].add(double(off) / pixels / 3 / 255);
    }
    return figure;
}

void Judge::judge_overlap(Pixels film, Pixels truth, const std::vector<Colour>& figure) {
    std::int64_t both = 0;
    std::int64_t either = 0;
    for (std::size_t at = 0; at < film.size(); at += 3) {
        const bool in_film = shows_figure(&film[at], &background_[at], figure);
        const bool in_truth = shows_figure(&truth[at], &background_[at], figure);
        both += in_film && in_truth ? 1 : 0;
        either += in_film || in_truth ? 1 : 0;
    }
    if (either > 0) overlap_.add(double(both) / double(either));
}

/// 1 for pixels of the background that keep the margin from the figure and from mixed pixels, else 0.
std::vector<std::uint8_t> Judge::still_pixels(Labels labels) const {
    std::vector<std::uint8_t> still(labels.size(), 1);
    constexpr int kReach = kMargin - 1;
    for (int y = 0; y < height_; ++y)
        for (int x = 0; x < width_; ++x) {
            const int part = part_of_[labels[std::size_t(y) * std::size_t(width_) + std::size_t(x)]];
            if (part != kMixed && !parts_.parts[std::size_t(part)].figure) continue;
            for (int v = std::max(0, y - kReach); v <= std::min(height_ - 1, y + kReach); ++v)
                for (int u = std::max(0, x - kReach); u <= std::min(width_ - 1, x + kReach); ++u)
                    still[std::size_t(v) * std::size_t(width_) + std::size_t(u)] = 0;
        }
    return still;
}

void Judge::judge_flicker(Pixels film, Labels labels) {
    auto still = still_pixels(labels);
    if (num_frames_ > 0) {
        std::int64_t pixels = 0;
        std::int64_t change = 0;
        for (std::size_t i = 0; i < still.size(); ++i) {
            if (still[i] == 0 || still_before_[i] == 0) continue;
            ++pixels;
            for (std::size_t at = i * 3; at < i * 3 + 3; ++at) change += std::abs(film[at] - film_before_[at]);
        }
        if (pixels > 0) flicker_.add(double(change) / double(pixels) / 3 / 255);
    }
    still_before_ = std::move(still);
    film_before_.assign(film.begin(), film.end());
}

void Judge::judge_error(Pixels film, Pixels truth) {
    std::vector<int> error(film.size());
    for (std::size_t i = 0; i < film.size(); ++i) {
        error[i] = film[i] - truth[i];
        square_error_ += double(error[i] * error[i]);
    }
    if (num_frames_ > 0) {
        double sum = 0;
        for (std::size_t i = 0; i < error.size(); ++i) sum += double((error[i] - error_before_[i]) * (error[i] - error_before_[i]));
        error_changes_.push_back(std::sqrt(sum / double(error.size())) / 255);
    }
    error_before_ = std::move(error);
}

Verdict Judge::verdict() const {
    Verdict verdict{
        .frames = num_frames_, .overlap = overlap_.mean(), .overlap_worst = overlap_.least, .flicker = flicker_.mean(), .flicker_worst = flicker_.most};
    Tally figure;
    Tally background;
    for (std::size_t i = 0; i < colours_.size(); ++i) {
        const auto& part = parts_.parts[i];
        if (part.figure) verdict.colour_parts.emplace_back(part.name, colours_[i].mean());
        if (colours_[i].count > 0) (part.figure ? figure : background).add(colours_[i].mean());
    }
    verdict.colour = figure.mean();
    verdict.colour_worst = figure.most;
    verdict.colour_background = background.mean();
    verdict.error_changes = error_changes_;
    if (num_frames_ > 0) verdict.psnr = 10 * std::log10(255.0 * 255.0 * double(background_.size()) * double(num_frames_) / square_error_);
    return verdict;
}

double seam(const Verdict& verdict, std::int64_t length, std::int64_t overlap) {
    const auto num_frames = verdict.frames + 1;  // with the reference, which is not shown
    const auto borders = plan::slice_borders(plan::make_slices(num_frames, length, overlap), num_frames);
    const auto seams = plan::measure_seams(verdict.error_changes, borders);
    return seams.num_compared == 0 ? kUnknown : seams.figure;
}

std::vector<std::string> broken(const Verdict& verdict, const Limits& limits, double seam) {
    std::vector<std::string> texts;
    const auto require = [&](bool holds, std::string_view what, double value, std::string_view wanted, double limit) {
        if (!holds) texts.push_back(cat(what, " ", std::isnan(value) ? "could not be judged" : cat("is ", value), "; ", wanted, " ", limit, " is wanted"));
    };
    if (limits.min_overlap) require(verdict.overlap >= *limits.min_overlap, "overlap", verdict.overlap, "at least", *limits.min_overlap);
    if (limits.max_colour) require(verdict.colour <= *limits.max_colour, "colour", verdict.colour, "at most", *limits.max_colour);
    if (limits.max_flicker) require(verdict.flicker <= *limits.max_flicker, "flicker", verdict.flicker, "at most", *limits.max_flicker);
    if (limits.max_seam) require(seam <= *limits.max_seam, "seam", seam, "at most", *limits.max_seam);
    return texts;
}

}  // namespace weft::quality

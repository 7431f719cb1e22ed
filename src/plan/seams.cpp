#include "plan/seams.hpp"

#include "base/error.hpp"

#include <cmath>
#include <limits>
#include <optional>
#include <set>

namespace weft::plan {

namespace {

constexpr int most_neighbours = 4;         // on each side
constexpr std::int64_t most_distance = 8;  // in frames

/// The sum of some changes, and of how many.
struct Sum {
    double sum = 0;
    std::int64_t count = 0;

    void add(double change) {
        sum += change;
        ++count;
    }
    [[nodiscard]] double mean() const { return count == 0 ? 0 : sum / static_cast<double>(count); }
};

double ratio(double at_border, double inside) {
    if (inside == 0 && at_border > 0) return std::numeric_limits<double>::infinity();
    return inside == 0 && at_border == 0 ? 1 : at_border / inside;
}

}  // namespace

std::vector<std::int64_t> slice_borders(const Slices& slices, std::int64_t num_frames, std::int64_t first) {
    std::set<std::int64_t> borders;
    for (const auto& slice : slices)
        for (const auto& range : ranges_of({slice.frames.begin() + first, slice.frames.end()})) {
            if (range.begin > first && range.begin < num_frames) borders.insert(range.begin - 1);
            if (range.end < num_frames) borders.insert(range.end - 1);
        }
    return {borders.begin(), borders.end()};
}

Seams measure_seams(std::span<const double> changes, std::span<const std::int64_t> borders, std::int64_t first) {
    const auto last = first + static_cast<std::int64_t>(changes.size()) - 1;
    const auto change = [changes, first](std::int64_t frame) { return changes[static_cast<std::size_t>(frame - first)]; };
    std::vector<bool> is_border(static_cast<std::size_t>(last + 1), false);
    for (const auto frame : borders) {
        ensure(frame >= first && frame <= last, "a border lies among the clip's changes");
        is_border[static_cast<std::size_t>(frame)] = true;
    }
    /// Mean of the inside changes near a border, or nothing where there are none.
    const auto mean_near = [&](std::int64_t border) -> std::optional<double> {
        Sum near;
        for (const std::int64_t direction : {-1, 1}) {
            int found = 0;
            for (std::int64_t distance = 1; distance <= most_distance && found < most_neighbours; ++distance) {
                const auto frame = border + direction * distance;
                if (frame < first || frame > last) break;
                if (is_border[static_cast<std::size_t>(frame)]) continue;
                near.add(change(frame));
                ++found;
            }
        }
        return near.count == 0 ? std::nullopt : std::optional{near.mean()};
    };

    Seams seams;
    Sum at_borders, inside, compared, near;
    for (auto frame = first; frame <= last; ++frame) {
        if (!is_border[static_cast<std::size_t>(frame)]) {
            inside.add(change(frame));
            continue;
        }
        at_borders.add(change(frame));
        const auto mean = mean_near(frame);
        if (!mean) continue;
        compared.add(change(frame));
        near.add(*mean);
        const auto single = ratio(change(frame), *mean);
        if (compared.count == 1 || single > seams.worst || (std::isnan(single) && !std::isnan(seams.worst))) {
            seams.worst = single;
            seams.worst_frame = frame;
        }
    }
    seams.num_borders = at_borders.count;
    seams.num_compared = compared.count;
    if (compared.count > 0) seams.figure = ratio(compared.sum, near.sum);
    seams.mean_at_borders = at_borders.mean();
    seams.mean_inside = inside.mean();
    return seams;
}

}  // namespace weft::plan

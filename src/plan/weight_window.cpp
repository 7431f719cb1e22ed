#include "plan/weight_window.hpp"

#include "plan/plan.hpp"

#include <algorithm>

namespace weft::plan {

std::size_t WeightWindow::behind(std::size_t unit) const {
    do unit = (unit + 1) % units.size();
    while (!units[unit]);
    return unit;
}

bool WeightWindow::admits(std::size_t running, std::size_t next) const {
    if (running == next) return false;
    auto held = weights[next] + binding[next];
    for (auto unit = running; unit != next; unit = behind(unit)) held += weights[unit];
    for (auto unit = running; unit != next; unit = behind(unit)) {  // each will run with all between it and `next` at hand
        if (held > room[unit]) return false;
        held -= weights[unit];
    }
    return true;
}

std::vector<std::int64_t> WeightWindow::held_bytes() const {
    std::vector<std::int64_t> most(units.size());
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
        if (!units[unit]) continue;
        auto held = weights[unit];
        most[unit] = held + binding[unit];  // where it is fetched when it is asked for
        for (auto next = behind(unit); admits(unit, next); next = behind(next)) {
            held += weights[next];
            most[unit] = std::max(most[unit], held + binding[next]);
        }
    }
    return most;
}

WeightWindow weight_window(const PassShape& shape, const std::vector<bool>& units, std::span<const std::int64_t> beside, std::int64_t bytes, Pool pool) {
    WeightWindow window{.units = units, .weights = {}, .binding = {}, .room = {}};
    for (const auto& unit : shape.units) {
        window.weights.push_back(unit.weight_bytes);
        window.binding.push_back(unit.bind_bytes);
    }
    window.room.assign(units.size(), 0);
    const auto own = [&](std::size_t unit) { return pool == Pool::shared ? beside[unit] : 0; };
    std::int64_t largest = 0, least = 0;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
        if (!units[unit]) continue;
        const auto next = window.behind(unit);
        largest = std::max(largest, own(unit));
        least = std::max(least, own(unit) + window.weights[unit] + (next == unit ? 0 : window.weights[next] + window.binding[next]));
    }
    for (std::size_t unit = 0; unit < units.size(); ++unit)
        if (units[unit]) window.room[unit] = std::max(largest + bytes, least) - own(unit);
    return window;
}

WeightWindows weight_windows(const Plan& plan, int rank, std::span<const std::int64_t> beside) {
    const auto units = plan.shape.units_of(plan.deal.pieces_of(rank));
    if (std::ranges::find(units, true) == units.end()) return {};
    const auto pool = plan.on_gpu ? Pool::apart : Pool::shared;
    WeightWindows windows{.chosen = {}, .least = weight_window(plan.shape, units, beside, 0, pool)};
    if (plan.memory.stream_window > 0) windows.chosen = weight_window(plan.shape, units, beside, plan.memory.stream_window, pool);
    return windows;
}

double streamed_seconds(const WeightWindow& window, std::span<const double> unit_seconds, double bytes_s) {
    std::vector<std::size_t> order;
    for (std::size_t unit = 0; unit < unit_seconds.size(); ++unit)
        if (unit_seconds[unit] > 0) order.push_back(unit);
    constexpr std::size_t laps = 3;
    std::vector<double> ends;  // of the units that have run, in order
    double fetched = 0, ran = 0, last_lap = 0;
    const auto at = [&](std::size_t i) { return order[i % order.size()]; };
    for (std::size_t i = 0; i < laps * order.size(); ++i) {
        double room_at = 0;  // when the last unit has run beside which this one's weights find no room
        auto held = window.weights[at(i)] + window.binding[at(i)];
        for (auto before = i; before-- > 0;) {
            held += window.weights[at(before)];
            if (held <= window.room[at(before)] && i - before < order.size()) continue;
            room_at = ends[before];
            break;
        }
        fetched = std::max(fetched, room_at) + static_cast<double>(window.weights[at(i)]) / bytes_s;
        ran = std::max(ran, fetched) + unit_seconds[at(i)];
        ends.push_back(ran);
        if (i + 1 == (laps - 1) * order.size()) last_lap = ran;
    }
    return ran - last_lap;
}

}  // namespace weft::plan

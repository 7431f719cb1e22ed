#include "pipeline/rank_times.hpp"

#include <algorithm>

namespace weft::pipeline {

plan::RankTimes rank_times(const std::vector<Stretch>& stretches, double from_s, double to_s, double end_s) {
    const auto shown_s = [&](double begin, double end) { return std::max(0.0, std::min(end, to_s) - std::max(begin, from_s)); };
    double first_s = end_s;  // without a task, all is an end
    double last_s = end_s;
    for (const auto& one : stretches)
        if (one.kind == Trace::Kind::task) {
            last_s = first_s == end_s ? one.end_s : std::max(last_s, one.end_s);
            first_s = std::min(first_s, one.begin_s);
        }
    plan::RankTimes times;
    const auto idle_s = [&](plan::Idle why) -> double& { return times.idle_s[static_cast<std::size_t>(why)]; };
    idle_s(plan::Idle::ends) = shown_s(0, first_s) + shown_s(last_s, end_s);
    for (const auto& one : stretches) {
        const bool between = one.begin_s >= first_s && one.end_s <= last_s;
        if (one.kind == Trace::Kind::task) times.busy_s += shown_s(one.begin_s, one.end_s);
        if (one.kind == Trace::Kind::advance && !between) idle_s(plan::Idle::ends) -= shown_s(one.begin_s, one.end_s);
        if (one.kind != Trace::Kind::wait || !between) continue;
        const auto sent_s = std::clamp(one.sent_s, one.begin_s, one.end_s);
        idle_s(plan::idle_of(one.cargo)) += shown_s(one.begin_s, sent_s);
        idle_s(plan::Idle::transfer) += shown_s(sent_s, one.end_s);
    }
    return times;
}

}  // namespace weft::pipeline

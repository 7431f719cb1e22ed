#include "pipeline/trace.hpp"

#include "base/text.hpp"
#include "plan/sample_plans.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <map>
#include <variant>

namespace weft::pipeline {

namespace {

/// By step: logical time at which the first pass begins and the last one ends.
struct StepTimes {
    std::int64_t first_begin = std::numeric_limits<std::int64_t>::max();
    std::int64_t last_end = 0;
};

std::map<std::int64_t, StepTimes> step_times(const plan::Made& made) {
    std::map<std::int64_t, StepTimes> steps;
    const auto times = logical_times(made.programs);
    for (std::size_t rank = 0; rank < times.size(); ++rank)
        for (std::size_t place = 0; place < times[rank].size(); ++place)
            if (const auto* compute = std::get_if<plan::Compute>(&made.programs[rank][place])) {
                auto& step = steps[compute->task.pass.step];
                step.first_begin = std::min(step.first_begin, times[rank][place].begin);
                step.last_end = std::max(step.last_end, times[rank][place].end);
            }
    return steps;
}

plan::Made staged(Anchor anchor, const std::string& map, int stages = 4) {
    return plan::make(
        {.ranks = stages, .slices = 9, .anchor = anchor, .cost = {100, 122}, .steps = 6, .layout = {.kind = LayoutKind::stages, .stages = stages, .map = map}});
}

}  // namespace

TEST(LogicalTime, GrowsAlongProgramsAndMessages) {
    for (const auto& made : {staged(Anchor::private_, "straight"), staged(Anchor::blended, "folded", 3)}) {
        const auto times = logical_times(made.programs);
        std::map<std::int64_t, std::int64_t> sent;
        for (std::size_t rank = 0; rank < times.size(); ++rank)
            for (std::size_t place = 0; place < times[rank].size(); ++place) {
                if (place > 0) {
                    ASSERT_GT(times[rank][place].end, times[rank][place - 1].end);
                }
                if (const auto* send = std::get_if<plan::Send>(&made.programs[rank][place])) sent[send->message.number] = times[rank][place].end;
            }
        for (std::size_t rank = 0; rank < times.size(); ++rank)
            for (std::size_t place = 0; place < times[rank].size(); ++place)
                if (const auto* take = std::get_if<plan::Take>(&made.programs[rank][place])) {
                    ASSERT_GT(times[rank][place].end, sent.at(take->message.number));
                }
    }
}

TEST(Wavefront, OfAChainAStepBeginsBeforeTheOneBeforeItHasEnded) {
    for (const char* const map : {"straight", "folded"}) {
        const auto steps = step_times(staged(Anchor::private_, map, map[0] == 's' ? 4 : 3));
        for (std::int64_t step = 0; step + 1 < 6; ++step)
            EXPECT_LT(steps.at(step + 1).first_begin, steps.at(step).last_end)
                << map << ": step " << step + 2 << " begins when step " << step + 1 << " has ended";
    }
}

TEST(Wavefront, OfABlendedAnchorStepsFollowEachOther) {
    const auto steps = step_times(staged(Anchor::blended, "straight"));
    for (std::int64_t step = 0; step + 1 < 6; ++step) EXPECT_GT(steps.at(step + 1).first_begin, steps.at(step).last_end);
}

}  // namespace weft::pipeline

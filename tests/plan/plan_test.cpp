#include "plan/plan.hpp"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace weft::plan {

namespace {

Plan small_plan(std::array<double, 2> guidance) {
    Settings settings;
    settings.video = {.width = 64, .height = 128};
    settings.sampling.steps = 3;
    settings.sampling.guidance = guidance;
    settings.slices.length = 6;
    settings.slices.overlap = 2;
    return make_plan(settings, 13, {.latent_channels = 4, .num_units = 7});
}

/// Which passes a program has computed when it advances each step.
void expect_sound(const Plan& plan, const Program& program, std::int64_t first_step) {
    std::set<std::tuple<std::int64_t, std::int64_t, Branch>> computed;
    std::int64_t step = first_step;
    bool advanced = false;
    for (const auto& operation : program) {
        if (const auto* compute = std::get_if<Compute>(&operation)) {
            const auto& pass = compute->task.pass;
            EXPECT_EQ(pass.step, step) << "a pass reads latents of its own step";
            EXPECT_EQ(compute->task.units, (UnitRange{0, plan.num_units}));
            EXPECT_TRUE(computed.insert({pass.step, pass.slice, pass.branch}).second) << "no pass runs twice";
        } else if (const auto* advance = std::get_if<Advance>(&operation)) {
            EXPECT_EQ(advance->frames, (FrameRange{0, plan.num_frames}));
            EXPECT_EQ(static_cast<std::int64_t>(computed.size()), plan.passes_a_step() * (step - first_step + 1)) << "all passes come before their step";
            advanced = true;
        } else {
            EXPECT_TRUE(advanced);
            EXPECT_EQ(std::get<Save>(operation).steps_done, ++step);
            advanced = false;
        }
    }
    EXPECT_EQ(step, plan.steps);
}

}  // namespace

TEST(Plan, TheClipHasOneFrameMoreThanThePoses) {
    const auto plan = small_plan({2.0, 2.0});
    EXPECT_EQ(plan.num_frames, 14);
    EXPECT_EQ(plan.latent_height, 16);
    EXPECT_EQ(plan.latent_width, 8);
    EXPECT_EQ(plan.latent_bytes(), 14 * 4 * 16 * 8 * 4);
}

TEST(Plan, EachStepComputesEveryPassThenAdvancesThenSaves) {
    const auto plan = small_plan({2.0, 2.0});
    EXPECT_EQ(plan.passes_a_step(), 2 * static_cast<std::int64_t>(plan.slices.size()));
    expect_sound(plan, make_program(plan, 0), 0);
}

TEST(Plan, AResumedProgramBeginsBehindTheSavedStep) {
    const auto plan = small_plan({2.0, 2.0});
    expect_sound(plan, make_program(plan, 2), 2);
    EXPECT_TRUE(make_program(plan, plan.steps).empty());
}

TEST(Plan, WithoutGuidanceOnlyTheConditionalBranchRuns) {
    const auto plan = small_plan({1.0, 1.0});
    EXPECT_FALSE(plan.guided);
    for (const auto& operation : make_program(plan, 0))
        if (const auto* compute = std::get_if<Compute>(&operation)) {
            EXPECT_EQ(compute->task.pass.branch, Branch::conditional);
        }
    expect_sound(plan, make_program(plan, 0), 0);
    EXPECT_TRUE(small_plan({1.0, 3.0}).guided);
}

}  // namespace weft::plan

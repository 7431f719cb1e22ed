// Passes of one step that run side by side, and operations that take fewer rows at once: the same numbers but for their last bits, and what the plan says of
// their memory.
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/open_model.hpp"
#include "plan/memory.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>

namespace weft::model {
namespace {

constexpr std::int64_t frames = 7, height = 128, width = 64;

class SideBySide : public testing::TestWithParam<FamilyName> {
  protected:
    SideBySide() {
        settings_.model.family = GetParam();
        const auto golden = GetParam() == FamilyName::mimicmotion ? golden::mimicmotion() : golden::musepose();
        settings_.model.path = golden / "model";
        settings_.video = {.width = width, .height = height};
        settings_.device.kind = DeviceKind::cpu;
        settings_.memory.numerics = NumericsRule::free;
        Mistakes mistakes;
        model_ = open_model(settings_, mistakes);
        mistakes.throw_if_any("in a test:");
        device_ = open_device(settings_.device);
    }

    [[nodiscard]] std::unique_ptr<Family> family(std::int64_t chunk_divisor = 1) const {
        plan::Plan clip;
        clip.num_frames = clip.num_latents = 2 * frames;
        clip.slices = {plan::Slice{frames_of(0)}, plan::Slice{frames_of(1)}};
        clip.memory.chunk_divisor = chunk_divisor;
        auto made = model_->for_clip(settings_, clip, device_, [](const std::vector<std::int64_t>& some) {
            auto maps = at::zeros({static_cast<std::int64_t>(some.size()), height, width, 3}, at::kByte);
            for (std::size_t i = 0; i < some.size(); ++i) maps[static_cast<std::int64_t>(i)].fill_(10 * some[i]);
            return maps;
        });
        made->encode(at::arange(height * width * 3, at::kLong).remainder(251).to(at::kByte).view({height, width, 3}));
        made->load_denoiser();
        return made;
    }

    static std::vector<std::int64_t> frames_of(std::int64_t slice) {
        std::vector<std::int64_t> some(frames);
        std::iota(some.begin(), some.end(), slice * frames);
        return some;
    }

    static PassState begin(Family& family, const plan::Pass& pass) {
        const auto some = frames_of(pass.slice);
        return family.begin(pass, family.initial_latents(some) / (700.0 + static_cast<double>(pass.slice)), some);
    }

    static at::Tensor run(Family& family, std::vector<PassState> passes) {
        auto state = side_by_side(std::move(passes));
        for (std::size_t unit = 0; unit < family.units().size(); ++unit) family.run(unit, state, all_slots(state));
        return family.finish(state);
    }

    static const std::vector<plan::Pass>& passes() {
        static const std::vector<plan::Pass> all{{0, 0, Branch::unconditional}, {0, 0, Branch::conditional}, {0, 1, Branch::conditional}};
        return all;
    }

    Settings settings_;
    std::unique_ptr<Model> model_;
    ComputeDevice device_;
};

TEST_P(SideBySide, PassesOfSlicesAndBranchesAreThoseThatRunAlone) {
    const auto family = this->family();
    std::vector<at::Tensor> alone;
    std::vector<PassState> states;
    for (const auto& pass : passes()) {
        alone.push_back(run(*family, {[&] {
            std::vector<PassState> one;
            one.push_back(begin(*family, pass));
            return one;
        }()}));
        states.push_back(begin(*family, pass));
    }
    EXPECT_GT(golden::relative_error(alone[0], alone[1]), 1e-3);  // else nothing would be seen
    EXPECT_GT(golden::relative_error(alone[1], alone[2]), 1e-3);
    const auto together = run(*family, std::move(states));
    for (std::size_t i = 0; i < alone.size(); ++i)
        EXPECT_LT(golden::relative_error(alone[i], together.narrow(0, static_cast<std::int64_t>(i) * frames, frames)), 2e-5) << "pass " << i;
}

TEST_P(SideBySide, SmallerChunksChangeNoMoreThanLastBits) {
    const auto whole = family();
    const auto cut = family(8);
    const auto one = [&](Family& family) {
        std::vector<PassState> states;
        states.push_back(begin(family, passes()[1]));
        return run(family, std::move(states));
    };
    const auto wanted = one(*whole);
    EXPECT_LT(golden::relative_error(wanted, one(*cut)), 2e-5);
    EXPECT_TRUE(whole->take_smaller_chunks());
    EXPECT_LT(golden::relative_error(wanted, one(*whole)), 2e-5);
}

TEST_P(SideBySide, EachFurtherPassTakesWhatThePlanSays) {
    const auto shape = model_->shape(settings_, frames, frames, c10::kCPU).pass;
    const auto family = this->family();
    const auto peak_of = [&](std::int64_t count) {
        const auto before = meter::current();
        meter::begin_phase("passes");
        {
            std::vector<PassState> states;
            for (std::int64_t i = 0; i < count; ++i) states.push_back(begin(*family, passes()[1]));
            static_cast<void>(run(*family, std::move(states)));
        }
        return meter::phases().back().peak - before;
    };
    const auto first = peak_of(1);
    for (const std::int64_t count : {2, 4}) {
        const auto measured = static_cast<double>(peak_of(count));
        const auto predicted = static_cast<double>(first + (count - 1) * shape.more_bytes);
        EXPECT_GE(predicted / measured, 0.99) << count << " passes";
        EXPECT_LE(predicted / measured, 1.10) << count << " passes";
    }
}

INSTANTIATE_TEST_SUITE_P(Families, SideBySide, testing::Values(FamilyName::mimicmotion, FamilyName::musepose),
                         [](const auto& one) { return one.param == FamilyName::mimicmotion ? "mimicmotion" : "musepose"; });

}  // namespace
}  // namespace weft::model

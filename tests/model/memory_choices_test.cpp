// What a rank does to need less memory changes no bit, and holds what the plan says.
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/open_model.hpp"
#include "plan/memory.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <ostream>

namespace weft::model {
namespace {

constexpr std::int64_t frames = 10, height = 128, width = 64;

struct Choice {
    const char* name;
    bool keep_pose_features = false, remake_first_skip = false;
    double window = 0;  ///< of all weights; a small one is made as large as it must be
};

class MemoryChoices : public testing::TestWithParam<std::tuple<FamilyName, Choice>> {
  protected:
    MemoryChoices() {
        settings_.model.family = std::get<0>(GetParam());
        const auto tiny = settings_.model.family == FamilyName::mimicmotion ? golden::mimicmotion() : golden::musepose();
        settings_.model.path = tiny / "model";
        settings_.model.dtype = Dtype::bf16;  // not that of the files, so that nothing is mapped
        settings_.video = {.width = width, .height = height};
        settings_.device.kind = DeviceKind::cpu;
        Mistakes mistakes;
        model_ = open_model(settings_, mistakes);
        mistakes.throw_if_any("in a test:");
        clip_.num_frames = clip_.num_latents = frames;
        clip_.slices.resize(1);
        clip_.slices.front().frames.resize(frames);
        std::iota(clip_.slices.front().frames.begin(), clip_.slices.front().frames.end(), 0);
        device_ = open_device(settings_.device);
    }

    [[nodiscard]] std::unique_ptr<Family> family() const {
        auto made = model_->for_clip(settings_, clip_, device_, [](const std::vector<std::int64_t>& some) {
            auto maps = at::zeros({static_cast<std::int64_t>(some.size()), height, width, 3}, at::kByte);
            for (std::size_t i = 0; i < some.size(); ++i) maps[static_cast<std::int64_t>(i)].fill_(10 * some[i]);
            return maps;
        });
        made->encode(at::arange(height * width * 3, at::kLong).remainder(251).to(at::kByte).view({height, width, 3}));
        return made;
    }

    [[nodiscard]] at::Tensor pass(Family& family, Branch branch) const {
        auto state = family.begin({.branch = branch}, family.initial_latents(clip_.slices.front().frames) / 700.0, clip_.slices.front().frames);
        for (const auto& piece : family.layout().shape.pieces) family.run(static_cast<std::size_t>(piece.unit), state, piece.slots);
        return family.finish(state);
    }

    Settings settings_;
    std::unique_ptr<Model> model_;
    plan::Plan clip_;
    ComputeDevice device_;
};

TEST_P(MemoryChoices, KeepTheBitsWithinWhatThePlanSays) {
    const auto& wish = std::get<1>(GetParam());
    const plan::MemoryChoice choice{.keep_pose_features = wish.keep_pose_features, .remake_first_skip = wish.remake_first_skip};
    const auto shape = model_->shape(settings_, frames, frames, c10::kCPU, choice).pass;
    const std::vector<bool> all(shape.units.size(), true);
    const std::vector pieces{plan::PieceRange{0, shape.num_pieces()}};
    const plan::Route whole{{{pieces.front(), 0}}, 1};
    const auto conditional = plan::leg_bytes(shape, whole, 0, Branch::conditional);
    const auto unconditional = plan::leg_bytes(shape, whole, 0, Branch::unconditional);
    std::vector<std::int64_t> beside;
    for (std::size_t unit = 0; unit < all.size(); ++unit)
        beside.push_back(std::max({conditional.units[unit], unconditional.units[unit], conditional.start, unconditional.start}));
    plan::WeightWindows windows;
    std::vector<std::int64_t> streamed(all.size());
    if (wish.window > 0) {
        const auto bytes = static_cast<std::int64_t>(wish.window * static_cast<double>(shape.weight_bytes(pieces)));
        windows.chosen = plan::weight_window(shape, all, beside, bytes, plan::Pool::shared);
        streamed = windows.chosen->held_bytes();
    }
    const auto plain = family();
    plain->load_denoiser();
    std::vector<at::Tensor> wanted;
    for (const auto branch : {Branch::unconditional, Branch::conditional}) wanted.push_back(pass(*plain, branch));
    plain->drop_denoiser();

    const auto chosen = family();
    const auto before = meter::current();
    chosen->load_denoiser(all, choice, windows);
    double most = 0;  // of what is predicted: features that are kept are made in the first pass, and a window fills in its time
    for (const int repeat : {0, 1})
        for (const auto branch : {Branch::unconditional, Branch::conditional}) {
            meter::begin_phase("pass");
            EXPECT_TRUE(at::equal(pass(*chosen, branch), wanted.at(static_cast<std::size_t>(branch)))) << "pass " << repeat;
            const auto peak = meter::phases().back().peak - before;
            const auto weights = windows.chosen ? shape.kept_bytes(pieces) : shape.weight_bytes(pieces);
            const auto latents = 3 * frames * 4 * (height / 8) * (width / 8) * 4;  // as this test makes them
            std::int64_t most_in_units = 0;
            for (std::size_t unit = 0; unit < beside.size(); ++unit) most_in_units = std::max(most_in_units, beside[unit] + streamed[unit]);
            const auto predicted = most_in_units + weights + latents + (choice.keep_pose_features ? shape.pose_bytes : 0);
            EXPECT_LE(peak, predicted) << "pass " << repeat;
            most = std::max(most, static_cast<double>(peak) / static_cast<double>(predicted));
        }
    meter::begin_phase("");
    EXPECT_GE(most, windows.chosen ? 0.6 : 0.95);
    EXPECT_EQ(chosen->stream_times().has_value(), windows.chosen.has_value());
    if (const auto times = chosen->stream_times()) {
        EXPECT_GT(times->bytes, shape.weight_bytes(pieces) / 2);
    }
    chosen->drop_denoiser();
    EXPECT_EQ(meter::current(), before);
}

INSTANTIATE_TEST_SUITE_P(Families, MemoryChoices,
                         testing::Combine(testing::Values(FamilyName::mimicmotion, FamilyName::musepose),
                                          testing::Values(Choice{"kept_features", true}, Choice{"remade_skip", false, true},
                                                          Choice{"small_window", false, false, 1e-9}, Choice{"half_of_the_weights", true, false, 0.5},
                                                          Choice{"all_weights", false, true, 1.5}, Choice{"least_of_all", false, true, 1e-9})),
                         [](const auto& row) {
                             return cat(std::get<0>(row.param) == FamilyName::mimicmotion ? "mimicmotion_" : "musepose_", std::get<1>(row.param).name);
                         });

}  // namespace
}  // namespace weft::model

// A rehearsal tells what a run holds: the same numbers as the meter, piece by piece.
#include "device/rehearsal.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/open_model.hpp"
#include "plan/memory.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <numeric>
#include <ostream>

namespace weft::model {
namespace {

struct Sample {
    const char* name;
    FamilyName family;
    std::int64_t width, height, frames;
    Dtype dtype = Dtype::fp32;
    std::int64_t chunk = 2;
};

void PrintTo(const Sample& sample, std::ostream* out) {
    *out << sample.name;
}

std::int64_t measured_peak(const auto& work) {
    meter::begin_phase("test");
    work();
    const auto peak = meter::phases().back().peak;
    meter::begin_phase("");
    return peak;
}

class Rehearsed : public testing::TestWithParam<Sample> {
  protected:
    static void expect_enough(const std::string& what, std::int64_t predicted, std::int64_t measured) {
        EXPECT_GE(static_cast<double>(predicted), 0.99 * static_cast<double>(measured)) << what << ": predicted " << predicted << ", measured " << measured;
    }
    static void expect_near(const std::string& what, std::int64_t predicted, std::int64_t measured) {
        expect_enough(what, predicted, measured);
        EXPECT_LE(static_cast<double>(predicted), 1.05 * static_cast<double>(measured)) << what << ": predicted " << predicted << ", measured " << measured;
    }
};

TEST_P(Rehearsed, PeaksAreTheMeters) {
    const auto& sample = GetParam();
    Settings settings;
    settings.model.family = sample.family;
    settings.model.path = (sample.family == FamilyName::mimicmotion ? golden::mimicmotion() : golden::musepose()) / "model";
    settings.model.dtype = settings.decode.dtype = sample.dtype;
    settings.video = {.width = sample.width, .height = sample.height};
    settings.decode.chunk = sample.chunk;
    settings.device.kind = DeviceKind::cpu;
    Mistakes mistakes;
    const auto model = open_model(settings, mistakes);
    mistakes.throw_if_any("in a test:");
    const auto device = open_device(settings.device);
    const auto shape = model->shape(settings, sample.chunk, sample.frames, c10::kCPU);

    plan::Plan clip;
    clip.num_frames = clip.num_latents = sample.frames;
    clip.slices.resize(1);
    auto& frames = clip.slices.front().frames;
    frames.resize(static_cast<std::size_t>(sample.frames));
    std::iota(frames.begin(), frames.end(), 0);
    const auto maps = [&](const std::vector<std::int64_t>& some) {
        return at::zeros({static_cast<std::int64_t>(some.size()), sample.height, sample.width, 3}, at::kByte);
    };
    const auto family = model->for_clip(settings, clip, device, maps);
    const auto picture = at::zeros({sample.height, sample.width, 3}, at::kByte);
    const auto idle = meter::current();
    expect_near("encode", shape.encode, measured_peak([&] { family->encode(picture); }) - idle);
    EXPECT_EQ(meter::current() - idle, shape.pass.conditioning_bytes);

    const auto encoded = meter::current();
    family->load_denoiser();
    EXPECT_EQ(meter::current() - encoded, shape.pass.weight_bytes({{0, shape.pass.num_pieces()}}));
    const auto loaded = meter::current();
    for (const auto branch : {Branch::unconditional, Branch::conditional}) {
        const auto b = static_cast<std::size_t>(branch);
        PassState state;
        const auto latents = [&] { return at::zeros({sample.frames, 4, sample.height / 8, sample.width / 8}); };
        expect_enough("begin", shape.pass.begin[b], measured_peak([&] { state = family->begin({.branch = branch}, latents(), frames); }) - loaded);
        std::int64_t most = 0;
        for (const auto& piece : shape.pass.pieces) {
            const auto before = meter::current();
            const auto& unit = *family->units()[static_cast<std::size_t>(piece.unit)];
            const auto peak = measured_peak([&] { family->run(static_cast<std::size_t>(piece.unit), state, piece.slots); });
            expect_enough(unit.name(), piece.working[b], peak - before);
            most = std::max(most, peak - loaded);
        }
        static_cast<void>(family->finish(state));
        const plan::Route whole{{{{0, shape.pass.num_pieces()}, 0}}, 1};
        expect_near("pass", std::max(std::ranges::max(plan::leg_bytes(shape.pass, whole, 0, branch).units), shape.pass.begin[b]), most);
    }
    family->drop_denoiser();
    const auto undenoised = meter::current();
    at::Tensor kept;
    for (const bool remakes : {false, true}) {
        at::Tensor decoded;
        const auto peak = measured_peak([&] {
            family->load_decoder({.remake_in_decoder = remakes});
            decoded = family->decode(0.1 * at::arange(sample.chunk * 4 * sample.height * sample.width / 64, at::kFloat)
                                               .sin()
                                               .view({sample.chunk, 4, sample.height / 8, sample.width / 8}));
        });
        family->drop_decoder();
        const auto predicted = remakes ? shape.decode.remade : shape.decode.kept;
        expect_near(remakes ? "decode, made again" : "decode", predicted, peak - undenoised - (remakes ? static_cast<std::int64_t>(kept.nbytes()) : 0));
        if (remakes) {
            EXPECT_TRUE(at::equal(decoded, kept));
        } else {
            kept = decoded;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Samples, Rehearsed,
                         testing::Values(Sample{"mimicmotion_fp32", FamilyName::mimicmotion, 128, 192, 10},
                                         Sample{"musepose_fp32", FamilyName::musepose, 128, 192, 10},
                                         Sample{"mimicmotion_bf16", FamilyName::mimicmotion, 128, 128, 7, Dtype::bf16, 4},
                                         Sample{"musepose_bf16", FamilyName::musepose, 128, 128, 7, Dtype::bf16, 1}),
                         [](const auto& sample) { return sample.param.name; });

}  // namespace
}  // namespace weft::model

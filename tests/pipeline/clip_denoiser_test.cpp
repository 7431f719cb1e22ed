#include "pipeline/clip_denoiser.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/pictures.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <variant>

namespace weft::pipeline {
namespace {

using model::mimicmotion::ClipSettings;

/// A golden case's job, run by the plan's own program.
struct GoldenJob {
    explicit GoldenJob(const std::string& name) : wanted{golden::read_case(name)}, folder{golden::tiny_model()} {
        const auto& given = wanted.facts.at("parameters");
        settings.video = {.width = given.at("width"), .height = given.at("height")};
        settings.sampling.steps = given.at("num_inference_steps");
        settings.sampling.guidance = {given.at("min_guidance_scale"), given.at("max_guidance_scale")};
        settings.slices.length = given.at("tile_size");
        settings.slices.overlap = given.at("tile_overlap");
        settings.decode.chunk = given.at("decode_chunk_size");
        clip.height = settings.video.height;
        clip.width = settings.video.width;
        clip.num_frames = given.at("num_frames");
        clip.steps = settings.sampling.steps;
        clip.seed = given.at("seed");
        clip.noise_aug = given.at("noise_aug_strength");
        clip.fps = given.at("fps");
        clip.motion_bucket = given.at("motion_bucket_id");
        clip.slice_length = plan::slots_of(settings, clip.num_frames - 1);
        plan = plan::make_plan(settings, clip.num_frames - 1, {.latent_channels = folder.config().vae.latent_channels, .pass = family_alone()->layout().shape});
    }

    std::unique_ptr<model::Family> family_alone() const {
        return model::mimicmotion::make_mimicmotion(folder, clip, ComputeDevice{}, [this](const std::vector<std::int64_t>& frames) {
            return wanted.recorded.at("poses_u8").index_select(0, at::tensor(frames, at::kLong));
        });
    }

    std::unique_ptr<model::Family> family() const {
        auto made = family_alone();
        made->encode(wanted.recorded.at("reference_u8"));
        return made;
    }

    std::vector<std::int64_t> all_frames() const {
        std::vector<std::int64_t> frames(static_cast<std::size_t>(clip.num_frames));
        std::iota(frames.begin(), frames.end(), 0);
        return frames;
    }

    golden::Case wanted;
    model::mimicmotion::ModelFolder folder;
    Settings settings;
    ClipSettings clip;
    plan::Plan plan;
};

class ClipDenoiserGolden : public testing::TestWithParam<const char*> {};

TEST_P(ClipDenoiserGolden, LatentsAfterEveryRecordedStepAreAsRecorded) {
    const GoldenJob job(GetParam());
    const auto family = job.family();
    auto latents = family->initial_latents(job.all_frames());
    family->load_denoiser();
    comm::Pulse pulse;
    Trace trace;
    ClipDenoiser denoiser(*family, job.plan, plan::writer, latents, job.settings.sampling.guidance, pulse, trace);
    const auto programs = plan::compile(job.plan, 0);
    for (const auto& operation : programs.front()) {
        if (const auto* compute = std::get_if<plan::Compute>(&operation)) denoiser.compute(compute->task);
        const auto* const advance = std::get_if<plan::Advance>(&operation);
        if (advance == nullptr) continue;
        denoiser.advance(*advance);
        const auto found = job.wanted.recorded.find(cat("step", advance->step, ".latents"));
        if (found == job.wanted.recorded.end()) {  // the committed part leaves out steps in the middle
            ASSERT_LT(advance->step, job.plan.steps - 1);
            continue;
        }
        const auto difference = (denoiser.kept_latents() - found->second[0]).abs().max().item<double>();
        EXPECT_LE(difference, 1e-4 * found->second.abs().max().item<double>()) << "step " << advance->step;
    }
}

TEST(ClipDenoiserNumbers, ThatAreNotFiniteStopTheJobWithTheStep) {
    const GoldenJob job("single");
    const auto family = job.family();
    family->load_denoiser();
    comm::Pulse pulse;
    Trace trace;
    const auto beyond = family->initial_latents(job.all_frames()) * 1e38;
    ClipDenoiser denoiser(*family, job.plan, plan::writer, beyond, job.settings.sampling.guidance, pulse, trace);
    const auto run = [&] {
        const auto programs = plan::compile(job.plan, 0);
        for (const auto& operation : programs.front()) {
            if (const auto* compute = std::get_if<plan::Compute>(&operation)) denoiser.compute(compute->task);
            if (const auto* advance = std::get_if<plan::Advance>(&operation)) denoiser.advance(*advance);
        }
    };
    EXPECT_THAT(run, testing::ThrowsMessage<Error>(testing::HasSubstr("step 1: latents with numbers that are not finite")));
}

INSTANTIATE_TEST_SUITE_P(Cases, ClipDenoiserGolden, testing::Values("ramp", "single"), [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace weft::pipeline

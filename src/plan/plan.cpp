#include "plan/plan.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::plan {

Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape) {
    Plan plan;
    plan.num_frames = num_poses + 1;
    plan.latent_channels = shape.latent_channels;
    plan.latent_height = settings.video.height / 8;
    plan.latent_width = settings.video.width / 8;
    plan.slices = make_slices(plan.num_frames, settings.slices.length, settings.slices.overlap);
    plan.guided = std::max(settings.sampling.guidance[0], settings.sampling.guidance[1]) > 1.0;
    plan.steps = settings.sampling.steps;
    plan.num_units = shape.num_units;
    plan.decode = decode_chunks(plan.num_frames, settings.decode.chunk);
    return plan;
}

Program make_program(const Plan& plan, std::int64_t first_step) {
    Program program;
    const UnitRange all{0, plan.num_units};
    for (std::int64_t step = first_step; step < plan.steps; ++step) {
        for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan.slices.size()); ++slice) {
            if (plan.guided) program.push_back(Compute{{{step, slice, Branch::unconditional}, all, 0}});
            program.push_back(Compute{{{step, slice, Branch::conditional}, all, 0}});
        }
        program.push_back(Advance{step, {0, plan.num_frames}});
        program.push_back(Save{step + 1});
    }
    return program;
}

namespace {
std::string slice_text(const Slice& slice) {
    if (slice.frames.size() < 2) return "0";
    return cat("0, ", slice.frames[1], "-", slice.frames.back());
}
}  // namespace

std::string describe(const Plan& plan) {
    std::string text = cat("clip      ", plan.num_frames, " frames (the reference and ", plan.num_frames - 1, " poses), latents ", plan.latent_channels, " x ",
                           plan.latent_height, " x ", plan.latent_width, ", ", human_bytes(plan.latent_bytes()), "\n");
    text += cat("slices    ", plan.slices.size(), " of ", plan.slices.front().frames.size(), " frames:");
    for (std::size_t i = 0; i < plan.slices.size(); ++i) {
        if (plan.slices.size() > 8 && i >= 6 && i + 2 < plan.slices.size()) {
            if (i == 6) text += " ...";
            continue;
        }
        text += cat(" [", slice_text(plan.slices[i]), "]");
    }
    text += cat("\npasses    ", plan.passes_a_step(), " a step (", plan.guided ? "two branches a slice" : "conditional branch only", "), ", plan.steps,
                " steps, ", plan.passes_a_step() * plan.steps, " in all, ", plan.num_units, " units each\n");
    text += cat("decode    ", plan.decode.size(), " chunks of at most ", plan.decode.front().size(), " frames\n");
    return text;
}

std::string to_toml(const Plan& plan) {
    std::string text = cat("[plan]\nranks = 1\nlayout = \"whole\"\nnum_frames = ", plan.num_frames, "\nsteps = ", plan.steps,
                           "\npasses_a_step = ", plan.passes_a_step(), "\nunits = ", plan.num_units, "\ndecode_chunks = ", plan.decode.size(), "\nslices = [");
    for (const auto& slice : plan.slices) text += cat("\n  [", join(slice.frames), "],");
    return text + "\n]\n";
}

}  // namespace weft::plan

#include "gpu/whole_job.hpp"

#include "base/stopwatch.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "model/open_model.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/once_more.hpp"
#include "pipeline/workbench.hpp"
#include "plan/memory.hpp"

#include <ATen/ATen.h>

#include <limits>

namespace weft::pipeline {

namespace {
std::int64_t bytes_in_use(const ComputeDevice& device) {
    if (!device.is_cuda()) return 0;
    const auto facts = cuda::facts(device.torch.index());
    return facts.total_bytes - facts.free_bytes;
}
}  // namespace

JobBench::JobBench(const Settings& settings, const ComputeDevice& device) : device_{device} {
    Mistakes mistakes;
    check_settings(settings, mistakes);
    model_ = model::open_model(settings, mistakes);
    mistakes.throw_if_any("the model does not open:");
}

WholeJob JobBench::run(const Settings& settings, const ClipInputs& inputs, const RunOptions& options) const {
    constexpr auto no_limit = std::numeric_limits<std::int64_t>::max() / 2;
    const auto plan = plan_one_slice(*model_, settings, device_.kind(), options.choice);
    auto planned = plan::rank_memory(plan, plan::writer);
    if (options.side_by_side) planned.denoise.tensors += plan.shape.more_bytes;
    const auto limited = plan_one_slice(*model_, settings, device_.kind(), options.limit.value_or(options.choice));
    const auto limits = plan::rank_memory(limited, plan::writer);
    WholeJob job{.slow_down = plan::slow_down(plan)};
    const auto phase = [&](plan::PhaseMemory plan::RankMemory::*which, const auto& work) {
        const auto& foreseen = planned.*which;
        release_caches();
        meter::set_limit(options.limit ? plan::allocator_limit((limits.*which).total, limited) : no_limit);
        meter::begin_phase(foreseen.name);
        const Stopwatch watch;
        work();
        cuda::synchronize();
        job.phases.push_back({.name = foreseen.name,
                              .planned_tensors = foreseen.tensors,
                              .planned_total = foreseen.total,
                              .tensors = meter::phases().back().peak,
                              .reserved = cuda::reserved_bytes(),
                              .device = bytes_in_use(device_),
                              .seconds = watch.seconds()});
    };
    const auto family = model_->for_clip(settings, plan, device_,
                                         [&](const std::vector<std::int64_t>& frames) { return inputs.maps.index_select(0, at::tensor(frames, at::kLong)); });
    phase(&plan::RankMemory::encode, [&] { family->encode(inputs.reference); });
    phase(&plan::RankMemory::denoise, [&] {
        load_denoiser(*family, plan, plan::writer);
        comm::Pulse pulse;
        Trace trace;
        ClipDenoiser denoiser(*family, plan, plan::writer, family->initial_latents(clip_frames(plan.num_frames)), settings.sampling.guidance, pulse, trace);
        if (options.side_by_side)
            denoiser.run_side_by_side(Batches(
                {.first = 0, .more = 1, .limit = no_limit}, [=] { return no_limit; }, [](const std::string&) {}));
        for (std::int64_t step = 0; step < settings.sampling.steps; ++step) {
            const Stopwatch watch;
            for (const auto branch : plan.deal.branches()) denoiser.compute({{step, 0, branch}, {0, plan.shape.num_pieces()}, 0});
            denoiser.advance({step, plan.kept(plan::writer)});
            cuda::synchronize();
            job.step_seconds.push_back(watch.seconds());
        }
        job.latents = denoiser.kept_latents().cpu().clone();
        job.stream = family->stream_times();
    });
    family->drop_denoiser();
    std::vector<at::Tensor> frames;
    phase(&plan::RankMemory::decode, [&] {
        family->load_decoder(plan.memory);
        for (const auto& chunk : plan.decode)
            if (frames.size() < options.chunks)
                frames.push_back(once_more(
                    "decoding", [&] { family->relieve(); }, [&] { return family->decode(job.latents.narrow(0, chunk.begin, chunk.size())).cpu(); }));
    });
    family->drop_decoder();
    job.frames = at::cat(frames);
    meter::set_limit(no_limit);
    return job;
}

}  // namespace weft::pipeline

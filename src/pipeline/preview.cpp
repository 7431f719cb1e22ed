#include "pipeline/preview.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "model/open_model.hpp"
#include "pipeline/alternatives.hpp"
#include "pipeline/fit.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/unit_times.hpp"
#include "plan/plan.hpp"

namespace weft::pipeline {

namespace {
/// The network's type on this machine, without opening a device.
Dtype network_dtype(const Settings& settings) {
    if (settings.model.dtype != Dtype::automatic) return settings.model.dtype;
    const bool has_gpu = settings.device.kind == DeviceKind::cuda || (settings.device.kind == DeviceKind::automatic && cuda::device_count() > 0);
    return has_gpu ? Dtype::fp16 : Dtype::fp32;
}

std::string memory_text(const plan::Plan& plan, std::optional<std::int64_t> budget) {
    const auto phase_text = [](const plan::PhaseMemory& phase) { return cat(phase.name, " ", phase.total > 0 ? human_bytes(phase.total) : "nothing"); };
    std::string text;
    std::string before;
    for (int rank = 0; rank < plan.num_ranks(); ++rank) {
        const auto memory = plan::rank_memory(plan, rank);
        auto line = cat(phase_text(memory.encode), ", ", phase_text(memory.denoise), ", ", phase_text(memory.decode));
        if (memory.denoise.total > 0)
            line += cat("; denoising: weights ", human_bytes(memory.weights), ", pass ", human_bytes(memory.activations), ", slots ", human_bytes(memory.slots),
                        ", latents ", human_bytes(memory.latents), ", of the encoders ", human_bytes(memory.conditioning));
        if (line == before) continue;  // as of the rank before
        text += cat(plan.num_ranks() > 1 ? cat("memory ", rank, std::string(rank < 10 ? 2 : 1, ' ')) : "memory    ", line, "\n");
        before = std::move(line);
    }
    const auto table = plan::device_table(plan.on_gpu);
    text += cat("choices   ", choice_text(plan), "; passes take ", fixed(plan::slow_down(plan), 3), " of their time without (modelled)\n");
    if (plan.on_gpu)
        text += cat("table     GPUs take ", human_bytes(table.base_bytes), " for context and libraries beside tensors, and ", human_bytes(table.slack_bytes),
                    " and ", fixed(100 * table.slack, 0), " % of them for their allocator; measured on an H100\n");
    if (budget && plan.shape.more_bytes > 0) {
        std::int64_t most = 0;
        for (int rank = 0; rank < plan.num_ranks(); ++rank) most = std::max(most, plan::rank_memory(plan, rank).denoise.tensors);
        const auto beside = std::max<std::int64_t>(0, (plan::tensors_within(*budget, plan) - most) / plan.shape.more_bytes);
        text += cat("free      of the ", plan.passes_a_step(), " passes of a step, each rank may run ", std::min(1 + beside, plan.passes_a_step()),
                    " side by side; each beside the first takes ", human_bytes(plan.shape.more_bytes), "\n");
    }
    return text;
}

/// The job of a request, and what is told of it.
struct Previewed {
    std::unique_ptr<model::Model> model;
    UnitTimes times;
    FitRequest wanted;
    std::string costs, budget_name;

    explicit Previewed(const PreviewRequest& request) : model{open(request.settings)}, wanted{.model = *model, .weigh = {}, .budget = {}} {
        const auto dtype = network_dtype(request.settings);
        const bool on_gpu = dtype == Dtype::fp16 || request.settings.device.kind == DeviceKind::cuda;
        costs = "modelled: FLOPs at the rates that src/model/model.hpp assumes; measure them with weft bench units and give the file by --costs";
        if (!request.costs.empty()) {
            const auto text = read_unit_times(request.costs);
            if (text.empty()) refuse(cat("--costs ", request.costs.string(), ": there is no such file, or it is empty"));
            times = parse_unit_times(text);
            costs = cat("measured: ", request.costs.string());
        }
        wanted.settings = request.settings;
        wanted.settings.model.dtype = dtype;
        wanted.num_poses = request.poses ? *request.poses : count_poses(request.settings);
        wanted.picture_pixels = request.poses ? request.settings.video.width * request.settings.video.height : count_pixels(request.settings);
        wanted.num_ranks = request.num_ranks;
        wanted.links = request.links.value_or(plan::Links{.local_bytes_s = on_gpu ? plan::nccl_bytes_s : plan::Links{}.local_bytes_s});
        wanted.kind = on_gpu ? c10::kCUDA : c10::kCPU;
        if (!times.empty()) wanted.weigh = [this](plan::PassShape shape) { return with_unit_times(std::move(shape), times); };
        wanted.budget = request.memory;
        budget_name = request.memory ? cat("--memory ", human_bytes(*request.memory)) : "";
        if (request.memory || request.settings.memory.budget == "auto") return;
        wanted.budget = parse_bytes(request.settings.memory.budget);
        budget_name = cat("memory.budget = ", in_quotes(request.settings.memory.budget));
    }
    Previewed(const Previewed&) = delete;
    Previewed& operator=(const Previewed&) = delete;

  private:
    static std::unique_ptr<model::Model> open(const Settings& settings) {
        Mistakes mistakes;
        auto model = model::open_model(settings, mistakes, model::Need::configs);
        mistakes.throw_if_any("weft plan cannot go on:");
        return model;
    }
};

}  // namespace

std::string preview(const PreviewRequest& request) {
    const Previewed job(request);
    const auto fitted = fit(job.wanted);
    if (!fitted.fits) throw does_not_fit(job.wanted, fitted, job.budget_name);
    auto text = plan::describe(fitted.plan);
    text += cat("costs     ", job.costs, "\n");
    text += cat("types     network ", name_of(job.wanted.settings.model.dtype),
                request.settings.model.dtype == Dtype::automatic ? " (what \"auto\" means here)" : "", ", latents fp32\n");
    text += memory_text(fitted.plan, job.wanted.budget);
    if (job.wanted.budget)
        text += cat("largest   ", join(largest_that_fit(job.wanted), "; "), ": each alone, of what fits into ", human_bytes(*job.wanted.budget), "\n");
    return text;
}

std::string card_table(const PreviewRequest& request, const std::vector<std::int64_t>& cards) {
    constexpr double usable = 0.95;  // memory.budget = "auto" leaves the rest to others
    const Previewed job(request);
    const auto gigabytes = [](std::int64_t bytes) { return cat(fixed(static_cast<double>(bytes) / 1e9, 2), " GB"); };
    std::vector<std::pair<std::vector<std::int64_t>, std::string>> rows;  // cards that do the same
    for (const auto card : cards) {
        auto wanted = job.wanted;
        wanted.budget = static_cast<std::int64_t>(usable * 1e9) * card;
        const auto fitted = fit(wanted);
        const auto memory = plan::rank_memory(fitted.plan, fitted.fullest.rank);
        const auto row = cat(gigabytes(memory.encode.total), " | ", gigabytes(memory.denoise.total), " | ", gigabytes(memory.decode.total), " | ",
                             fitted.fits ? fixed(fitted.slow_down, 3) : "-", " | ", fitted.fits ? choice_text(fitted.plan) : "does not fit");
        if (rows.empty() || rows.back().second != row) rows.emplace_back(std::vector<std::int64_t>{}, row);
        rows.back().first.push_back(card);
    }
    std::string text = "| card, GB | encode | denoise | decode | time | chosen |\n|---|---|---|---|---|---|\n";
    for (const auto& [same, row] : rows) text += cat("| ", join(same), " | ", row, " |\n");
    return text;
}

}  // namespace weft::pipeline

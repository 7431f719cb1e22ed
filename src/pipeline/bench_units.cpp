#include "base/text.hpp"
#include "device/cuda.hpp"
#include "pipeline/bench.hpp"
#include "pipeline/workbench.hpp"

#include <algorithm>
#include <chrono>
#include <iomanip>
#include <sstream>

namespace weft::pipeline {

UnitReport bench_units(const Settings& settings, int repeats) {
    Mistakes mistakes;
    const auto bench = open_workbench(settings, mistakes, "weft bench units");
    const auto& [device, model, plan, family] = bench;
    const auto frames = settings.slices.length;
    family->encode(made_up(1, settings.video.height, settings.video.width)[0]);
    family->load_denoiser();
    const auto latents = family->initial_latents(clip_frames(frames));
    UnitReport report{.what = cat(device.description, "; ", frames, " frames of ", settings.video.width, "x", settings.video.height, ", ",
                                  dtype_name(resolve_dtype(settings.model.dtype, device, "model.dtype"))),
                      .path = unit_times_path(settings, device),
                      .times = {},
                      .modelled = plan.shape};
    for (int repeat = 0; repeat <= repeats; ++repeat)
        for (const auto branch : {plan::Branch::unconditional, plan::Branch::conditional}) {
            auto state = family->begin({0, 0, branch}, latents, clip_frames(frames));
            cuda::synchronize();
            for (const auto& unit : family->units()) {
                const auto start = std::chrono::steady_clock::now();
                unit->run(state, model::all_slots(state));
                cuda::synchronize();
                const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
                auto& time = report.times.try_emplace(unit->name()).first->second[static_cast<std::size_t>(branch)];
                if (repeat > 0) time = repeat == 1 ? seconds : std::min(time, seconds);
            }
            static_cast<void>(family->finish(state));
        }
    family->drop_denoiser();
    return report;
}

std::string as_table(const UnitReport& report) {
    std::ostringstream out;
    out << report.what << "\nunit                                                       unconditional   conditional s   share %   modelled %\n";
    double all = 0;
    for (const auto& [name, seconds] : report.times) all += seconds[0] + seconds[1];
    const auto modelled = report.modelled.cost();
    for (std::size_t unit = 0; unit < report.modelled.units.size(); ++unit) {
        const auto& name = report.modelled.units[unit].name;
        const auto& seconds = report.times.at(name);
        std::int64_t cost = 0;
        for (const auto& piece : report.modelled.pieces)
            if (piece.unit == static_cast<std::int64_t>(unit)) cost += piece.cost[0] + piece.cost[1];
        out << std::left << std::setw(58) << name << std::right << std::setw(14) << fixed(seconds[0], 5) << std::setw(16) << fixed(seconds[1], 5)
            << std::setw(10) << fixed(100 * (seconds[0] + seconds[1]) / all, 2) << std::setw(13)
            << fixed(100 * static_cast<double>(cost) / static_cast<double>(modelled[0] + modelled[1]), 2) << "\n";
    }
    return std::move(out).str();
}

}  // namespace weft::pipeline

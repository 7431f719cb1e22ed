#include "pipeline/bench.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/device.hpp"
#include "device/meter.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/workbench.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <functional>
#include <iomanip>
#include <set>
#include <sstream>

namespace weft::pipeline {

namespace {

double median_of(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    const auto middle = values.size() / 2;
    return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

BenchRow measure(const std::string& piece, std::int64_t frames, const BenchRequest& request, const std::function<void()>& work) {
    BenchRow row{.piece = piece, .frames = frames};
    for (int i = 0; i < request.warm_up; ++i) work();
    cuda::synchronize();
    meter::begin_phase(piece);
    for (int i = 0; i < request.repeats; ++i) {
        const auto start = std::chrono::steady_clock::now();
        const auto cpu = std::clock();
        work();
        cuda::synchronize();
        row.seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        row.cpu_seconds.push_back(static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC);
    }
    row.peak_bytes = meter::phases().back().peak;
    row.weight_bytes = meter::current(Owner::weights);
    row.resident_anonymous = host_memory().resident_anonymous;
    return row;
}

}  // namespace

double BenchRow::median() const {
    return median_of(seconds);
}

double BenchRow::median_cpu() const {
    return median_of(cpu_seconds);
}

BenchReport run_bench(const BenchRequest& request) {
    const auto& settings = request.settings;
    Mistakes mistakes;
    static const std::set<std::string> known{"encode", "pass", "step", "decode"};
    for (const auto& piece : request.pieces)
        if (!known.contains(piece)) mistakes.add("weft bench", piece, "must be encode, pass, step or decode");
    if (request.repeats < 1) mistakes.add("--repeats", cat(request.repeats), "must be at least 1");
    const auto bench = open_workbench(settings, mistakes, "weft bench");
    const auto& [device, model, plan, family] = bench;
    const auto frames = settings.slices.length;
    const auto wanted = [&](const char* piece) { return std::find(request.pieces.begin(), request.pieces.end(), piece) != request.pieces.end(); };

    BenchReport report{.device = device.description,
                       .shape = cat(frames, " frames of ", settings.video.width, "x", settings.video.height, ", ",
                                    dtype_name(resolve_dtype(settings.model.dtype, device, "model.dtype")), ", decode chunk ", settings.decode.chunk),
                       .rows = {}};
    const auto picture = made_up(1, settings.video.height, settings.video.width)[0];
    if (wanted("encode"))
        report.rows.push_back(measure("encode", 1, request, [&] { family->encode(picture); }));
    else if (wanted("pass") || wanted("step"))
        family->encode(picture);
    if (wanted("pass") || wanted("step")) {
        family->load_denoiser();
        comm::Pulse pulse;
        Trace no_trace;
        ClipDenoiser denoiser(*family, plan, plan::writer, family->initial_latents(clip_frames(plan.num_frames)), settings.sampling.guidance, pulse, no_trace);
        const auto all = plan.kept(plan::writer);
        const auto pass = [&](plan::Branch branch) { denoiser.compute({{0, 0, branch}, {0, plan.shape.num_pieces()}, 0}); };
        if (wanted("pass"))
            report.rows.push_back(measure("pass", frames, request, [&] {
                pass(plan::Branch::conditional);
                denoiser.forget_predictions();
            }));
        if (wanted("step"))
            report.rows.push_back(measure("step", frames, request, [&] {
                if (plan.guided) pass(plan::Branch::unconditional);
                pass(plan::Branch::conditional);
                denoiser.advance({0, all});
            }));
        family->drop_denoiser();
    }
    if (wanted("decode")) {
        family->load_decoder();
        const auto latents = family->initial_latents(clip_frames(plan.decode.front().size())) / 700.0;
        report.rows.push_back(measure("decode", plan.decode.front().size(), request, [&] { static_cast<void>(family->decode(latents)); }));
        family->drop_decoder();
    }
    return report;
}

std::string as_table(const BenchReport& report) {
    std::ostringstream out;
    out << report.device << "; " << report.shape << "\n";
    out << "piece     frames   median s      min s      max s      CPU s   peak tensors      weights   RssAnon\n";
    for (const auto& row : report.rows) {
        const auto [low, high] = std::minmax_element(row.seconds.begin(), row.seconds.end());
        out << std::left << std::setw(8) << row.piece << std::right << std::setw(8) << row.frames << std::setw(11) << fixed(row.median(), 4) << std::setw(11)
            << fixed(*low, 4) << std::setw(11) << fixed(*high, 4) << std::setw(11) << fixed(row.median_cpu(), 4) << std::setw(15) << human_bytes(row.peak_bytes)
            << std::setw(13) << human_bytes(row.weight_bytes) << std::setw(10) << human_bytes(row.resident_anonymous) << "\n";
    }
    return std::move(out).str();
}

std::string as_json(const BenchReport& report) {
    nlohmann::ordered_json json{{"device", report.device}, {"shape", report.shape}, {"rows", nlohmann::ordered_json::array()}};
    for (const auto& row : report.rows)
        json["rows"].push_back({{"piece", row.piece},
                                {"frames", row.frames},
                                {"median_s", row.median()},
                                {"median_cpu_s", row.median_cpu()},
                                {"seconds", row.seconds},
                                {"cpu_seconds", row.cpu_seconds},
                                {"peak_bytes", row.peak_bytes},
                                {"weight_bytes", row.weight_bytes},
                                {"resident_anonymous_bytes", row.resident_anonymous}});
    return json.dump(2) + "\n";
}

}  // namespace weft::pipeline

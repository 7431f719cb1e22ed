// Whole jobs of one slice on one device, measured (launch/gpu-check carries it to a bare GPU machine):
//   job_check make FOLDER FAMILY             the published architecture filled with noise, as files (4 to 5 GB)
//   job_check memory    [OPTIONS]            bytes beside those of the plan, and seconds, under every way to need less; the bits must not change
//   job_check precision --inputs FILE [...]  frames in fp16 and bf16 beside those in fp32
// OPTIONS: --device cuda|cpu, --json FILE, --inputs FILE, and settings as table.key=value; without inputs made-up ones.
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "gpu/whole_job.hpp"
#include "io/weight_file.hpp"
#include "model/make_model.hpp"
#include "model/weight_files.hpp"
#include "pipeline/workbench.hpp"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace weft::pipeline {
namespace {

struct Arguments {
    std::string device = "cuda", json, inputs;
    std::vector<std::string> settings;
};

Settings settings_of(const Arguments& arguments, std::vector<std::string> more = {}) {
    auto overrides = arguments.settings;
    overrides.insert(overrides.end(), more.begin(), more.end());
    Mistakes mistakes;
    const auto settings = parse_settings("", "job_check", overrides, mistakes);
    mistakes.throw_if_any("job_check cannot go on:");
    return settings;
}

ClipInputs inputs_of(const Arguments& arguments, const Settings& settings) {
    const auto frames = settings.slices.length;
    if (arguments.inputs.empty())
        return {made_up(1, settings.video.height, settings.video.width)[0], made_up(frames, settings.video.height, settings.video.width)};
    const auto file = std::make_shared<const io::WeightFile>(io::WeightFile::open(arguments.inputs));
    const auto tensor = [&](const char* name) { return model::as_tensor(file->tensors().at(name), file); };
    return {tensor("reference"), tensor("maps").narrow(0, 0, frames)};
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values.empty() ? 0 : values[values.size() / 2];
}

double gb(std::int64_t bytes) {
    return static_cast<double>(bytes) / 1e9;
}

/// Both branches side by side; `alone` is the same job with one after the other.
int check_side_by_side(const Arguments& arguments, const ComputeDevice& device, const WholeJob& alone, nlohmann::ordered_json& rows) {
    const auto settings = settings_of(arguments, {"memory.numerics=free"});
    const auto job = JobBench(settings, device).run(settings, inputs_of(arguments, settings), {.choice = {.keep_pose_features = true}, .side_by_side = true});
    const auto& phase = job.phases.at(1);
    const auto off = ((alone.latents - job.latents).abs().max() / alone.latents.abs().max()).item<double>();
    std::printf("%-22s %-8s %10.3f %11.3f %16.3f %12.3f %10.3f %14s %8.3f  off by %.1e\n", "branches side by side", phase.name.c_str(),
                gb(phase.planned_tensors), gb(phase.tensors), static_cast<double>(phase.planned_tensors) / static_cast<double>(phase.tensors),
                gb(phase.reserved), gb(phase.device), "-", median(job.step_seconds), off);
    rows.push_back({{"way", "branches side by side"},
                    {"phase", phase.name},
                    {"planned_tensors", phase.planned_tensors},
                    {"tensors", phase.tensors},
                    {"step_seconds", job.step_seconds},
                    {"off_by", off}});
    return off < 0.02 ? 0 : 1;
}

/// Every way that the plan knows to need less memory, and one that runs out of it on its way.
int check_memory(const Arguments& arguments, const ComputeDevice& device) {
    const auto settings = settings_of(arguments);
    const JobBench bench(settings, device);
    const auto inputs = inputs_of(arguments, settings);
    constexpr auto least = plan::MemoryChoice::least_window;
    const plan::MemoryChoice smallest{.remake_first_skip = true, .stream_window = least, .remake_in_decoder = true};
    struct Way {
        std::string name;
        plan::MemoryChoice choice;
        plan::MemoryChoice limit;
    };
    std::vector<Way> ways;
    const auto add = [&](const char* name, const plan::MemoryChoice& choice) { ways.push_back({name, choice, choice}); };
    add("features kept", {.keep_pose_features = true});
    add("features made again", {});
    add("first skip made again", {.remake_first_skip = true});
    add("window 500 MB", {.stream_window = 500'000'000});
    add("least of all", smallest);
    ways.push_back({"out of memory", {}, {.stream_window = least, .remake_in_decoder = true}});
    auto rows = nlohmann::ordered_json::array();
    std::optional<WholeJob> first;
    int failures = 0;
    std::printf("way                    phase    planned GB  tensors GB  planned/tensors  reserved GB  device GB  with table GB        s  bits\n");
    for (const auto& way : ways) {
        const auto job = bench.run(settings, inputs, {.choice = way.choice, .limit = way.limit});
        if (!first) first = job;
        const bool same = at::equal(first->latents, job.latents) && at::equal(first->frames, job.frames);
        failures += same ? 0 : 1;
        for (const auto& phase : job.phases) {
            const bool is_denoise = phase.name == "denoise";
            const auto seconds = is_denoise ? median(job.step_seconds) : phase.seconds;
            std::printf("%-22s %-8s %10.3f %11.3f %16.3f %12.3f %10.3f %14.3f %8.3f  %s\n", way.name.c_str(), phase.name.c_str(), gb(phase.planned_tensors),
                        gb(phase.tensors), static_cast<double>(phase.planned_tensors) / static_cast<double>(phase.tensors), gb(phase.reserved),
                        gb(phase.device), gb(phase.planned_total), seconds, same ? "same" : "OTHER");
            rows.push_back({{"way", way.name},
                            {"phase", phase.name},
                            {"planned_tensors", phase.planned_tensors},
                            {"planned_total", phase.planned_total},
                            {"tensors", phase.tensors},
                            {"reserved", phase.reserved},
                            {"device", phase.device},
                            {"seconds", phase.seconds},
                            {"step_seconds", is_denoise ? job.step_seconds : std::vector<double>{}},
                            {"slow_down", job.slow_down},
                            {"same_bits", same}});
        }
        if (job.stream)
            std::printf("%-22s streamed %.2f GB in %.2f s, waited %.2f s; modelled slow-down %.3f\n", way.name.c_str(), gb(job.stream->bytes),
                        job.stream->fetch_seconds, job.stream->waited_seconds, job.slow_down);
        std::fflush(stdout);
    }
    failures += check_side_by_side(arguments, device, *first, rows);
    if (!arguments.json.empty()) write_atomically(arguments.json, rows.dump(1) + "\n");
    return failures == 0 ? 0 : 1;
}

/// Largest and mean difference of bytes, and the peak signal-to-noise ratio.
struct Quality {
    double most = 0, mean = 0, psnr = 0;
};
Quality compare(const at::Tensor& wanted, const at::Tensor& got) {
    const auto levels = [](const at::Tensor& frames) { return (frames * 255.0).round(); };
    const auto off = (levels(wanted) - levels(got)).abs().to(at::kDouble);
    const auto square = off.square().mean().item<double>();
    return {off.max().item<double>(), off.mean().item<double>(), square == 0 ? INFINITY : 10 * std::log10(255.0 * 255.0 / square)};
}

int check_precision(const Arguments& arguments, const ComputeDevice& device) {
    const auto with = [&](const char* dtype, const char* decode_dtype) {
        return settings_of(arguments, {cat("model.dtype=", dtype), cat("decode.dtype=", decode_dtype)});
    };
    const auto exact = with("fp32", "fp32");
    const JobBench bench(exact, device);
    const auto inputs = inputs_of(arguments, exact);
    const RunOptions all{.choice = {}, .limit = {}, .chunks = 1000};
    const auto wanted = bench.run(exact, inputs, all);
    std::vector<std::pair<const char*, const char*>> types{{"bf16", "bf16"}, {"bf16", "fp32"}, {"fp32", "bf16"}};
    if (device.is_cuda()) types.insert(types.begin(), {{"fp16", "fp16"}, {"fp16", "fp32"}, {"fp32", "fp16"}, {"fp16", "bf16"}});
    auto rows = nlohmann::ordered_json::array();
    std::printf("model  decode  largest  mean     PSNR dB  latents off by (of the largest)\n");
    for (const auto& [dtype, decode_dtype] : types) {
        const auto job = bench.run(with(dtype, decode_dtype), inputs, all);
        const auto [most, mean, psnr] = compare(wanted.frames, job.frames);
        const auto latents = ((wanted.latents - job.latents).abs().max() / wanted.latents.abs().max()).item<double>();
        std::printf("%-6s %-7s %7.0f %8.4f %8.2f  %.2e\n", dtype, decode_dtype, most, mean, psnr, latents);
        rows.push_back({{"model", dtype}, {"decode", decode_dtype}, {"largest", most}, {"mean", mean}, {"psnr_db", psnr}, {"latents", latents}});
    }
    if (!arguments.json.empty()) write_atomically(arguments.json, rows.dump(1) + "\n");
    return 0;
}

int run(const std::vector<std::string>& words) {
    const auto usage = [] {
        refuse("job_check make FOLDER FAMILY | memory|precision [--device cuda|cpu] [--json FILE] [--inputs FILE] [table.key=value ...]");
    };
    if (words.empty()) usage();
    if (words[0] == "make" && words.size() == 3) {
        if (words[2] != "musepose" && words[2] != "mimicmotion") usage();
        meter::install();
        model::make_published_model(words[1], words[2] == "musepose" ? FamilyName::musepose : FamilyName::mimicmotion);
        return 0;
    }
    Arguments arguments;
    for (std::size_t i = 1; i < words.size(); ++i) {
        const std::map<std::string, std::string*> known{{"--device", &arguments.device}, {"--json", &arguments.json}, {"--inputs", &arguments.inputs}};
        if (const auto found = known.find(words[i]); found != known.end() && i + 1 < words.size())
            *found->second = words[++i];
        else if (words[i].find('=') != std::string::npos)
            arguments.settings.push_back(words[i]);
        else
            usage();
    }
    const auto device = open_device({.kind = arguments.device == "cuda" ? DeviceKind::cuda : DeviceKind::cpu});
    std::printf("%s\n", device.description.c_str());
    if (words[0] == "memory") return check_memory(arguments, device);
    if (words[0] == "precision") return check_precision(arguments, device);
    usage();
    return 2;
}

}  // namespace
}  // namespace weft::pipeline

int main(int argc, char** argv) {
    try {
        return weft::pipeline::run({argv + 1, argv + argc});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "job_check: %.400s\n", error.what());
        const auto* const ours = dynamic_cast<const weft::Error*>(&error);
        return static_cast<int>(ours != nullptr ? ours->code() : weft::ExitCode::failure);
    }
}

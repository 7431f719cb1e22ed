#include "pipeline/run_start.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

namespace weft::pipeline {

namespace {

std::string output_toml(const Settings& settings) {
    const auto text = to_toml(settings);
    return text.substr(text.find("[output]"));
}

/// What the run file keeps of each start: the plan, and the output settings that a later start compares with.
std::string start_toml(const plan::Plan& plan, const Settings& settings) {
    return output_toml(settings) + "\n" + plan::to_toml(plan);  // in this order, since the run file cuts what is longer than its room
}

[[noreturn]] void refuse_other_job(const std::filesystem::path& path, const io::RunHeader& header, const Numerics& numerics) {
    std::vector<std::string> lines;
    for (const auto& [what, before, now] : differences(facts_of(header.settings), numerics.facts)) lines.push_back(cat(what, ": was ", before, ", is ", now));
    if (lines.empty()) lines.push_back("numerics key: was " + header.numerics_key + ", is " + numerics.key);
    refuse(cat("output.run_file = ", in_quotes(path.string()), " is of another job:\n  ", join(lines, "\n  "),
               "\nGo on with its settings, start anew with --restart, or name another output.run_file."));
}

OpenedRun go_on_with(io::RunFile file, const Settings& settings, const plan::Plan& plan) {
    const bool output_changed = file.header().plan.find(output_toml(settings)) == std::string::npos;
    if (output_changed && file.phase() == io::Phase::done)
        file.set_phase(io::Phase::decode);  // before the new output is noted: a kill between them loses nothing
    file.set_plan(start_toml(plan, settings));
    RunStart start;
    start.is_done = file.phase() == io::Phase::done && std::filesystem::exists(settings.output.video);
    if (start.is_done) start.steps_done = plan.steps;
    HostLatents saved;
    if (auto newest = start.is_done ? std::nullopt : file.newest()) {
        start.steps_done = newest->step;
        start.has_latents = true;
        saved = std::make_shared<std::vector<float>>(std::move(newest->latents));
        log::info(cat("run file  ", settings.output.run_file, ": goes on behind step ", start.steps_done, " of ", plan.steps));
    }
    return {std::move(file), start, std::move(saved)};
}

}  // namespace

OpenedRun open_run(const Settings& settings, const plan::Plan& plan, const Numerics& numerics, const std::string& input_digest,
                   const std::map<std::string, std::string>& weights, bool restart) {
    const std::filesystem::path path = settings.output.run_file;
    if (!restart && std::filesystem::exists(path)) {
        auto file = io::RunFile::open(path);
        if (file.header().numerics_key != numerics.key) refuse_other_job(path, file.header(), numerics);
        return go_on_with(std::move(file), settings, plan);
    }
    io::RunHeader header;
    header.settings = to_toml(settings) + facts_toml(numerics);
    header.plan = start_toml(plan, settings);
    header.numerics_key = numerics.key;
    header.input_digest = input_digest;
    header.weights = weights;
    header.steps = plan.steps;
    header.clip_frames = plan.num_frames;
    header.shape = {plan.num_latents, plan.latent_channels, plan.latent_height, plan.latent_width};
    return {io::RunFile::create(path, header), {}, {}};
}

}  // namespace weft::pipeline

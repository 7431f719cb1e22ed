#include "pipeline/job.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "io/run_file.hpp"
#include "io/video_writer.hpp"
#include "model/model.hpp"
#include "model/pictures.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/decode.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/numerics.hpp"

#include <cstring>
#include <optional>

namespace weft::pipeline {

struct Job::State {
    State(const Settings& given, Events& sink) : settings{given}, events{sink} {}

    Settings settings;
    Events& events;
    ComputeDevice device;
    std::unique_ptr<model::Model> model;
    Inputs inputs;
    plan::Plan plan;
    std::optional<io::RunFile> run_file;
    std::unique_ptr<model::Family> family;
    std::string phase = "prepare";
    std::int64_t steps_done = 0;
    bool output_changed = false;

    void begin(const std::string& name) {
        phase = name;
        meter::begin_phase(name);
        events.emit("phase", {{"name", name}});
    }
    [[nodiscard]] Progress progress(std::int64_t total) const { return {phase, total, [] { return meter::current(); }}; }

    void check_budget() const;
    void open_run_file(Restart restart);
    [[nodiscard]] at::Tensor maps_of(const std::vector<std::int64_t>& frames) const;
    [[nodiscard]] at::Tensor denoise();
    [[nodiscard]] std::int64_t decode(const at::Tensor& latents);
};

namespace {

std::string output_toml(const Settings& settings) {
    const auto text = to_toml(settings);
    return text.substr(text.find("[output]"));
}

/// What the run file keeps of each start: the plan, and the output settings that a later start compares with.
std::string start_toml(const plan::Plan& plan, const Settings& settings) {
    return plan::to_toml(plan) + "\n" + output_toml(settings);
}

at::Tensor picture_tensor(const io::Picture& picture) {
    const auto made = at::empty({picture.height, picture.width, 3}, at::TensorOptions{}.dtype(c10::kByte));
    std::memcpy(made.mutable_data_ptr(), picture.rgb.data(), picture.rgb.size());
    return made;
}

/// "16 GiB" of "memory.budget" in bytes, where one is set.
std::optional<std::int64_t> budget_of(const Settings& settings) {
    return settings.memory.budget == "auto" ? std::nullopt : parse_bytes(settings.memory.budget);
}

}  // namespace

Job::Job(const Settings& settings, Restart restart, Events& events) : state_{std::make_unique<State>(settings, events)} {
    auto& s = *state_;
    Mistakes mistakes;
    check_settings(settings, mistakes);
    mistakes.throw_if_any("the settings have mistakes:");
    check_inputs(settings, mistakes);
    s.device = open_device(settings.device);
    static_cast<void>(resolve_dtype(settings.model.dtype, s.device, "model.dtype"));
    static_cast<void>(resolve_dtype(settings.decode.dtype, s.device, "decode.dtype"));
    s.model = model::open_model(settings, mistakes);
    mistakes.throw_if_any("the job cannot start:");
    log::info(cat("device    ", s.device.description));

    s.begin("read");
    s.inputs = read_inputs(settings);
    s.plan = plan::make_plan(settings, s.inputs.num_poses, s.model->sizes().shape);
    log::info(cat("input     ", s.inputs.num_poses, " pose frames of ", s.inputs.pose_width, "x", s.inputs.pose_height, ", ", s.plan.slices.size(), s.plan.slices.size() == 1 ? " slice" : " slices", " of ",
                  s.plan.slices.front().frames.size(), ", ", s.plan.steps, " steps, film at ", fixed(s.inputs.film_fps, 2), " frames a second"));
    s.check_budget();
    s.open_run_file(restart);
}

Job::~Job() = default;

void Job::State::check_budget() const {
    const auto budget = budget_of(settings);
    if (!budget) return;
    const auto needed = model::weight_bytes(model->sizes(), settings, device) + 2 * plan.latent_bytes();
    if (needed > *budget)
        throw Error(ExitCode::does_not_fit, cat("memory.budget = ", in_quotes(settings.memory.budget), ": weights and latents alone need ", human_bytes(needed), "; raise the budget to more than that"));
}

void Job::State::open_run_file(Restart restart) {
    const std::filesystem::path path = settings.output.run_file;
    const auto weights = model->digests();
    const auto numerics = make_numerics(settings, device, weights, inputs.digest);
    if (restart == Restart::no && std::filesystem::exists(path)) {
        auto file = io::RunFile::open(path);
        if (file.header().numerics_key != numerics.key) {
            auto lines = differences(facts_of(file.header().settings), numerics.facts);
            if (lines.empty()) lines.push_back("numerics key: was " + file.header().numerics_key + ", is " + numerics.key);
            refuse(cat("output.run_file = ", in_quotes(path.string()), " is of another job:\n  ", join(lines, "\n  "), "\nGo on with its settings, start anew with --restart, or name another output.run_file."));
        }
        output_changed = file.header().plan.find(output_toml(settings)) == std::string::npos;
        file.set_plan(start_toml(plan, settings));
        run_file.emplace(std::move(file));
        steps_done = run_file->newest_step().value_or(0);
        if (steps_done > 0) log::info(cat("run file  ", path.string(), ": goes on behind step ", steps_done, " of ", plan.steps));
        return;
    }
    io::RunHeader header;
    header.settings = to_toml(settings) + facts_toml(numerics);
    header.plan = start_toml(plan, settings);
    header.numerics_key = numerics.key;
    header.input_digest = inputs.digest;
    header.weights = weights;
    header.steps = plan.steps;
    header.shape = {plan.num_frames, plan.latent_channels, plan.latent_height, plan.latent_width};
    run_file.emplace(io::RunFile::create(path, header));
}

at::Tensor Job::State::maps_of(const std::vector<std::int64_t>& frames) const {
    const auto bytes = static_cast<std::int64_t>(inputs.maps->width()) * inputs.maps->height() * 3;
    const auto made = at::empty({static_cast<std::int64_t>(frames.size()), inputs.maps->height(), inputs.maps->width(), 3}, at::TensorOptions{}.dtype(c10::kByte));
    auto* const first = made.mutable_data_ptr<std::uint8_t>();
    for (std::size_t i = 0; i < frames.size(); ++i) inputs.maps->read(frames[i], {first + static_cast<std::int64_t>(i) * bytes, static_cast<std::size_t>(bytes)});
    return made;
}

at::Tensor Job::State::denoise() {
    at::Tensor latents;
    if (const auto saved = run_file->newest()) {
        const OwnedBy owner(Owner::latents);
        const auto host = at::empty({plan.num_frames, plan.latent_channels, plan.latent_height, plan.latent_width}, at::TensorOptions{}.dtype(c10::kFloat));
        ensure(saved->latents.size() == static_cast<std::size_t>(host.numel()), "the run file's latents fit the plan");
        std::memcpy(host.mutable_data_ptr(), saved->latents.data(), saved->latents.size() * sizeof(float));
        latents = host.to(device.torch);
        steps_done = saved->step;
    } else {
        steps_done = 0;
    }
    if (steps_done == plan.steps) return latents;

    begin("encode");
    family->encode(model::truncated_round_trip(model::cover_bilinear(picture_tensor(inputs.reference), settings.video.height, settings.video.width)));
    if (!latents.defined()) latents = family->initial_latents();

    begin("denoise");
    family->load_denoiser();
    ClipDenoiser denoiser(*family, plan, latents, settings.sampling.guidance);
    auto shown = progress(plan.passes_a_step() * (plan.steps - steps_done));
    Interpreter interpreter(denoiser, *run_file, plan, settings.output.save_every_s, events, shown);
    try {
        interpreter.run(plan::make_program(plan, steps_done));
    } catch (...) {
        steps_done = std::max(steps_done, interpreter.steps_done());
        throw;
    }
    steps_done = plan.steps;
    family->drop_denoiser();
    run_file->set_phase(io::Phase::decode);
    return denoiser.device_latents();
}

std::int64_t Job::State::decode(const at::Tensor& latents) {
    begin("decode");
    const bool scaled = settings.output.size == OutputSize::pose;
    io::VideoOptions options;
    options.width = scaled ? inputs.pose_width : static_cast<int>(settings.video.width);
    options.height = scaled ? inputs.pose_height : static_cast<int>(settings.video.height);
    options.fps = inputs.film_fps;
    options.quality = static_cast<int>(settings.output.quality);
    const auto& audio = settings.output.audio;
    if (audio == "auto" && inputs.pose_has_audio) options.audio = settings.input_path(settings.input.pose);
    if (audio != "auto" && audio != "none") options.audio = settings.input_path(audio);
    io::VideoWriter writer(settings.output.video, options);
    family->load_decoder();
    auto shown = progress(static_cast<std::int64_t>(plan.decode.size()));
    decode_clip(*family, plan, latents, writer, options.width, options.height, events, shown);
    family->drop_decoder();
    const auto frames = writer.finish();
    run_file->set_phase(io::Phase::done);
    return frames;
}

Report Job::run() {
    auto& s = *state_;
    Report report;
    report.video = s.settings.output.video;
    report.frames = s.plan.num_frames - 1;
    report.film_seconds = static_cast<double>(report.frames) / s.inputs.film_fps;
    report.was_done = s.run_file->phase() == io::Phase::done && std::filesystem::exists(report.video) && !s.output_changed;
    if (!report.was_done) {
        s.family = s.model->for_clip(s.settings, s.plan, s.device, [&s](const std::vector<std::int64_t>& frames) { return s.maps_of(frames); });
        report.frames = s.decode(s.denoise());
    }
    s.begin("done");
    for (const auto& phase : meter::phases())
        if (phase.name != "done") {
            report.phases.push_back({phase.name, phase.seconds, phase.peak});
            s.events.emit("phase_end", {{"name", phase.name}, {"seconds", phase.seconds}, {"peak_bytes", phase.peak}});
            for (std::size_t i = 0; i < num_owners; ++i)
                if (phase.owner_peak[i] > 0) s.events.emit("memory", {{"phase", phase.name}, {"owner", std::string(owner_name(static_cast<Owner>(i)))}, {"peak_bytes", phase.owner_peak[i]}});
        }
    report.peak_bytes = meter::peak();
    report.peak_resident_bytes = host_memory().peak_resident;
    s.events.emit("done", {{"frames", report.frames}, {"video", report.video.string()}, {"peak_bytes", report.peak_bytes}, {"peak_resident_bytes", report.peak_resident_bytes}});
    return report;
}

std::string Job::phase() const {
    return state_->phase;
}

std::int64_t Job::steps_done() const {
    return state_->steps_done;
}

std::string Job::plan_text() const {
    return plan::describe(state_->plan);
}

}  // namespace weft::pipeline

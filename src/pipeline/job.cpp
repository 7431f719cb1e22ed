#include "pipeline/job.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
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

#include <c10/util/Exception.h>

#include <cstring>
#include <new>
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
    io::VideoOptions film;

    void begin(const std::string& name);
    [[nodiscard]] Progress progress(std::int64_t total) const {
        return {phase, total, [] { return meter::current(); }};
    }

    void check_budget() const;
    void open_run_file(Restart restart);
    [[nodiscard]] io::VideoOptions film_options() const;
    [[nodiscard]] bool is_done() const { return run_file->phase() == io::Phase::done && std::filesystem::exists(settings.output.video); }
    [[nodiscard]] at::Tensor maps_of(const std::vector<std::int64_t>& frames) const;
    [[nodiscard]] at::Tensor denoise();
    [[nodiscard]] std::int64_t decode(const at::Tensor& latents);
    [[nodiscard]] Report run();
};

namespace {

std::string output_toml(const Settings& settings) {
    const auto text = to_toml(settings);
    return text.substr(text.find("[output]"));
}

/// Places for the outputs; better known now than after hours.
void check_places(const Settings& settings, Mistakes& mistakes) {
    for (const auto& [key, value] : {std::pair{"output.video", settings.output.video}, {"output.run_file", settings.output.run_file}}) {
        const std::filesystem::path path{value};
        const auto folder = (path.has_filename() ? path : path.parent_path()).parent_path();
        if (const auto why = why_not_writable(folder); !why.empty())
            mistakes.add(key, in_quotes(value), cat("the folder ", folder.empty() ? "." : folder.string(), " cannot be written: ", why),
                         "name a folder that exists and can be written");
    }
}

/// What the run file keeps of each start: the plan, and the output settings that a later start compares with.
std::string start_toml(const plan::Plan& plan, const Settings& settings) {
    return output_toml(settings) + "\n" + plan::to_toml(plan);  // in this order, since the run file cuts what is longer than its room
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
    const bool settings_are_good = mistakes.empty();
    check_inputs(settings, mistakes);
    check_places(settings, mistakes);
    if (!settings_are_good) mistakes.throw_if_any("the job cannot start:");
    s.device = open_device(settings.device);
    static_cast<void>(resolve_dtype(settings.model.dtype, s.device, "model.dtype"));
    static_cast<void>(resolve_dtype(settings.decode.dtype, s.device, "decode.dtype"));
    s.model = model::open_model(settings, mistakes);
    mistakes.throw_if_any("the job cannot start:");
    log::info(cat("device    ", s.device.description));

    s.begin("read");
    s.inputs = read_inputs(settings);
    s.plan = plan::make_plan(settings, s.inputs.num_poses, s.model->sizes().shape);
    log::info(cat("input     ", s.inputs.num_poses, " pose frames of ", s.inputs.pose_width, "x", s.inputs.pose_height, ", ", s.plan.slices.size(),
                  s.plan.slices.size() == 1 ? " slice" : " slices", " of ", s.plan.slices.front().frames.size(), ", ", s.plan.steps, " steps, film at ",
                  fixed(s.inputs.film_fps, 2), " frames a second"));
    s.check_budget();
    s.open_run_file(restart);
    if (s.is_done()) return;
    s.film = s.film_options();
    static_cast<void>(io::VideoWriter(settings.output.video, s.film));  // a film that cannot be written is refused now, not after the denoising
}

Job::~Job() = default;

/// Ends the running phase with a line about it, and begins the next.
void Job::State::begin(const std::string& name) {
    phase = name;
    meter::begin_phase(name);
    events.emit("phase", {{"name", name}});
    const auto phases = meter::phases();
    if (phases.size() < 2) return;
    const auto& ended = phases[phases.size() - 2];
    log::info(
        cat(ended.name, std::string(10 - ended.name.size(), ' '), human_seconds(ended.seconds), ended.peak > 0 ? cat(", peak ", human_bytes(ended.peak)) : ""));
    events.emit("phase_end", {{"name", ended.name}, {"seconds", ended.seconds}, {"cpu_seconds", ended.cpu_seconds}, {"peak_bytes", ended.peak}});
    for (std::size_t i = 0; i < num_owners; ++i)
        if (ended.owner_peak[i] > 0)
            events.emit("memory", {{"phase", ended.name}, {"owner", std::string(owner_name(static_cast<Owner>(i)))}, {"peak_bytes", ended.owner_peak[i]}});
}

void Job::State::check_budget() const {
    const auto budget = budget_of(settings);
    if (!budget) return;
    const auto needed = model::weight_bytes(model->sizes(), settings, device) + 2 * plan.latent_bytes();
    if (needed > *budget)
        throw Error(ExitCode::does_not_fit, cat("memory.budget = ", in_quotes(settings.memory.budget), ": weights and latents alone need ", human_bytes(needed),
                                                "; raise the budget to more than that"));
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
            refuse(cat("output.run_file = ", in_quotes(path.string()), " is of another job:\n  ", join(lines, "\n  "),
                       "\nGo on with its settings, start anew with --restart, or name another output.run_file."));
        }
        const bool output_changed = file.header().plan.find(output_toml(settings)) == std::string::npos;
        if (output_changed && file.phase() == io::Phase::done)
            file.set_phase(io::Phase::decode);  // before the new output is noted: a kill between them loses nothing
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
    const auto made =
        at::empty({static_cast<std::int64_t>(frames.size()), inputs.maps->height(), inputs.maps->width(), 3}, at::TensorOptions{}.dtype(c10::kByte));
    auto* const first = made.mutable_data_ptr<std::uint8_t>();
    for (std::size_t i = 0; i < frames.size(); ++i)
        inputs.maps->read(frames[i], {first + static_cast<std::int64_t>(i) * bytes, static_cast<std::size_t>(bytes)});
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
    return denoiser.device_latents();
}

/// Sound that "auto" finds but the film cannot take is left out, with a warning; sound that the user names is not.
io::VideoOptions Job::State::film_options() const {
    const bool scaled = settings.output.size == OutputSize::pose;
    io::VideoOptions options;
    options.width = scaled ? inputs.pose_width : static_cast<int>(settings.video.width);
    options.height = scaled ? inputs.pose_height : static_cast<int>(settings.video.height);
    options.fps = inputs.film_fps;
    options.quality = static_cast<int>(settings.output.quality);
    const auto& audio = settings.output.audio;
    if (audio == "auto" && inputs.pose_has_audio) {
        options.audio = settings.input_path(settings.input.pose);
        if (const auto why = io::why_no_audio(*options.audio, settings.output.video); !why.empty()) {
            log::warn(cat("the film will be silent: ", why));
            options.audio.reset();
        }
    }
    if (audio != "auto" && audio != "none") options.audio = settings.input_path(audio);
    return options;
}

std::int64_t Job::State::decode(const at::Tensor& latents) {
    begin("decode");
    run_file->set_phase(io::Phase::decode);
    io::VideoWriter writer(settings.output.video, film);
    family->load_decoder();
    auto shown = progress(static_cast<std::int64_t>(plan.decode.size()));
    decode_clip(*family, plan, latents, writer, film.width, film.height, events, shown);
    family->drop_decoder();
    const auto frames = writer.finish();
    run_file->set_phase(io::Phase::done);
    return frames;
}

Report Job::State::run() {
    Report report;
    report.video = settings.output.video;
    report.frames = plan.num_frames - 1;
    report.film_seconds = static_cast<double>(report.frames) / inputs.film_fps;
    report.was_done = is_done();
    if (!report.was_done) {
        family = model->for_clip(settings, plan, device, [this](const std::vector<std::int64_t>& frames) { return maps_of(frames); });
        report.frames = decode(denoise());
    }
    begin("done");
    report.peak_bytes = meter::peak();
    report.peak_resident_bytes = host_memory().peak_resident;
    events.emit(
        "done",
        {{"frames", report.frames}, {"video", report.video.string()}, {"peak_bytes", report.peak_bytes}, {"peak_resident_bytes", report.peak_resident_bytes}});
    return report;
}

Report Job::run() {
    auto& s = *state_;
    const auto does_not_fit = [&s](const std::string& why) {
        return Error(ExitCode::does_not_fit, cat("out of memory in phase ", s.phase, ", ", s.steps_done, " of ", s.plan.steps, " steps complete: ", why,
                                                 "; a smaller slices.length, decode.chunk or video size needs less, and makes another video"));
    };
    try {
        return s.run();
    } catch (const std::bad_alloc&) {
        throw does_not_fit("the host has no more");
    } catch (const c10::Error& error) {
        std::string text = error.what_without_backtrace();
        const bool no_memory = dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr || text.find("DefaultCPUAllocator") != std::string::npos;
        if (no_memory) throw does_not_fit(text);
        throw Error(ExitCode::failure, cat("libtorch failed in phase ", s.phase, ": ", text));
    }
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

#include "pipeline/job.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/meter.hpp"
#include "io/run_file.hpp"
#include "io/video_writer.hpp"
#include "model/open_model.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/alternatives.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/decode.hpp"
#include "pipeline/film.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/kinds.hpp"
#include "pipeline/numerics.hpp"
#include "pipeline/once_more.hpp"
#include "pipeline/rank_report.hpp"
#include "pipeline/saver.hpp"
#include "pipeline/staging.hpp"
#include "pipeline/trace.hpp"
#include "pipeline/unit_times.hpp"
#include "topology/placement.hpp"

#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <sstream>
#include <variant>

namespace weft::pipeline {

struct Job::State {
    State(const Settings& given, JobOptions wishes, comm::Transport& ranks, Events& sink)
        : settings{given}, options{std::move(wishes)}, transport{ranks}, events{sink} {}

    Settings settings;
    JobOptions options;
    comm::Transport& transport;
    Events& events;
    ComputeDevice device;
    std::unique_ptr<model::Model> model;
    std::map<std::string, std::string> weights;  ///< file name -> hash of content
    Inputs inputs;
    std::string measured;  ///< times of units on rank 0's machine, as its file has them; "" where none were measured
    Travel travel = Travel::host;
    Held held;  ///< when denoising ended
    plan::Plan plan;
    std::unique_ptr<model::Family> family;
    std::atomic<std::int64_t> steps_done = 0;
    std::vector<std::string> changes;  ///< that numerics = "free" has made here
    io::VideoOptions film;
    /// Where this start begins; the same on all ranks.
    struct Start {
        std::int64_t steps_done = 0;
        bool has_latents = false;  ///< of so many steps, in the run file
        bool is_done = false;
    } start;

    // the writer's
    std::optional<io::RunFile> run_file;
    HostLatents saved;  ///< of `start`, until they are dealt out

    mutable std::mutex phase_mutex;
    std::string phase = "prepare";  // under phase_mutex

    [[nodiscard]] int rank() const { return transport.who().rank; }
    [[nodiscard]] bool writes() const { return rank() == plan::writer; }

    void begin(const std::string& name);
    [[nodiscard]] std::string phase_name() const {
        const std::lock_guard lock(phase_mutex);
        return phase;
    }
    [[nodiscard]] Progress progress(std::int64_t total) const {
        return {phase_name(), total, [] { return meter::current(); }};
    }

    void open_all();
    void open_device_transfers();
    [[nodiscard]] plan::PassShape weighed(const plan::PassShape& shape) const;
    void make_plan();
    struct Budget {
        std::int64_t bytes = 0;
        std::string name;
    } budget;
    [[nodiscard]] Budget agree_on_budget();
    [[nodiscard]] FitRequest fit_request(std::int64_t num_poses) const;
    [[nodiscard]] Error ran_out(const std::string& why) const;
    [[nodiscard]] Batches batches();
    void record_changes();
    void write_down(const std::string& text);
    void place();
    void open_run_file(const Numerics& numerics);
    void share_costs();
    void share_start();
    [[nodiscard]] io::VideoOptions film_options() const;
    [[nodiscard]] bool is_done() const { return run_file->phase() == io::Phase::done && std::filesystem::exists(settings.output.video); }
    [[nodiscard]] at::Tensor maps_of(const std::vector<std::int64_t>& frames) const;
    [[nodiscard]] at::Tensor kept_latents();
    [[nodiscard]] HostLatents denoise();
    [[nodiscard]] std::int64_t decode(const HostLatents& latents);
    [[nodiscard]] Report run();
};

namespace {

std::string output_toml(const Settings& settings) {
    const auto text = to_toml(settings);
    return text.substr(text.find("[output]"));
}

/// What the plan may count on between these ranks. Rates are assumptions, by kind of transport: NVLink between GPUs of a host, copies through host memory
/// else, and 10 Gbit/s between hosts.
plan::Links links_of(const std::vector<comm::Identity>& everyone, Travel travel) {
    plan::Links links;
    links.gpu_to_gpu = travel == Travel::device;
    if (links.gpu_to_gpu) links.local_bytes_s = plan::nccl_bytes_s;
    std::vector<std::string> hosts;
    for (const auto& one : everyone) {
        const auto found = std::find(hosts.begin(), hosts.end(), one.host);
        links.host.push_back(static_cast<int>(found - hosts.begin()));
        if (found == hosts.end()) hosts.push_back(one.host);
    }
    return links;
}

/// Of what each rank will do, in which order.
std::string plan_digest(const plan::Plan& plan) {
    auto text = plan::to_toml(plan);
    for (const auto& program : plan::compile(plan, 0))
        for (const auto& operation : program) {
            const auto* message = plan::message_of(operation);
            text += message == nullptr ? plan::describe(operation) : cat(operation.index(), " ", message->number, " ", message->bytes, " ", message->slot);
            text += '\n';
        }
    return hex_digest(std::as_bytes(std::span(text)));
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
    auto made = at::empty({picture.height, picture.width, 3}, at::TensorOptions{}.dtype(c10::kByte));
    std::memcpy(made.mutable_data_ptr(), picture.rgb.data(), picture.rgb.size());
    return made;
}

/// All ranks do `work`, or none goes on; memory that runs out is told as such.
template <class Work>
void prepare_together(comm::Transport& transport, const Work& work) {
    comm::together(transport, [&] {
        try {
            work();
        } catch (const std::exception& error) {
            if (!is_out_of_memory(error)) throw;
            throw Error(ExitCode::does_not_fit,
                        cat("out of memory before the job began: ", first_line(error.what()), "; free some, or choose a smaller video.width and video.height"));
        }
    });
}
}  // namespace

Job::Job(const Settings& settings, JobOptions options, comm::Transport& transport, Events& events)
    : state_{std::make_unique<State>(settings, std::move(options), transport, events)} {
    auto& s = *state_;
    Numerics numerics;
    prepare_together(transport, [&] { s.open_all(); });
    s.open_device_transfers();
    s.share_costs();
    s.budget = s.agree_on_budget();
    prepare_together(transport, [&] {
        s.make_plan();
        s.weights = s.model->digests();
        numerics = make_numerics(s.settings, s.device, s.weights, s.inputs.digest);
    });
    auto facts = facts_of_rank(s.settings, numerics);
    facts.push_back(cat("the plan (hash) = ", plan_digest(s.plan)));
    agree(transport, facts);
    s.place();
    meter::set_limit(plan::allocator_limit(s.budget.bytes, s.plan));
    prepare_together(transport, [&] {
        s.film = s.film_options();
        if (!s.writes()) return;
        // A film that cannot be written is refused now, not after the denoising, and before an old run file is replaced.
        static_cast<void>(io::VideoWriter(s.settings.output.video, s.film));
        s.open_run_file(numerics);
    });
    s.share_start();
}

Job::~Job() = default;

void Job::State::open_all() {
    Mistakes mistakes;
    check_settings(settings, mistakes);
    const bool settings_are_good = mistakes.empty();
    check_inputs(settings, mistakes);
    if (writes()) check_places(settings, mistakes);
    if (!settings_are_good) mistakes.throw_if_any("the job cannot start:");
    device = open_device(settings.device, transport.who().node_rank);
    static_cast<void>(resolve_dtype(settings.model.dtype, device, "model.dtype"));
    static_cast<void>(resolve_dtype(settings.decode.dtype, device, "decode.dtype"));
    model = model::open_model(settings, mistakes);
    mistakes.throw_if_any("the job cannot start:");
    log::info(cat("device    ", device.description));
}

/// Whether tensors travel from GPU to GPU; said aloud.
void Job::State::open_device_transfers() {
    if (transport.who().size == 1) return;
    const auto offer = device.is_cuda() ? comm::offer_device(device.torch.index()) : comm::offer_no_device("it computes on its CPU");
    const auto transfers = transport.use_device_transfers(offer);
    travel = transfers.on ? Travel::device : Travel::host;
    if (device.is_cuda() || transfers.on) log::info(cat("tensors   travel ", transfers.reason));
}

/// The shape with measured costs; as it is where they are of no use.
plan::PassShape Job::State::weighed(const plan::PassShape& shape) const {
    try {
        return with_unit_times(shape, parse_unit_times(measured));
    } catch (const Error& error) {
        if (writes()) log::warn(error.what());
        return shape;
    }
}

FitRequest Job::State::fit_request(std::int64_t num_poses) const {
    return {.model = *model,
            .settings = settings,
            .num_poses = num_poses,
            .picture_pixels = count_pixels(settings),
            .num_ranks = transport.who().size,
            .links = links_of(transport.everyone(), travel),
            .kind = device.kind(),
            .weigh = [this](plan::PassShape shape) { return measured.empty() ? std::move(shape) : weighed(shape); },
            .budget = budget.bytes};
}

void Job::State::make_plan() {
    begin("read");
    const auto num_ranks = transport.who().size;
    Fit fitted;
    const auto plan_for = [&](std::int64_t num_poses) {
        const auto request = fit_request(num_poses);
        fitted = fit(request);
        if (!fitted.fits) throw does_not_fit(request, fitted, budget.name);
        return fitted.plan;
    };
    if (num_ranks == 1) {
        // What fits for no clip so long is refused before poses are read.
        if (!fit(fit_request(count_poses(settings, settings.slices.length))).fits) static_cast<void>(plan_for(count_poses(settings)));
        inputs = read_inputs(settings, [](std::int64_t) { return true; });
        plan = plan_for(inputs.num_poses);
    } else {  // counted first, so that a rank keeps the maps of passes that begin here only
        plan = plan_for(count_poses(settings));
        std::vector<bool> read(static_cast<std::size_t>(plan.num_frames));
        for (const auto& range : plan.read(rank()))
            for (auto frame = range.begin; frame < range.end; ++frame) read[static_cast<std::size_t>(plan.shown(frame))] = true;
        inputs = read_inputs(settings, [&](std::int64_t frame) { return frame < plan.num_frames && read[static_cast<std::size_t>(frame)]; });
        if (inputs.num_poses != plan.num_poses()) fail("the pose clip has changed while it was read");
    }
    log::info(cat("input     ", inputs.num_poses, " pose frames of ", inputs.pose_width, "x", inputs.pose_height, ", ", plan.slices.size(),
                  plan.slices.size() == 1 ? " slice" : " slices", " of ", plan.slices.front().frames.size(), ", ", plan.steps, " steps, film at ",
                  fixed(inputs.film_fps, 2), " frames a second"));
    events.emit("plan", {{"ranks", std::int64_t{num_ranks}},
                         {"layout", plan::layout_text(plan)},
                         {"slices", plan.num_slices()},
                         {"passes_a_step", plan.passes_a_step()},
                         {"units", static_cast<std::int64_t>(plan.shape.units.size())},
                         {"pieces", plan.shape.num_pieces()},
                         {"load_bound", plan.deal.load_bound(plan.shape)}});
    const auto memory = plan::rank_memory(plan, rank());
    log::info(cat("memory    ", human_bytes(fitted.fullest.bytes), " predicted on ", num_ranks > 1 ? cat("rank ", fitted.fullest.rank, ", ") : "", "to ",
                  fitted.fullest.phase, ", of ", human_bytes(budget.bytes), "; ", choice_text(plan),
                  fitted.slow_down > 1.0005 ? cat(", ", fixed(100 * (fitted.slow_down - 1), 1), " % slower") : ""));
    for (const auto* one : {&memory.encode, &memory.denoise, &memory.decode})
        events.emit("predicted", {{"phase", one->name}, {"tensor_bytes", one->tensors}, {"bytes", one->total}});
}

/// Which host, device and cores each rank really has; the compute thread of a rank with one CPU thread is held to a core of its own.
void Job::State::place() {
    const auto& who = transport.who();
    auto mine = topology::here(who.rank, who.host, who.node_rank, who.node_size);
    mine.device = device.description;
    mine.shares_device = device.is_cuda() && who.node_size > cuda::device_count();
    if (who.size > 1 && !device.is_cuda() && settings.device.threads == 1) {
        const int core = topology::core_for(mine.cores, mine.host_cores, who.node_rank, who.node_size);
        if (core >= 0 && topology::pin_this_thread(core)) mine.pinned_core = core;
    }
    if (who.size == 1) return;
    std::vector<topology::Placement> all;
    for (const auto& line : transport.gather(topology::to_line(mine))) all.push_back(topology::from_line(line));
    for (const auto& line : split(topology::table(all), '\n'))
        if (!line.empty()) log::info(line);
    for (const auto& complaint : topology::complaints(all)) log::warn(complaint);
    log::info(cat("layout    ", plan::layout_text(plan)));
    log::info(cat("ranks     ", who.size, ", load bound ", fixed(100 * plan.deal.load_bound(plan.shape), 1), " %"));
}

/// Ends the running phase with a line about it, and begins the next.
void Job::State::begin(const std::string& name) {
    {
        const std::lock_guard lock(phase_mutex);
        phase = name;
    }
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

/// Bytes that each rank may hold, the same for all, and what they are called. "auto": what is free now on the device, shared by the ranks on it, less a
/// reserve for others; of the rank that has least.
Job::State::Budget Job::State::agree_on_budget() {
    constexpr double reserve = 0.05;
    const auto& who = transport.who();
    if (settings.memory.budget != "auto") return {parse_bytes(settings.memory.budget).value(), cat("memory.budget = ", in_quotes(settings.memory.budget))};
    const int sharing = device.is_cuda() ? (who.node_size + cuda::device_count() - 1) / cuda::device_count() : who.node_size;
    auto least = static_cast<std::int64_t>((1 - reserve) * static_cast<double>(device.free_bytes) / sharing);
    if (who.size > 1) {
        for (const auto& other : transport.gather(cat(least)))
            if (!other.empty()) least = std::min<std::int64_t>(least, std::stoll(other));
        least = std::stoll(transport.broadcast(cat(least)));
    }
    return {least, cat("memory.budget = \"auto\" (", human_bytes(least), ": what is free now", sharing > 1 ? cat(", shared by ", sharing, " ranks,") : "",
                       " less 5 %)")};
}

void Job::State::open_run_file(const Numerics& numerics) {
    const std::filesystem::path path = settings.output.run_file;
    if (!options.restart && std::filesystem::exists(path)) {
        auto file = io::RunFile::open(path);
        if (file.header().numerics_key != numerics.key) {
            std::vector<std::string> lines;
            for (const auto& [what, before, now] : differences(facts_of(file.header().settings), numerics.facts))
                lines.push_back(cat(what, ": was ", before, ", is ", now));
            if (lines.empty()) lines.push_back("numerics key: was " + file.header().numerics_key + ", is " + numerics.key);
            refuse(cat("output.run_file = ", in_quotes(path.string()), " is of another job:\n  ", join(lines, "\n  "),
                       "\nGo on with its settings, start anew with --restart, or name another output.run_file."));
        }
        const bool output_changed = file.header().plan.find(output_toml(settings)) == std::string::npos;
        if (output_changed && file.phase() == io::Phase::done)
            file.set_phase(io::Phase::decode);  // before the new output is noted: a kill between them loses nothing
        file.set_plan(start_toml(plan, settings));
        run_file.emplace(std::move(file));
        start.is_done = is_done();
        if (start.is_done) {
            start.steps_done = plan.steps;
            return;
        }
        if (auto newest = run_file->newest()) {
            start.steps_done = newest->step;
            start.has_latents = true;
            saved = std::make_shared<std::vector<float>>(std::move(newest->latents));
        }
        if (start.has_latents) log::info(cat("run file  ", path.string(), ": goes on behind step ", start.steps_done, " of ", plan.steps));
        return;
    }
    io::RunHeader header;
    header.settings = to_toml(settings) + facts_toml(numerics);
    header.plan = start_toml(plan, settings);
    header.numerics_key = numerics.key;
    header.input_digest = inputs.digest;
    header.weights = weights;
    header.steps = plan.steps;
    header.clip_frames = plan.num_frames;
    header.shape = {plan.num_latents, plan.latent_channels, plan.latent_height, plan.latent_width};
    run_file.emplace(io::RunFile::create(path, header));
}

/// Costs that were measured on rank 0's machine count for all, so that all make one plan.
void Job::State::share_costs() {
    if (transport.speaks()) {
        const auto path = unit_times_path(settings, device);
        measured = read_unit_times(path);
        if (!measured.empty()) log::info(cat("costs     of units as measured: ", path.string()));
    }
    if (transport.who().size > 1) measured = transport.broadcast(measured);
}

void Job::State::share_start() {
    std::istringstream words(transport.broadcast(cat(start.steps_done, " ", start.has_latents, " ", start.is_done)));
    words >> start.steps_done >> start.has_latents >> start.is_done;
    steps_done = start.steps_done;
}

at::Tensor Job::State::maps_of(const std::vector<std::int64_t>& frames) const {
    const auto bytes = static_cast<std::int64_t>(inputs.maps->width()) * inputs.maps->height() * 3;
    auto made = at::empty({static_cast<std::int64_t>(frames.size()), inputs.maps->height(), inputs.maps->width(), 3}, at::TensorOptions{}.dtype(c10::kByte));
    auto* const first = made.mutable_data_ptr<std::uint8_t>();
    for (std::size_t i = 0; i < frames.size(); ++i)
        inputs.maps->read(frames[i], {first + static_cast<std::int64_t>(i) * bytes, static_cast<std::size_t>(bytes)});
    return made;
}

namespace {
/// Some frames of all latents, behind each other.
comm::Buffer part_of(const std::vector<float>& all, const plan::FrameRanges& frames, std::int64_t frame_elements) {
    auto buffer = comm::make_buffer(static_cast<std::size_t>(plan::count(frames) * frame_elements) * sizeof(float));
    auto* into = buffer.bytes.data();
    for (const auto& range : frames) {
        const auto bytes = static_cast<std::size_t>(range.size() * frame_elements) * sizeof(float);
        std::memcpy(into, all.data() + range.begin * frame_elements, bytes);
        into += bytes;
    }
    return buffer;
}
}  // namespace

/// The latents that this rank's passes read, where the job starts: from the run file, by way of the writer, or fresh noise.
at::Tensor Job::State::kept_latents() {
    const auto kept = plan.kept(rank());
    const auto place = travel == Travel::device ? device.torch : c10::Device(c10::kCPU);
    if (!start.has_latents) return family->initial_latents(plan::frames_in(kept)).to(place);
    if (kept.empty() && !writes()) return family->initial_latents({});
    auto room = room_for({plan::count(kept), plan.latent_channels, plan.latent_height, plan.latent_width}, c10::kFloat, place);
    transport.pulse().waiting("the saved latents");
    if (!writes()) {
        transport.receive(plan::writer, tag(Kind::resumed, 0), room, "the saved latents").wait();
        return from_host(room, place);
    }
    for (int other = 0; other < plan.num_ranks(); ++other) {
        const auto theirs = plan.kept(other);
        if (theirs.empty()) continue;
        auto part = part_of(*saved, theirs, plan.frame_elements());
        if (other == plan::writer)
            std::memcpy(room.bytes.data(), part.bytes.data(), part.bytes.size());
        else
            transport.send(other, tag(Kind::resumed, 0), std::move(part), "the saved latents").wait();
    }
    saved.reset();
    return from_host(room, place);
}

/// A note is no reason to end a job.
void Job::State::write_down(const std::string& text) {
    try {
        run_file->add_to_plan(text);
    } catch (const Error& error) {
        log::warn(cat("the run file's plan does not tell of a change: ", error.what()));
    }
}

/// How many passes may run side by side here, and where changes of that are written down.
Batches Job::State::batches() {
    const auto record = [this](const std::string& what) {
        log::info(cat("free      ", what));
        changes.push_back(what);
        if (writes()) write_down(cat("[[free]]\nrank = ", rank(), "\nwhat = ", in_quotes(what), "\n"));
    };
    return {batch_bytes(plan, rank(), budget.bytes), [this] { return free_bytes_now(device.torch); }, record};
}

/// Of the other ranks, into the run file, when all steps are done: what numerics = "free" has changed, and from which step on.
void Job::State::record_changes() {
    if (settings.memory.numerics != NumericsRule::free || transport.who().size == 1) return;
    const auto all = transport.gather(writes() ? "" : join(changes, "\n"));
    std::string text;
    for (std::size_t other = 0; other < all.size(); ++other)
        for (const auto& what : split(all[other], '\n'))
            if (!what.empty()) text += cat("[[free]]\nrank = ", other, "\nwhat = ", in_quotes(what), "\n");
    if (!text.empty()) write_down(text);
}

/// At the writer: the latents after the last step.
HostLatents Job::State::denoise() {
    if (start.steps_done == plan.steps) return std::move(saved);
    const auto pieces = plan.deal.pieces_of(rank());
    const bool traced = transport.broadcast(events.on() ? "traced" : "") == "traced";
    Trace trace(traced);
    const auto programs = plan::compile(plan, start.steps_done);
    if (pieces.empty()) {  // more ranks than passes: this one only decodes
        if (traced) {
            trace.begin(transport);
            emit_traces(gather_traces(trace, transport), plan, programs, events);
        }
        return {};
    }

    begin("encode");
    transport.pulse().working("encoding the reference picture");
    once_more("encoding the reference picture", release_caches, [this] { family->encode(picture_tensor(inputs.reference)); });
    auto latents = kept_latents();

    begin("denoise");
    transport.pulse().working("loading the denoiser");
    load_denoiser(*family, plan, rank());
    ClipDenoiser denoiser(*family, plan, rank(), std::move(latents), settings.sampling.guidance, transport.pulse(), trace, travel);
    const auto& program = programs.at(static_cast<std::size_t>(rank()));
    if (settings.memory.numerics == NumericsRule::free) denoiser.run_side_by_side(batches());
    if (traced) trace.begin(transport);
    auto shown = progress(std::ranges::count_if(program, [](const auto& operation) { return std::holds_alternative<plan::Compute>(operation); }));
    std::optional<Saver> saver;
    if (writes())
        saver.emplace([this](std::int64_t step, const std::vector<float>& all) { run_file->save(step, all); }, plan, steps_done, settings.output.save_every_s,
                      events);
    Interpreter interpreter(denoiser, transport, plan, saver ? &*saver : nullptr, events, shown, trace);
    interpreter.before_task = [this](const plan::Task& task) {
        if (!writes()) steps_done = task.pass.step;
        if (options.before_task) options.before_task(task);
    };
    HostLatents finished;
    try {
        interpreter.run(program);
        transport.pulse().idle();
        if (saver) finished = saver->finish();
    } catch (const std::exception& error) {
        const auto unsaved = saver ? saver->finish_early() : nullptr;
        // Who stops the job relies on its state being saved.
        if (unsaved && exit_code_of(error) == ExitCode::stopped) std::rethrow_exception(unsaved);
        throw;
    }
    if (traced) emit_traces(gather_traces(trace, transport), plan, programs, events);
    if (const auto stream = family->stream_times()) {
        const auto overlapped = stream->fetch_seconds > 0 ? std::max(0.0, 1 - stream->waited_seconds / stream->fetch_seconds) : 1.0;
        log::info(cat("weights   ", human_bytes(stream->bytes), " streamed in ", human_seconds(stream->fetch_seconds), ", ", fixed(100 * overlapped, 0),
                      " % of it behind passes; they waited ", human_seconds(stream->waited_seconds)));
        events.emit("streamed", {{"bytes", stream->bytes}, {"fetch_seconds", stream->fetch_seconds}, {"waited_seconds", stream->waited_seconds}});
    }
    held = {meter::current(Owner::weights), meter::current(Owner::slots)};
    steps_done = plan.steps;
    family->drop_denoiser();
    return finished;
}

/// Other ranks than the writer only need to know the size.
/// Sound that "auto" finds but the film cannot take is left out, with a warning; sound that the user names is not.
io::VideoOptions Job::State::film_options() const {
    const bool scaled = settings.output.size == OutputSize::pose;
    io::VideoOptions wished;
    wished.width = scaled ? inputs.pose_width : static_cast<int>(settings.video.width);
    wished.height = scaled ? inputs.pose_height : static_cast<int>(settings.video.height);
    wished.fps = inputs.film_fps;
    wished.quality = static_cast<int>(settings.output.quality);
    if (!writes()) return wished;
    const auto& audio = settings.output.audio;
    if (audio == "auto" && inputs.pose_has_audio) {
        wished.audio = settings.input_path(settings.input.pose);
        if (const auto why = io::why_no_audio(*wished.audio, settings.output.video); !why.empty()) {
            log::warn(cat("the film will be silent: ", why));
            wished.audio.reset();
        }
    }
    if (audio != "auto" && audio != "none") wished.audio = settings.input_path(audio);
    return wished;
}

std::int64_t Job::State::decode(const HostLatents& latents) {
    begin("decode");
    const FilmShape shape{.width = film.width, .height = film.height, .hidden_frames = plan.hidden_frames};
    const bool has_chunks = std::ranges::find(plan.decoder, rank()) != plan.decoder.end();
    if (has_chunks) {
        transport.pulse().working("loading the decoder");
        once_more("loading the decoder", release_caches, [this] { family->load_decoder(plan.memory); });
    }
    transport.pulse().idle();
    std::int64_t frames = 0;
    if (writes()) {
        run_file->set_phase(io::Phase::decode);
        io::VideoWriter writer(settings.output.video, film);
        auto shown = progress(static_cast<std::int64_t>(plan.decode.size()));
        Film reel([&writer](const io::Picture& frame) { writer.write(frame); }, plan, shape, transport, events, shown);
        decode_chunks(*family, plan, shape, latents, &reel, transport, device.torch);
        reel.finish();
        frames = writer.finish();
        run_file->set_phase(io::Phase::done);
    } else if (has_chunks) {
        decode_chunks(*family, plan, shape, {}, nullptr, transport, device.torch);
    }
    family->drop_decoder();
    return frames;
}

Report Job::State::run() {
    Report report;
    report.video = settings.output.video;
    report.frames = plan.num_poses();
    report.film_seconds = static_cast<double>(report.frames) / inputs.film_fps;
    report.was_done = start.is_done;
    if (!report.was_done) {
        family = model->for_clip(settings, plan, device, [this](const std::vector<std::int64_t>& frames) { return maps_of(frames); });
        const auto latents = denoise();
        record_changes();
        report.frames = decode(latents);
    }
    begin("done");
    for (const auto& rank : gather_reports(plan, held, transport, events)) {
        report.peak_bytes = std::max(report.peak_bytes, rank.peak_bytes);
        report.peak_resident_bytes = std::max(report.peak_resident_bytes, rank.peak_resident_bytes);
    }
    events.emit(
        "done",
        {{"frames", report.frames}, {"video", report.video.string()}, {"peak_bytes", report.peak_bytes}, {"peak_resident_bytes", report.peak_resident_bytes}});
    return report;
}

/// Memory ran out though the plan fits: another program took it, or the plan is wrong. What is saved is kept, and what needs less is told.
Error Job::State::ran_out(const std::string& why) const {
    const auto needed = plan::fullest(plan).bytes;
    std::vector<std::string> near;
    try {
        auto request = fit_request(plan.num_poses());
        request.budget = needed * 8 / 10;
        near = nearest_that_fit(request);
    } catch (const std::exception&) {  // there may be no memory even for that
    }
    return Error(
        ExitCode::does_not_fit,
        cat("out of memory in phase ", phase_name(), ", ", steps_done, " of ", plan.steps, " steps complete: ", first_line(why), "\nThe plan needs ",
            human_bytes(needed), " of ", budget.name, ". Complete steps are in ", settings.output.run_file,
            ": start the same job again, on this or another number of ranks, with that much free or with a smaller memory.budget. ",
            near.empty() ? "A smaller slices.length, decode.chunk or video size needs less" : cat("A fifth less is needed by each of: ", join(near, "; ")),
            "; that makes another video."));
}

Report Job::run() {
    auto& s = *state_;
    try {
        return s.run();
    } catch (const std::exception& error) {
        if (is_out_of_memory(error)) throw s.ran_out(error.what());
        if (const auto* torch = dynamic_cast<const c10::Error*>(&error))
            throw Error(ExitCode::failure, cat("libtorch failed in phase ", s.phase_name(), ": ", torch->what_without_backtrace()));
        throw;
    }
}

std::string Job::phase() const {
    return state_->phase_name();
}

std::int64_t Job::steps_done() const {
    return state_->steps_done;
}

}  // namespace weft::pipeline

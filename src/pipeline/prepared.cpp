#include "pipeline/prepared.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "device/cuda.hpp"
#include "model/open_model.hpp"
#include "pipeline/agreement.hpp"
#include "pipeline/alternatives.hpp"
#include "pipeline/numerics.hpp"
#include "pipeline/once_more.hpp"
#include "topology/placement.hpp"

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

namespace weft::pipeline {

namespace {

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

/// A job in the making.
struct Preparation : Prepared {
    Preparation(const Settings& given, bool restarts, comm::Transport& ranks, Events& sink, Phases& clock)
        : Prepared{.settings = given}, restart{restarts}, transport{ranks}, events{sink}, phases{clock} {}

    bool restart;
    comm::Transport& transport;
    Events& events;
    Phases& phases;
    std::map<std::string, std::string> weights;  ///< file name -> hash of content
    Numerics numerics;

    [[nodiscard]] int rank() const { return transport.who().rank; }
    [[nodiscard]] bool writes() const { return rank() == plan::writer; }

    void prepare();
    void open_all();
    void open_device_transfers();
    void share_unit_times();
    [[nodiscard]] Budget agree_on_budget();
    void make_plan();
    void tell_plan(const Fit& fitted);
    void place();
    [[nodiscard]] io::VideoOptions film_options() const;
    void share_start();
};

void Preparation::prepare() {
    prepare_together(transport, [&] { open_all(); });
    open_device_transfers();
    share_unit_times();
    budget = agree_on_budget();
    prepare_together(transport, [&] {
        make_plan();
        weights = model->digests();
        numerics = make_numerics(settings, device, weights, inputs.digest);
    });
    auto facts = facts_of_rank(settings, numerics);
    facts.push_back(cat("the plan (hash) = ", plan_digest(plan)));
    agree(transport, facts);
    place();
    prepare_together(transport, [&] {
        film = film_options();
        if (!writes()) return;
        // A film that cannot be written is refused now, not after the denoising, and before an old run file is replaced.
        static_cast<void>(io::VideoWriter(settings.output.video, film));
        auto opened = open_run(settings, plan, numerics, inputs.digest, weights, restart);
        run_file.emplace(std::move(opened.file));
        start = opened.start;
        saved = std::move(opened.saved);
    });
    share_start();
}

void Preparation::open_all() {
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
void Preparation::open_device_transfers() {
    if (transport.who().size == 1) return;
    const auto offer = device.is_cuda() ? comm::offer_device(device.torch.index()) : comm::offer_no_device("it computes on its CPU");
    const auto transfers = transport.use_device_transfers(offer);
    travel = transfers.on ? Travel::device : Travel::host;
    if (device.is_cuda() || transfers.on) log::info(cat("tensors   travel ", transfers.reason));
}

/// Costs that were measured on rank 0's machine count for all, so that all make one plan.
void Preparation::share_unit_times() {
    std::string text;
    if (transport.speaks()) {
        const auto path = unit_times_path(settings, device);
        text = read_unit_times(path);
        if (!text.empty()) log::info(cat("costs     of units as measured: ", path.string()));
    }
    if (transport.who().size > 1) text = transport.broadcast(text);
    if (text.empty()) return;
    try {
        unit_times = parse_unit_times(text);
    } catch (const Error& error) {
        if (writes()) log::warn(error.what());
    }
}

/// Bytes that each rank may hold, the same for all, and what they are called. "auto": what is free now on the device, shared by the ranks on it, less a
/// reserve for others; of the rank that has least.
Budget Preparation::agree_on_budget() {
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

void Preparation::make_plan() {
    phases.begin("read");
    Fit fitted;
    const auto plan_for = [&](std::int64_t num_poses) {
        const auto request = fit_request(num_poses, transport);
        fitted = fit(request);
        if (!fitted.fits) throw does_not_fit(request, fitted, budget.name);
        return fitted.plan;
    };
    if (transport.who().size == 1) {
        // What fits for no clip so long is refused before poses are read.
        if (!fit(fit_request(count_poses(settings, settings.slices.length), transport)).fits) static_cast<void>(plan_for(count_poses(settings)));
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
    tell_plan(fitted);
}

void Preparation::tell_plan(const Fit& fitted) {
    const auto num_ranks = transport.who().size;
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
void Preparation::place() {
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

/// Other ranks than the writer only need to know the size.
/// Sound that "auto" finds but the film cannot take is left out, with a warning; sound that the user names is not.
io::VideoOptions Preparation::film_options() const {
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

void Preparation::share_start() {
    std::istringstream words(transport.broadcast(cat(start.steps_done, " ", start.has_latents, " ", start.is_done)));
    words >> start.steps_done >> start.has_latents >> start.is_done;
}

/// The shape with measured costs; as it is where they are of no use, told once.
plan::PassShape weighed(const plan::PassShape& shape, const UnitTimes& times, bool warns) {
    if (times.empty()) return shape;
    try {
        return with_unit_times(shape, times);
    } catch (const Error& error) {
        static std::once_flag told;
        if (warns) std::call_once(told, [&] { log::warn(error.what()); });
        return shape;
    }
}

}  // namespace

FitRequest Prepared::fit_request(std::int64_t num_poses, const comm::Transport& transport) const {
    const bool warns = transport.who().rank == plan::writer;
    return {.model = *model,
            .settings = settings,
            .num_poses = num_poses,
            .picture_pixels = count_pixels(settings),
            .num_ranks = transport.who().size,
            .links = links_of(transport.everyone(), travel),
            .kind = device.kind(),
            .weigh = [this, warns](const plan::PassShape& shape) { return weighed(shape, unit_times, warns); },
            .budget = budget.bytes};
}

Prepared prepare(const Settings& settings, bool restart, comm::Transport& transport, Events& events, Phases& phases) {
    Preparation made(settings, restart, transport, events, phases);
    made.prepare();
    return made;
}

}  // namespace weft::pipeline

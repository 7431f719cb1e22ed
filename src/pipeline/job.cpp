#include "pipeline/job.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "pipeline/alternatives.hpp"
#include "pipeline/batches.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/decode.hpp"
#include "pipeline/film.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/kinds.hpp"
#include "pipeline/once_more.hpp"
#include "pipeline/prepared.hpp"
#include "pipeline/rank_report.hpp"
#include "pipeline/saver.hpp"
#include "pipeline/staging.hpp"
#include "pipeline/trace.hpp"
#include "topology/placement.hpp"

#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <variant>

namespace weft::pipeline {

struct Job::State : Prepared {
    State(Prepared made, JobOptions wishes, comm::Transport& ranks, Events& sink, std::unique_ptr<Phases> clock)
        : Prepared{std::move(made)}, options{std::move(wishes)}, transport{ranks}, events{sink}, phases{std::move(clock)} {}

    JobOptions options;
    comm::Transport& transport;
    Events& events;
    std::unique_ptr<Phases> phases;
    std::unique_ptr<model::Family> family;
    Held held;  ///< when denoising ended
    std::atomic<std::int64_t> steps_done = start.steps_done;
    std::vector<std::string> changes;  ///< that numerics = "free" has made here

    [[nodiscard]] int rank() const { return transport.who().rank; }
    [[nodiscard]] bool writes() const { return rank() == plan::writer; }

    [[nodiscard]] Batches batches();
    void record_changes();
    void write_down(const std::string& text);
    [[nodiscard]] at::Tensor maps_of(const std::vector<std::int64_t>& frames) const;
    [[nodiscard]] at::Tensor kept_latents();
    [[nodiscard]] HostLatents denoise();
    [[nodiscard]] std::int64_t decode(const HostLatents& latents);
    [[nodiscard]] Report run();
    [[nodiscard]] Error ran_out(const std::string& why) const;
};

namespace {

at::Tensor picture_tensor(const io::Picture& picture) {
    auto made = at::empty({picture.height, picture.width, 3}, at::TensorOptions{}.dtype(c10::kByte));
    std::memcpy(made.mutable_data_ptr(), picture.rgb.data(), picture.rgb.size());
    return made;
}

}  // namespace

Job::Job(const Settings& settings, JobOptions options, comm::Transport& transport, Events& events) {
    auto phases = std::make_unique<Phases>(events);
    auto prepared = prepare(settings, options.restart, transport, events, *phases);
    state_ = std::make_unique<State>(std::move(prepared), std::move(options), transport, events, std::move(phases));
    meter::set_limit(plan::allocator_limit(state_->budget.bytes, state_->plan));
}

Job::~Job() = default;

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

    phases->begin("encode");
    transport.pulse().working("encoding the reference picture");
    once_more("encoding the reference picture", release_caches, [this] { family->encode(picture_tensor(inputs.reference)); });
    auto latents = kept_latents();

    phases->begin("denoise");
    transport.pulse().working("loading the denoiser");
    load_denoiser(*family, plan, rank());
    ClipDenoiser denoiser(*family, plan, rank(), std::move(latents), settings.sampling.guidance, transport.pulse(), trace, travel);
    const auto& program = programs.at(static_cast<std::size_t>(rank()));
    if (settings.memory.numerics == NumericsRule::free) denoiser.run_side_by_side(batches());
    if (traced) trace.begin(transport);
    auto shown = phases->progress(std::ranges::count_if(program, [](const auto& operation) { return std::holds_alternative<plan::Compute>(operation); }));
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

std::int64_t Job::State::decode(const HostLatents& latents) {
    phases->begin("decode");
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
        auto shown = phases->progress(static_cast<std::int64_t>(plan.decode.size()));
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
    phases->begin("done");
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
        topology::release_this_thread(topology::process_cores());  // the search's threads are to use all cores
        auto request = fit_request(plan.num_poses(), transport);
        request.budget = needed * 8 / 10;
        near = nearest_that_fit(request);
    } catch (const std::exception&) {  // there may be no memory even for that
    }
    return Error(
        ExitCode::does_not_fit,
        cat("out of memory in phase ", phases->name(), ", ", steps_done, " of ", plan.steps, " steps complete: ", first_line(why), "\nThe plan needs ",
            human_bytes(needed), " of ", budget.name, ". Complete steps are in ", settings.output.run_file,
            ": start the same job again, on this or another number of ranks, with that much free or with a smaller memory.budget. ",
            near.empty() ? "A smaller slices.length, decode.chunk or video size needs less" : cat("A fifth less is needed by each of: ", join(near, "; ")),
            "; all but memory.weights make another video."));
}

Report Job::run() {
    auto& s = *state_;
    try {
        return s.run();
    } catch (const std::exception& error) {
        if (is_out_of_memory(error)) throw s.ran_out(error.what());
        if (const auto* torch = dynamic_cast<const c10::Error*>(&error))
            throw Error(ExitCode::failure, cat("libtorch failed in phase ", s.phases->name(), ": ", torch->what_without_backtrace()));
        throw;
    }
}

std::string Job::phase() const {
    return state_->phases->name();
}

std::int64_t Job::steps_done() const {
    return state_->steps_done;
}

}  // namespace weft::pipeline

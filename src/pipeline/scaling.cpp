#include "pipeline/scaling.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/family.hpp"
#include "pipeline/clip_denoiser.hpp"
#include "pipeline/decode.hpp"
#include "pipeline/film.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/rank_times.hpp"
#include "pipeline/stand_in.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <iomanip>
#include <mutex>
#include <numeric>
#include <sstream>
#include <thread>
#include <unordered_map>

namespace weft::pipeline {

namespace {

constexpr double exchange_share = 0.005;  // of a step, that blending and moving bytes may cost this machine

/// Slices of `length` frames, each sharing `overlap` with the next; in a ring the last with the first, too.
plan::Slices neighbours(std::int64_t num_slices, std::int64_t length, std::int64_t overlap, Clip clip) {
    const auto stride = length - overlap;
    plan::Slices slices(static_cast<std::size_t>(num_slices));
    for (std::int64_t slice = 0; slice < num_slices; ++slice)
        for (std::int64_t slot = 0; slot < length; ++slot) {
            const auto frame = slice * stride + slot;
            slices[static_cast<std::size_t>(slice)].frames.push_back(clip == Clip::ring ? frame % (num_slices * stride) : frame);
        }
    return slices;
}

plan::Plan plan_of(const ScalingRequest& request, int num_ranks, std::int64_t steps) {
    auto settings = request.settings;
    settings.sampling.steps = steps;
    const plan::ModelShape model_shape{.latent_channels = 4, .prediction_bytes = 2, .pass = request.shape};
    const auto links = request.links(num_ranks);
    if (request.clip == Clip::frames) return plan::make_plan(settings, request.length - 1, model_shape, num_ranks, links);
    const auto length = settings.slices.length, overlap = settings.slices.overlap;
    const auto frames = request.length * (length - overlap) + (request.clip == Clip::ring ? 0 : overlap);
    return plan::make_plan(settings, neighbours(request.length, length, overlap, request.clip), frames, frames, model_shape, num_ranks, links);
}

/// What all ranks of one run share.
struct Course {
    plan::Plan plan;
    StandInScale scale;
    model::PassLayout layout;
    plan::Plan small;  ///< the same plan with what a stand-in really leaves between legs
    std::vector<plan::Program> programs;
};

Course course_of(plan::Plan plan, StandInScale scale) {
    Course course{.plan = std::move(plan), .scale = scale, .layout = {}, .small = {}, .programs = {}};
    course.layout = make_stand_in(course.plan, scale)->layout();
    course.small = course.plan;
    course.small.shape = course.layout.shape;
    course.programs = shrunk(plan::compile(course.plan, 0), course.plan, course.layout);
    return course;
}

/// One rank's part; at rank 0 what everybody did.
std::vector<std::vector<Trace::Entry>> take_part(const Course& course, comm::Transport& transport) {
    const int rank = transport.who().rank;
    const auto family = make_stand_in(course.plan, course.scale);
    const auto frames = plan::frames_in(course.small.kept(rank));
    Trace trace(true);
    ClipDenoiser denoiser(*family, course.small, rank, family->initial_latents(frames), {2.0, 2.0}, transport.pulse(), trace);
    Events events;
    Progress progress;
    std::atomic<std::int64_t> steps_done = 0;
    std::optional<Saver> saver;
    if (rank == plan::writer) saver.emplace([](std::int64_t, const std::vector<float>&) {}, course.small, steps_done, 1e9, events);
    Interpreter interpreter(denoiser, transport, course.small, saver ? &*saver : nullptr, events, progress, trace);
    trace.begin(transport);
    interpreter.run(course.programs.at(static_cast<std::size_t>(rank)));
    if (saver) static_cast<void>(saver->finish());
    transport.pulse().waiting("the others' figures");
    return gather_traces(trace, transport);
}

/// One rank's part of decoding: its chunks, one after the other, as one task.
std::vector<std::vector<Trace::Entry>> take_part_in_decoding(const Course& course, comm::Transport& transport) {
    const auto family = make_stand_in(course.plan, course.scale);
    const auto frame = family->decode(family->initial_latents({}));
    const FilmShape shape{.width = static_cast<int>(frame.size(2)), .height = static_cast<int>(frame.size(1)), .hidden_frames = 0};
    const bool writes = transport.who().rank == plan::writer;
    Trace trace(true);
    trace.begin(transport);
    const auto begin_s = Trace::now();
    if (writes) {
        const auto latents = std::make_shared<std::vector<float>>(static_cast<std::size_t>(course.plan.num_latents * course.plan.frame_elements()));
        Events events;
        Progress progress;
        Film film([](const io::Picture&) {}, course.plan, shape, transport, events, progress);
        decode_chunks(*family, course.plan, shape, latents, &film, transport, c10::Device(c10::kCPU));
        film.finish();
    } else {
        decode_chunks(*family, course.plan, shape, {}, nullptr, transport, c10::Device(c10::kCPU));
    }
    trace.add(Trace::Kind::task, -1, begin_s, Trace::now());
    return gather_traces(trace, transport);
}

std::vector<std::vector<Trace::Entry>> run_as_threads(const Course& course, Phase phase) {
    const auto& links = course.plan.links;
    std::vector<std::string> hosts;
    for (int rank = 0; rank < course.plan.num_ranks(); ++rank) hosts.push_back(cat("host", links.host_of(rank)));
    comm::ThreadsHub hub(hosts);
    std::mutex mutex;
    std::vector<std::vector<Trace::Entry>> traces;
    std::exception_ptr error;
    std::vector<std::thread> ranks;
    for (int rank = 0; rank < course.plan.num_ranks(); ++rank)
        ranks.emplace_back([&, rank] {
            comm::Transport transport([&] { return make_late_link(hub.link(rank), links, course.scale); }, {.stall_s = 1e6});
            try {
                auto mine = phase == Phase::denoise ? take_part(course, transport) : take_part_in_decoding(course, transport);
                transport.leave(0);
                const std::lock_guard lock(mutex);
                if (!mine.empty()) traces = std::move(mine);
            } catch (const std::exception& failed) {
                {
                    const std::lock_guard lock(mutex);
                    if (!error) error = std::current_exception();
                }
                transport.fail(ExitCode::failure, failed.what());
            }
        });
    for (auto& rank : ranks) rank.join();
    if (error) std::rethrow_exception(error);
    return traces;
}

using Run = std::function<std::vector<std::vector<Trace::Entry>>(const Course&)>;

double seconds_of(const std::vector<std::vector<Trace::Entry>>& traces, const std::vector<plan::Program>& programs) {
    return traces.empty() ? 0 : measured(traces, programs).seconds;
}

/// How long a row's steps are to be, found by a run in which nothing sleeps.
ScalingRow prepare(const ScalingRequest& request, int num_ranks, double minutes, const Run& run, comm::Transport* transport) {
    const auto given = request.settings.sampling.steps;
    ScalingRow row{.ranks = num_ranks, .steps = request.steps_given ? given : 1};
    const auto two_steps = plan_of(request, num_ranks, 2);
    const auto step_s = plan::simulate(two_steps, plan::compile(two_steps, 0), 0).seconds / 2;  // of the plan
    const auto dry = course_of(two_steps, {.time = 0, .payload = request.payload});
    auto exchange_s = seconds_of(run(dry), dry.programs) / 2;
    if (transport != nullptr) exchange_s = std::stod(transport->broadcast(cat(std::setprecision(17), exchange_s)));
    row.time_scale = request.time_scale > 0 ? request.time_scale : exchange_s / exchange_share / step_s;
    if (request.time_scale <= 0 && request.steps_given)  // what the minutes allow
        row.time_scale = std::min(row.time_scale, minutes * 60 / (step_s * static_cast<double>(given)));
    if (!request.steps_given) row.steps = std::clamp<std::int64_t>(std::llround(minutes * 60 / (step_s * row.time_scale)), 1, given);
    row.exchange = exchange_s / (step_s * row.time_scale);
    return row;
}

/// The longest time from the arrival of a message, or the begin of the wait for it, to the end of the wait.
double latest(const std::vector<std::vector<Trace::Entry>>& traces) {
    double late_s = 0;
    for (const auto& entries : traces) {
        std::unordered_map<std::int64_t, double> came_s;
        for (const auto& entry : entries)
            if (entry.kind == Trace::Kind::receive) came_s[entry.item] = entry.end_s;
        for (const auto& entry : entries)
            if (entry.kind == Trace::Kind::wait) late_s = std::max(late_s, entry.end_s - std::max(entry.begin_s, came_s.at(entry.item)));
    }
    return late_s;
}

/// Fills a prepared row; false where the figures are at another rank.
bool measure(const ScalingRequest& request, ScalingRow& row, const Run& run) {
    const auto course = course_of(plan_of(request, row.ranks, row.steps), {.time = row.time_scale, .payload = request.payload});
    const auto traces = run(course);
    if (traces.empty()) return false;
    const auto found = measured(traces, course.programs);
    const auto predicted = plan::simulate(course.plan, plan::compile(course.plan, 0), 0);
    row.layout = plan::layout_text(course.plan);
    row.load_bound = course.plan.deal.load_bound(course.plan.shape);
    for (const auto load : course.plan.deal.loads(course.plan.shape)) row.one_rank_s += static_cast<double>(load * row.steps) * 1e-9;
    row.seconds = found.seconds / row.time_scale;
    row.predicted_s = predicted.seconds;
    row.late_s = latest(traces);
    if (request.events != nullptr && row.ranks == request.ranks.back()) emit_traces(traces, course.plan, course.programs, *request.events);
    row.other = found.idle_share();
    for (std::size_t idle = 0; idle < plan::num_idle; ++idle) {
        row.idle[idle] = found.idle_share(static_cast<plan::Idle>(idle));
        row.other -= row.idle[idle];
        row.predicted_idle[idle] = predicted.idle_share(static_cast<plan::Idle>(idle));
    }
    return true;
}

/// Fills a row with what decoding takes.
bool measure_decoding(const ScalingRequest& request, ScalingRow& row, const Run& run) {
    const auto course = course_of(plan_of(request, row.ranks, 1), {.time = row.time_scale, .payload = request.payload});
    const auto traces = run(course);
    if (traces.empty()) return false;
    std::vector<double> loads(static_cast<std::size_t>(row.ranks), 0.0);
    for (std::size_t chunk = 0; chunk < course.plan.decode.size(); ++chunk)
        loads[static_cast<std::size_t>(course.plan.decoder[chunk])] += static_cast<double>(course.plan.decode[chunk].size()) * decode_frame_s;
    row.layout = cat(course.plan.decode.size(), " chunks dealt in turn");
    row.one_rank_s = std::accumulate(loads.begin(), loads.end(), 0.0);
    row.predicted_s = *std::max_element(loads.begin(), loads.end());
    row.load_bound = row.one_rank_s / (row.ranks * row.predicted_s);
    row.seconds = measured(traces, course.programs).seconds / row.time_scale;
    row.predicted_idle[static_cast<std::size_t>(plan::Idle::ends)] = 1 - row.load_bound;
    row.idle[static_cast<std::size_t>(plan::Idle::ends)] = 1 - row.efficiency();
    return true;
}

/// Rows measured side by side, since they sleep most of the time; told in order.
class Table {
  public:
    Table(const ScalingRequest& request, std::vector<ScalingRow> rows, const std::function<void(const ScalingRow&)>& told)
        : request_{request}, rows_{std::move(rows)}, done_(rows_.size()), told_{told} {}

    [[nodiscard]] std::vector<ScalingRow> fill() {
        std::vector<std::thread> workers;
        for (int worker = 0; worker < request_.at_once; ++worker) workers.emplace_back([this] { work(); });
        for (auto& worker : workers) worker.join();
        if (error_) std::rethrow_exception(error_);
        return std::move(rows_);
    }

  private:
    void work() {
        for (;;) {
            std::size_t mine = 0;
            {
                const std::lock_guard lock(mutex_);
                if (next_ == rows_.size() || error_) return;
                mine = next_++;
            }
            try {
                const Run run = [this](const Course& course) { return run_as_threads(course, request_.phase); };
                ensure(request_.phase == Phase::denoise ? measure(request_, rows_[mine], run) : measure_decoding(request_, rows_[mine], run),
                       "figures of threads are here");
                const std::lock_guard lock(mutex_);
                for (done_[mine] = true; told_rows_ < rows_.size() && done_[told_rows_]; ++told_rows_) told_(rows_[told_rows_]);
            } catch (...) {
                const std::lock_guard lock(mutex_);
                if (!error_) error_ = std::current_exception();
            }
        }
    }

    const ScalingRequest& request_;
    std::vector<ScalingRow> rows_;
    std::vector<bool> done_;  // under mutex_
    const std::function<void(const ScalingRow&)>& told_;
    std::mutex mutex_;
    std::size_t next_ = 0;       // under mutex_
    std::size_t told_rows_ = 0;  // under mutex_
    std::exception_ptr error_;   // under mutex_
};

}  // namespace

plan::Prediction measured(const std::vector<std::vector<Trace::Entry>>& traces, const std::vector<plan::Program>& programs) {
    std::unordered_map<std::int64_t, double> sent_s;
    double end_s = 0;
    for (const auto& entries : traces)
        for (const auto& entry : entries) {
            if (entry.kind == Trace::Kind::send) sent_s[entry.item] = entry.begin_s;
            end_s = std::max(end_s, entry.end_s);
        }
    plan::Prediction found{.seconds = end_s, .ranks = {}, .steps_s = {}};
    for (std::size_t rank = 0; rank < traces.size(); ++rank) {
        std::vector<Stretch> stretches;
        for (const auto& entry : traces[rank]) {
            Stretch stretch{.kind = entry.kind, .begin_s = entry.begin_s, .end_s = entry.end_s};
            if (entry.kind == Trace::Kind::wait) {
                stretch.cargo = plan::message_of(programs.at(rank).at(static_cast<std::size_t>(entry.operation)))->cargo;
                stretch.sent_s = sent_s.at(entry.item);
            }
            stretches.push_back(stretch);
        }
        found.ranks.push_back(rank_times(stretches, 0, end_s, end_s));
    }
    return found;
}

std::vector<ScalingRow> run_scaling(const ScalingRequest& request, comm::Transport* transport, const std::function<void(const ScalingRow&)>& told) {
    if (transport != nullptr) {
        const Run run = [transport](const Course& course) { return take_part(course, *transport); };
        auto row = prepare(request, transport->who().size, request.minutes, run, transport);
        if (!measure(request, row, run)) return {};
        told(row);
        return {row};
    }
    const auto minutes = request.minutes * request.at_once / static_cast<double>(std::max<std::size_t>(request.ranks.size(), request.at_once));
    std::vector<ScalingRow> rows;
    const Run dry = [](const Course& course) { return run_as_threads(course, Phase::denoise); };
    for (const int num_ranks : request.ranks) {
        if (request.phase == Phase::denoise) {
            rows.push_back(prepare(request, num_ranks, minutes, dry, nullptr));
            continue;
        }
        const auto one_rank_s = static_cast<double>(request.length) * decode_frame_s;
        const auto scale = request.time_scale > 0 ? request.time_scale : minutes * 60 * num_ranks / one_rank_s;
        rows.push_back({.ranks = num_ranks, .steps = 1, .time_scale = scale});
    }
    return Table(request, std::move(rows), told).fill();
}

}  // namespace weft::pipeline

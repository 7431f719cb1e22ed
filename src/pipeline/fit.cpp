#include "pipeline/fit.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <future>
#include <map>
#include <optional>
#include <utility>

namespace weft::pipeline {

namespace {

constexpr std::int64_t kept_features = std::int64_t{64} << 20;  // of pose features on a rank with a CPU, whose memory is not to grow with the clip
constexpr std::int64_t usual_window = 500'000'000;
constexpr std::int64_t most_chunk_divisor = 8;

/// Plans of one job for one choice after the other. What the model says is asked once for each of its ways.
class Planner {
  public:
    explicit Planner(const FitRequest& request) : request_{request} {}

    [[nodiscard]] Fit plan(const plan::MemoryChoice& choice, const Settings& settings) {
        auto shape = shape_of(choice.remake_first_skip, choice.chunk_divisor);
        shape.memory = choice;
        Fit made;
        made.plan = plan::make_plan(settings, request_.num_poses, shape, request_.num_ranks, request_.links, request_.budget);
        made.fullest = plan::fullest(made.plan);
        if (request_.budget && made.fullest.bytes > *request_.budget && made.fullest.phase == "decode") {
            made.plan.memory.remake_in_decoder = true;
            made.fullest = plan::fullest(made.plan);
        }
        made.slow_down = plan::slow_down(made.plan);
        made.fits = !request_.budget || made.fullest.bytes <= *request_.budget;
        return made;
    }

  private:
    [[nodiscard]] const plan::ModelShape& shape_of(bool remakes_first_skip, std::int64_t chunk_divisor) {
        const std::pair key{remakes_first_skip, chunk_divisor};
        if (const auto known = shapes_.find(key); known != shapes_.end()) return known->second;
        auto shape = request_.model.shape(request_.settings, plan::frames_of(request_.settings, request_.num_poses),
                                          plan::slots_of(request_.settings, request_.num_poses), request_.kind,
                                          {.remake_first_skip = remakes_first_skip, .chunk_divisor = chunk_divisor});
        if (request_.kind == c10::kCPU) {  // the picture, which is there meanwhile, and one channel of it in fp32
            const auto picture = 3 * request_.picture_pixels;
            const auto sizing = picture + 4 * request_.picture_pixels;
            shape.encode = std::max(shape.encode + picture, sizing);
        }
        if (request_.weigh) shape.pass = request_.weigh(std::move(shape.pass));
        return shapes_.emplace(key, std::move(shape)).first->second;
    }

    const FitRequest& request_;
    std::map<std::pair<bool, std::int64_t>, plan::ModelShape> shapes_;
};

/// Bytes of the pose features that some rank keeps under a plan.
std::int64_t most_features(const plan::Plan& plan) {
    std::int64_t most = 0;
    for (int rank = 0; rank < plan.num_ranks(); ++rank) most = std::max(most, plan::rank_memory(plan, rank).conditioning - plan.shape.conditioning_bytes);
    return most;
}

/// Choices in the order in which they slow down.
std::vector<plan::MemoryChoice> choices(const MemorySettings& settings) {
    const bool free = settings.numerics == NumericsRule::free;
    std::vector<plan::MemoryChoice> all;
    const auto add = [&](std::int64_t window) {
        all.push_back({.keep_pose_features = true, .stream_window = window});
        all.push_back({.stream_window = window});
        all.push_back({.remake_first_skip = true, .stream_window = window});
        if (!free) return;
        for (std::int64_t divisor = 2; divisor <= most_chunk_divisor; divisor *= 2)
            all.push_back({.remake_first_skip = true, .stream_window = window, .chunk_divisor = divisor});
    };
    if (settings.weights != WeightPlace::streamed) add(0);
    if (settings.weights == WeightPlace::resident) return all;
    add(usual_window);
    add(plan::MemoryChoice::least_window);
    return all;
}

}  // namespace

Fit fit(const FitRequest& request) {
    Planner planner(request);
    // Where passes may run side by side, features that are not there yet would be taken for room.
    const bool bounds_features = request.kind == c10::kCPU || request.settings.memory.numerics == NumericsRule::free;
    const bool may_choose_layout = request.settings.layout.kind == LayoutKind::automatic && request.num_ranks > 1;
    std::optional<Fit> least, in_stages;
    for (const auto& choice : choices(request.settings.memory)) {
        auto settings = request.settings;
        if (choice.remake_first_skip && may_choose_layout) settings.layout.kind = LayoutKind::whole;  // what is made again is never sent
        auto made = planner.plan(choice, settings);
        const bool whole = std::ranges::all_of(made.plan.deal.routes(), [](const plan::Route& route) { return route.legs.size() == 1; });
        if (choice.remake_first_skip && !whole) continue;
        if (choice.keep_pose_features && bounds_features && most_features(made.plan) > kept_features) continue;
        // Stages divide weights and raise the activations of the outer ranks: they come last where they are taken for memory alone.
        const bool for_memory = may_choose_layout && made.plan.layout.kind == LayoutKind::stages && made.plan.layout.passed_over > 0;
        if (made.fits && !for_memory) return made;
        if (made.fits && !in_stages) in_stages = made;
        if (!least || made.fullest.bytes < least->fullest.bytes) least = std::move(made);
    }
    return in_stages ? std::move(*in_stages) : std::move(*least);
}

namespace {
std::string weights_text(std::int64_t window) {
    if (window == 0) return "weights stay";
    return window == plan::MemoryChoice::least_window ? "weights streamed, as few at a time as can be" : cat("weights streamed through ", human_bytes(window));
}
}  // namespace

std::string choice_text(const plan::Plan& plan) {
    const auto& choice = plan.memory;
    std::vector<std::string> parts;
    parts.push_back(weights_text(choice.stream_window));
    parts.push_back(choice.keep_pose_features ? "pose features kept" : "pose features made again for each pass");
    if (choice.remake_in_decoder) parts.push_back("temporal results of the decoder made again");
    if (choice.remake_first_skip) parts.push_back("the first skip made again");
    if (choice.chunk_divisor > 1) parts.push_back(cat("operations take 1/", choice.chunk_divisor, " of their rows at once"));
    return join(parts);
}

namespace {

using Set = std::function<void(FitRequest&, std::int64_t)>;

/// Whether a job fits with all that its settings let the planner do, and how much it then needs.
struct Possible {
    bool fits = false;
    std::int64_t needed = 0;
};
Possible possible(const FitRequest& request) {
    Planner planner(request);
    auto settings = request.settings;
    const bool whole = settings.layout.kind == LayoutKind::automatic || settings.layout.kind == LayoutKind::whole;
    if (whole) settings.layout.kind = LayoutKind::whole;
    plan::MemoryChoice least{.remake_first_skip = whole};
    if (whole && settings.memory.numerics == NumericsRule::free) least.chunk_divisor = most_chunk_divisor;
    if (settings.memory.weights != WeightPlace::resident) least.stream_window = plan::MemoryChoice::least_window;
    const auto made = planner.plan(least, settings);
    return {made.fits, made.fullest.bytes};
}

/// Where two points say that the budget is met, when what is needed grows evenly; nothing where they do not say.
std::optional<std::int64_t> met_at(const std::vector<std::pair<std::int64_t, std::int64_t>>& points, std::int64_t budget) {
    if (points.size() < 2) return std::nullopt;
    const auto [x, y] = points[points.size() - 2];
    const auto [to_x, to_y] = points.back();
    if (to_x == x || (to_y - y) / (to_x - x) <= 0) return std::nullopt;
    return to_x + (budget - to_y) / ((to_y - y) / (to_x - x));
}

/// The largest value from `least` to `most` in steps with which the job fits, and how much it then needs; 0: none. What is larger needs more.
struct Largest {
    std::int64_t value = 0, needed = 0;
};
Largest largest(const FitRequest& request, std::int64_t least, std::int64_t most, std::int64_t step, const Set& set) {
    constexpr std::size_t guesses = 5;  // then halves, whatever grows as it grows
    Largest found;
    std::vector<std::pair<std::int64_t, std::int64_t>> points;  // steps, bytes
    for (auto low = (least + step - 1) / step, high = most / step; low <= high;) {
        auto next = points.empty() ? low : (low + high) / 2;  // where the least does not fit, nothing does
        if (const auto met = met_at(points, request.budget.value_or(0)); met && points.size() <= guesses) next = std::clamp(*met, low, high);
        auto tried = request;
        set(tried, next * step);
        const auto [fits, needed] = possible(tried);
        points.emplace_back(next, needed);
        if (fits) {
            found = {next * step, needed};
            low = next + 1;
        } else {
            high = next - 1;
        }
    }
    return found;
}

/// The video's size with this width and the same shape.
VideoSettings with_width(const VideoSettings& video, std::int64_t width) {
    const auto height = static_cast<double>(video.height) * static_cast<double>(width) / static_cast<double>(video.width);
    return {.width = width, .height = std::max<std::int64_t>(64, std::llround(height / 64) * 64)};
}

void set_length(FitRequest& request, std::int64_t value) {
    request.settings.slices.length = value;
    request.num_poses = std::max(request.num_poses, value);  // else the clip would be shorter than the slice
}

Set set_width(const VideoSettings& video) {
    return [video](FitRequest& request, std::int64_t value) { request.settings.video = with_width(video, value); };
}

}  // namespace

std::vector<std::string> largest_that_fit(const FitRequest& request) {
    constexpr std::int64_t most_width = 8192;
    const auto& settings = request.settings;
    auto clip = request;
    clip.num_poses = std::max(request.num_poses, settings.slices.length);
    const auto once = possible(clip);
    clip.num_poses *= 11;
    const auto growth = (possible(clip).needed - once.needed) / 10;  // by as many frames as the clip has
    const auto room = request.budget.value_or(0) - once.needed;
    const auto poses = growth > 0 ? (room / growth + 1) * clip.num_poses / 11 : 0;
    const auto most_length = settings.model.family == FamilyName::musepose ? std::int64_t{128} : std::int64_t{512};
    const auto length = largest(request, settings.slices.overlap + 1, most_length, 1, set_length);
    const auto width = largest(request, 64, most_width, 64, set_width(settings.video));
    const auto size = with_width(settings.video, width.value);
    return {growth > 0 ? cat("about ", poses, " pose frames") : "any number of pose frames",
            cat("slices.length ", length.value, length.value >= most_length ? " or more" : ""), cat("video ", size.width, "x", size.height)};
}

std::vector<std::string> nearest_that_fit(const FitRequest& request) {
    const auto& settings = request.settings;
    struct Found {
        double change;  ///< how much less is asked for
        std::string text;
    };
    std::vector<std::future<std::optional<Found>>> searches;  // side by side: each rehearses many jobs
    const auto search = [&searches](auto look) { searches.push_back(std::async(std::launch::async, std::move(look))); };
    const auto found_at = [](double change, const std::string& what, std::int64_t needed) {
        return Found{change, cat(what, " (needs ", human_bytes(needed), ")")};
    };
    /// The largest value below `now`, named by `name`; counted as the change that it is, or as `change`.
    const auto search_value = [&](const FitRequest& base, std::int64_t now, std::int64_t least, std::int64_t step, const Set& set,
                                  const std::function<std::string(std::int64_t)>& name, std::optional<double> change = std::nullopt) {
        search([=]() -> std::optional<Found> {
            const auto best = largest(base, least, now - 1, step, set);
            if (best.value == 0) return std::nullopt;
            return found_at(change.value_or(static_cast<double>(now) / static_cast<double>(best.value)), name(best.value), best.needed);
        });
    };
    const auto search_setting = [&](double change, const std::string& name, const std::function<void(Settings&)>& set) {
        search([=]() -> std::optional<Found> {
            auto tried = request;
            set(tried.settings);
            const auto made = possible(tried);
            return made.fits ? std::optional(found_at(change, name, made.needed)) : std::nullopt;
        });
    };
    const auto name_length = [](std::int64_t value) { return cat("slices.length = ", value); };
    const auto length = plan::slots_of(settings, request.num_poses);
    const auto least_length = settings.slices.overlap + 1;
    search_value(request, length, least_length, 1, set_length, name_length);
    search_value(request, settings.video.width, 64, 64, set_width(settings.video), [video = settings.video](std::int64_t value) {
        return cat("video.width = ", value, " with video.height = ", with_width(video, value).height);
    });
    search_value(
        request, settings.decode.chunk, 1, 1, [](FitRequest& tried, std::int64_t value) { tried.settings.decode.chunk = value; },
        [](std::int64_t value) { return cat("decode.chunk = ", value); });
    if (settings.memory.weights == WeightPlace::resident)
        search_setting(1, "memory.weights = \"auto\"", [](Settings& tried) { tried.memory.weights = WeightPlace::automatic; });
    if (settings.memory.numerics == NumericsRule::fixed)
        search_setting(1, "memory.numerics = \"free\"", [](Settings& tried) { tried.memory.numerics = NumericsRule::free; });
    if (const auto dtype = settings.model.dtype; dtype == Dtype::fp32 || (dtype == Dtype::automatic && request.kind == c10::kCPU)) {
        const auto half = request.kind == c10::kCPU ? Dtype::bf16 : Dtype::fp16;
        search_setting(1.5, cat("model.dtype and decode.dtype = \"", name_of(half), "\""),
                       [half](Settings& tried) { tried.model.dtype = tried.decode.dtype = half; });
    }
    std::vector<Found> found;
    const auto gather = [&] {
        for (auto& one : std::exchange(searches, {}))
            if (auto best = one.get()) found.push_back(*std::move(best));
    };
    gather();
    if (found.size() < 3 && settings.decode.chunk > 1) {  // two at a time: with the smallest chunk
        auto small = request;
        small.settings.decode.chunk = 1;
        if (!possible(small).fits) {
            search_value(
                small, length, least_length, 1, set_length, [=](std::int64_t value) { return cat(name_length(value), " with decode.chunk = 1"); }, 10);
            search_value(
                small, settings.video.width, 64, 64, set_width(settings.video),
                [video = settings.video](std::int64_t value) {
                    return cat("video.width = ", value, ", video.height = ", with_width(video, value).height, " with decode.chunk = 1");
                },
                10);
            gather();
        }
    }
    std::ranges::stable_sort(found, {}, &Found::change);
    std::vector<std::string> texts;
    for (const auto& one : found)
        if (texts.size() < 3) texts.push_back(one.text);
    return texts;
}

Error does_not_fit(const FitRequest& request, const Fit& least, const std::string& budget_name) {
    const auto near = nearest_that_fit(request);
    const auto who = request.num_ranks > 1 ? cat("rank ", least.fullest.rank) : "the job";
    return Error(ExitCode::does_not_fit,
                 cat(budget_name, ": ", who, " needs at least ", human_bytes(least.fullest.bytes), " to ", least.fullest.phase, " (", choice_text(least.plan),
                     "); raise the budget",
                     near.empty() ? "" : cat(", or take what fits, each alone; all but settings of memory make another video: ", join(near, "; ")), "."));
}

}  // namespace weft::pipeline

#include "pipeline/alternatives.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <future>
#include <optional>
#include <utility>

namespace weft::pipeline {

namespace {

constexpr std::size_t most_alternatives = 3;

using Assignments = std::vector<std::string>;  // "video.width = 320"

/// A number of the job of which less needs less memory.
struct Dial {
    std::int64_t now, least, step;
    std::function<void(FitRequest&, std::int64_t)> set;
    std::function<Assignments(std::int64_t)> assignments;
};

/// A setting that may help, and how large a change it counts as: a dial's is how many times smaller its value becomes.
struct Switch {
    Assignments assignments;
    double change;
    std::function<void(Settings&)> set;
};

Assignments joined(Assignments front, const Assignments& back) {
    front.insert(front.end(), back.begin(), back.end());
    return front;
}

Switch both(const Switch& one, const Switch& other) {
    return {joined(one.assignments, other.assignments), one.change * other.change, [one = one.set, other = other.set](Settings& tried) {
                one(tried);
                other(tried);
            }};
}

/// The video's size with this width and the same shape.
VideoSettings with_width(const VideoSettings& video, std::int64_t width) {
    const auto height = static_cast<double>(video.height) * static_cast<double>(width) / static_cast<double>(video.width);
    return {.width = width, .height = std::max<std::int64_t>(64, std::llround(height / 64) * 64)};
}

Dial length_of(const FitRequest& request) {
    const auto overlap = request.settings.slices.overlap;
    return {.now = plan::slots_of(request.settings, request.num_poses),
            .least = std::max(overlap + 1, 2 * overlap),  // below, more passes and more of their predictions wait, and less is more
            .step = 1,
            .set =
                [](FitRequest& tried, std::int64_t value) {
                    tried.settings.slices.length = value;
                    tried.num_poses = std::max(tried.num_poses, value);  // else the clip would be shorter than the slice
                },
            .assignments = [](std::int64_t value) { return Assignments{cat("slices.length = ", value)}; }};
}

Dial width_of(const FitRequest& request) {
    const auto video = request.settings.video;
    return {.now = video.width,
            .least = 64,
            .step = 64,
            .set = [video](FitRequest& tried, std::int64_t value) { tried.settings.video = with_width(video, value); },
            .assignments =
                [video](std::int64_t value) {
                    return Assignments{cat("video.width = ", value), cat("video.height = ", with_width(video, value).height)};
                }};
}

Dial chunk_of(const FitRequest& request) {
    return {.now = request.settings.decode.chunk,
            .least = 1,
            .step = 1,
            .set = [](FitRequest& tried, std::int64_t value) { tried.settings.decode.chunk = value; },
            .assignments = [](std::int64_t value) { return Assignments{cat("decode.chunk = ", value)}; }};
}

/// Types of half the size, where one of the job's is not.
std::optional<Switch> half_of(const FitRequest& request) {
    const bool cpu = request.kind == c10::kCPU;
    const auto is_whole = [cpu](Dtype dtype) { return dtype == Dtype::fp32 || (dtype == Dtype::automatic && cpu); };
    if (!is_whole(request.settings.model.dtype) && !is_whole(request.settings.decode.dtype)) return std::nullopt;
    const auto half = cpu ? Dtype::bf16 : Dtype::fp16;
    return Switch{{cat("model.dtype = ", in_quotes(name_of(half))), cat("decode.dtype = ", in_quotes(name_of(half)))}, 1.5, [half](Settings& tried) {
                      tried.model.dtype = tried.decode.dtype = half;
                  }};
}

/// Where two points say that the budget is met, when what is needed grows evenly; nothing where they do not say.
std::optional<std::int64_t> met_at(const std::vector<std::pair<std::int64_t, std::int64_t>>& points, std::int64_t budget) {
    if (points.size() < 2) return std::nullopt;
    const auto [x, y] = points[points.size() - 2];
    const auto [to_x, to_y] = points.back();
    if (to_x == x || (to_y - y) / (to_x - x) <= 0) return std::nullopt;
    return to_x + (budget - to_y) / ((to_y - y) / (to_x - x));
}

/// The largest value of a dial, up to `most`, with which the job fits, and how much it then needs; 0: none. What is larger needs more.
struct Largest {
    std::int64_t value = 0, needed = 0;
};
Largest largest(const FitRequest& request, const Dial& dial, std::int64_t most) {
    constexpr std::size_t guesses = 5;  // then halves, whatever grows as it grows
    Largest found;
    std::vector<std::pair<std::int64_t, std::int64_t>> points;  // steps, bytes
    for (auto low = (dial.least + dial.step - 1) / dial.step, high = most / dial.step; low <= high;) {
        auto next = points.empty() ? low : (low + high) / 2;  // where the least does not fit, nothing does
        if (const auto met = met_at(points, request.budget.value_or(0)); met && points.size() <= guesses) next = std::clamp(*met, low, high);
        auto tried = request;
        dial.set(tried, next * dial.step);
        const auto [fits, needed] = possible(tried);
        points.emplace_back(next, needed);
        if (fits) {
            found = {next * dial.step, needed};
            low = next + 1;
        } else {
            high = next - 1;
        }
    }
    return found;
}

/// One thing to ask for instead, by how much less that is.
struct Alternative {
    double change = 0;
    Assignments assignments;
    std::int64_t needed = 0;
    std::int64_t value = 0;  ///< of the dial that `assignments` begins with

    [[nodiscard]] std::string text() const { return cat(join(assignments), " (needs ", human_bytes(needed), ")"); }
    /// It asks for no more of the same, and changes no less beside it.
    [[nodiscard]] bool is_worse_than(const Alternative& other) const {
        const auto key_of = [](const std::string& assignment) { return assignment.substr(0, assignment.find(" = ")); };
        const auto changes = [&](const std::string& key) { return std::ranges::find(assignments, key, key_of) != assignments.end(); };
        return key_of(assignments.front()) == key_of(other.assignments.front()) && value <= other.value &&
               std::ranges::all_of(other.assignments, changes, key_of);
    }
};
using Search = std::future<std::optional<Alternative>>;

/// Searches run side by side: each rehearses many jobs.
Search turned_down(FitRequest request, Dial dial, const std::optional<Switch>& beside = std::nullopt) {
    if (beside) beside->set(request.settings);
    return std::async(std::launch::async, [request = std::move(request), dial = std::move(dial), beside]() -> std::optional<Alternative> {
        const auto best = largest(request, dial, dial.now - 1);
        if (best.value == 0) return std::nullopt;
        const auto change = static_cast<double>(dial.now) / static_cast<double>(best.value);
        return Alternative{change * (beside ? beside->change : 1), joined(dial.assignments(best.value), beside ? beside->assignments : Assignments{}),
                           best.needed, best.value};
    });
}

Search switched(FitRequest request, const Switch& with) {
    with.set(request.settings);
    return std::async(std::launch::async, [request = std::move(request), with]() -> std::optional<Alternative> {
        const auto [fits, needed] = possible(request);
        return fits ? std::optional(Alternative{with.change, with.assignments, needed}) : std::nullopt;
    });
}

}  // namespace

std::vector<std::string> largest_that_fit(const FitRequest& request) {
    constexpr std::int64_t most_side = 8192;
    const auto& settings = request.settings;
    const auto clip_poses = std::max(request.num_poses, settings.slices.length);
    const auto needed_for = [&](std::int64_t clips) {
        auto longer = request;
        longer.num_poses = clips * clip_poses;
        return possible(longer).needed;
    };
    const auto once = needed_for(1);
    const auto growth = (needed_for(11) - once) / 10;  // by as many frames as the clip has
    const auto room = std::max<std::int64_t>(0, request.budget.value_or(0) - once);
    const auto poses = growth > 0                ? cat("about ", clip_poses + room / growth * clip_poses + room % growth * clip_poses / growth, " pose frames")
                       : needed_for(1001) > once ? cat(11 * clip_poses, " pose frames or more")
                                                 : "any number of pose frames";
    auto length = length_of(request), width = width_of(request);
    length.least = length.now;  // which fits
    width.least = width.now;
    const auto most_length = settings.model.family == FamilyName::musepose ? std::int64_t{128} : std::int64_t{512};
    const auto most_width = most_side * settings.video.width / std::max(settings.video.width, settings.video.height) / width.step * width.step;
    const auto longest = std::max(length.now, largest(request, length, most_length).value);
    const auto widest = std::max(width.now, largest(request, width, most_width).value);
    const auto size = with_width(settings.video, widest);
    const auto or_more = [](bool is_most) { return is_most ? " or more" : ""; };
    return {poses, cat("slices.length ", longest, or_more(longest >= most_length)), cat("video ", size.width, "x", size.height, or_more(widest >= most_width))};
}

std::vector<std::string> nearest_that_fit(const FitRequest& request) {
    const auto& memory = request.settings.memory;
    auto length = length_of(request), width = width_of(request);
    const auto half = half_of(request);
    auto with_length = turned_down(request, length), with_width = turned_down(request, width), with_chunk = turned_down(request, chunk_of(request));
    Search with_half, with_streaming, with_freedom;
    if (half) with_half = switched(request, *half);
    if (memory.weights == WeightPlace::resident)
        with_streaming = switched(request, {{"memory.weights = \"auto\""}, 1, [](Settings& tried) { tried.memory.weights = WeightPlace::automatic; }});
    if (memory.numerics == NumericsRule::fixed)
        with_freedom = switched(request, {{"memory.numerics = \"free\""}, 1, [](Settings& tried) { tried.memory.numerics = NumericsRule::free; }});

    std::vector<Alternative> found;
    const auto take = [&found](Search& search) {
        auto one = search.valid() ? search.get() : std::nullopt;
        if (one) found.push_back(*one);
        return one;
    };
    const auto shorter = take(with_length), narrower = take(with_width);
    const bool chunk_helps = take(with_chunk).has_value(), half_helps = take(with_half).has_value();
    take(with_streaming);
    take(with_freedom);

    if (found.size() < most_alternatives) {  // several at a time, where that allows more than one alone
        if (shorter) length.least = shorter->value + length.step;
        if (narrower) width.least = narrower->value + width.step;
        std::vector<Switch> beside;
        if (half && !half_helps) beside.push_back(*half);
        if (request.settings.decode.chunk > 1 && !chunk_helps) beside.push_back({{"decode.chunk = 1"}, 2, [](Settings& tried) { tried.decode.chunk = 1; }});
        std::vector<Search> searches;
        if (beside.size() == 2) searches.push_back(turned_down(request, chunk_of(request), *half));
        for (const auto& one : beside) searches.push_back(turned_down(request, length, one));
        const auto others = beside;
        for (const double times : {1.33, 2.0}) {
            const auto value = std::llround(static_cast<double>(length.now) / times);
            if (value < length.least) continue;
            const Switch shorter_slices{length.assignments(value), times, [value](Settings& tried) { tried.slices.length = value; }};
            beside.push_back(shorter_slices);
            for (const auto& one : others) beside.push_back(both(shorter_slices, one));
        }
        for (const auto& one : beside) searches.push_back(turned_down(request, width, one));
        for (auto& one : searches) take(one);
    }
    std::ranges::stable_sort(found, {}, &Alternative::change);
    std::vector<Alternative> nearest;
    for (const auto& one : found)
        if (nearest.size() < most_alternatives && std::ranges::none_of(nearest, [&](const auto& nearer) { return one.is_worse_than(nearer); }))
            nearest.push_back(one);
    std::vector<std::string> texts;
    texts.reserve(nearest.size());
    for (const auto& one : nearest) texts.push_back(one.text());
    return texts;
}

Error does_not_fit(const FitRequest& request, const Fit& least, const std::string& budget_name) {
    const auto near = nearest_that_fit(request);
    const auto who = request.num_ranks > 1 ? cat("rank ", least.fullest.rank) : "the job";
    return Error(ExitCode::does_not_fit,
                 cat(budget_name, ": ", who, " needs at least ", human_bytes(least.fullest.bytes), " to ", least.fullest.phase, " (", choice_text(least.plan),
                     "); raise the budget",
                     near.empty() ? "" : cat(", or take what fits, each alone; all but memory.weights make another video: ", join(near, "; ")), "."));
}

}  // namespace weft::pipeline

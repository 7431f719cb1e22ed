#include "pipeline/fit.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

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
    parts.emplace_back(choice.keep_pose_features ? "pose features kept" : "pose features made again for each pass");
    if (choice.remake_in_decoder) parts.emplace_back("temporal results of the decoder made again");
    if (choice.remake_first_skip) parts.emplace_back("the first skip made again");
    if (choice.chunk_divisor > 1) parts.push_back(cat("operations take 1/", choice.chunk_divisor, " of their rows at once"));
    return join(parts);
}

Possible possible(const FitRequest& request) {
    Planner planner(request);
    auto settings = request.settings;
    const bool whole = settings.layout.kind == LayoutKind::automatic || settings.layout.kind == LayoutKind::whole;
    if (whole) settings.layout.kind = LayoutKind::whole;
    plan::MemoryChoice least{.remake_first_skip = whole};
    if (whole && settings.memory.numerics == NumericsRule::free) least.chunk_divisor = most_chunk_divisor;
    Possible best{.needed = std::numeric_limits<std::int64_t>::max() / 4};
    const auto attempt = [&](std::int64_t window) {
        least.stream_window = window;
        const auto made = planner.plan(least, settings);
        if (made.fullest.bytes < best.needed) best = {made.fits, made.fullest.bytes};
    };
    try {
        if (settings.memory.weights != WeightPlace::streamed) attempt(0);  // small weights take less than the room that streaming needs
        if (settings.memory.weights != WeightPlace::resident) attempt(plan::MemoryChoice::least_window);
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
    }
    return best;
}

}  // namespace weft::pipeline

#pragma once
#include "base/settings.hpp"
#include "model/model.hpp"
#include "plan/memory.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

/// Fits a job into the memory that there is: of all that keeps the bits, what slows it down least.
namespace weft::pipeline {

/// What a plan is made of, and for how much memory.
struct FitRequest {
    const model::Model& model;
    Settings settings;
    std::int64_t num_poses = 0;
    std::int64_t picture_pixels = 0;  ///< of the reference as it is read
    int num_ranks = 1;
    plan::Links links;
    c10::DeviceType kind = c10::kCPU;
    std::function<plan::PassShape(plan::PassShape)> weigh;  ///< puts measured costs in; none: as modelled
    std::optional<std::int64_t> budget;                     ///< bytes a rank may hold; none: as much as it likes
};

struct Fit {
    plan::Plan plan;
    plan::Fullest fullest;  ///< the rank that needs most, by the plan
    double slow_down = 1;   ///< plan::slow_down
    bool fits = true;       ///< else the plan is the one that needs least
};

/// Refuses (exit code 2) layouts that cannot be.
[[nodiscard]] Fit fit(const FitRequest& request);

/// What was chosen and what it costs, for people: "weights stay, pose features are kept".
[[nodiscard]] std::string choice_text(const plan::Plan& plan);

/// Whether a job fits when all is done that keeps what its settings ask for, with whole passes where the layout is free, and how much the fullest rank then
/// needs. A layout that cannot be does not fit.
struct Possible {
    bool fits = false;
    std::int64_t needed = 0;
};
[[nodiscard]] Possible possible(const FitRequest& request);

}  // namespace weft::pipeline

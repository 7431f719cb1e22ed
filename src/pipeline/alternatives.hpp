#pragma once
#include "base/error.hpp"
#include "pipeline/fit.hpp"

#include <string>
#include <vector>

/// What to ask for instead of what does not fit.
namespace weft::pipeline {

/// Up to three changes, each of which lets the job fit without the others, the smallest first: "slices.length = 40 (needs 7.1 GiB)". Where too few settings do
/// so alone, also several at a time.
[[nodiscard]] std::vector<std::string> nearest_that_fit(const FitRequest& request);

/// Of a job that fits: the largest number of pose frames, length of slices and size of the video, each alone, that fit: "slices.length 112".
[[nodiscard]] std::vector<std::string> largest_that_fit(const FitRequest& request);

/// The refusal of a job that does not fit: who needs how much where, and what would fit (exit code 3). `budget_name`: "memory.budget = "8GiB"".
[[nodiscard]] Error does_not_fit(const FitRequest& request, const Fit& least, const std::string& budget_name);

}  // namespace weft::pipeline

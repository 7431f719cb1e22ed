#pragma once
#include "base/settings.hpp"
#include "plan/links.hpp"

#include <filesystem>
#include <string>

namespace weft::pipeline {

struct PreviewRequest {
    Settings settings;
    int num_ranks = 1;
    plan::Links links;
    std::filesystem::path costs;  ///< times of units as `weft bench units` wrote them; empty: modelled
};

/// `weft plan`: slices, passes, chunks and sizes of the job and, with several ranks, who does what, when, and what travels; from config files and the number of
/// pose frames alone.
/// Refuses (exit code 2) what cannot be planned.
[[nodiscard]] std::string preview(const PreviewRequest& request);

}  // namespace weft::pipeline

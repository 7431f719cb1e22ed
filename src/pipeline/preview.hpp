#pragma once
#include "base/settings.hpp"
#include "plan/links.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace weft::pipeline {

struct PreviewRequest {
    Settings settings;
    int num_ranks = 1;
    std::optional<plan::Links> links;    ///< none: what a job on one host assumes, NCCL's rate where the network's type is for GPUs
    std::optional<std::int64_t> memory;  ///< bytes of a card; none: memory.budget, where one is set
    std::optional<std::int64_t> poses;   ///< pose frames; none: those of the settings' clip, which is counted
    std::filesystem::path costs;         ///< times of units as `weft bench units` wrote them; empty: modelled
};

/// `weft plan`: slices, passes, chunks and sizes of the job and, with several ranks, who does what, when, and what travels; how much memory each rank
/// needs, and what the largest sizes are that fit; from config files and the number of pose frames alone.
/// Refuses what cannot be planned (exit code 2), and what does not fit (exit code 3).
[[nodiscard]] std::string preview(const PreviewRequest& request);

/// `weft plan --cards`: a table in Markdown of what the job needs on cards of so many GB, 5 % of them left to others, and what is chosen to fit it in.
[[nodiscard]] std::string card_table(const PreviewRequest& request, const std::vector<std::int64_t>& cards);

}  // namespace weft::pipeline

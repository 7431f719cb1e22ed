#pragma once
#include "base/settings.hpp"

#include <string>

namespace weft::pipeline {

/// `weft plan`: slices, passes, chunks and sizes of the job and, with several ranks, who does what and what travels; from config files and the number of pose
/// frames alone.
/// Refuses (exit code 2) what cannot be planned.
[[nodiscard]] std::string preview(const Settings& settings, int num_ranks);

}  // namespace weft::pipeline

#pragma once
#include "comm/transport.hpp"
#include "pipeline/numerics.hpp"

#include <string>
#include <vector>

namespace weft::pipeline {

/// What must be the same on all ranks: the program itself, all settings but input paths, and what the bits are a function of.
[[nodiscard]] std::vector<std::string> facts_of_rank(const Settings& settings, const Numerics& numerics);

/// Refuses (JobRefused, exit code 2, on every rank) where a rank's facts differ from rank 0's, naming ranks, facts and both values. All ranks call it.
void agree(comm::Transport& transport, const std::vector<std::string>& facts);

}  // namespace weft::pipeline

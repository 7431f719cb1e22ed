#pragma once
#include "base/settings.hpp"
#include "io/run_file.hpp"
#include "pipeline/numerics.hpp"
#include "pipeline/saver.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <map>
#include <string>

namespace weft::pipeline {

/// Where a job begins, by its run file; the same on all ranks.
struct RunStart {
    std::int64_t steps_done = 0;
    bool has_latents = false;  ///< of so many steps, in the run file
    bool is_done = false;      ///< an earlier run had finished this very job and its video is there
};

/// A run file, open, and where it says that the job begins.
struct OpenedRun {
    io::RunFile file;
    RunStart start;
    HostLatents saved;  ///< of `start`, where it has latents
};

/// The run file of this job that is there, or (with `restart` always) a new one. Refuses (exit code 2) that of another job, with what differs.
/// `weights`: file name -> hash of content.
[[nodiscard]] OpenedRun open_run(const Settings& settings, const plan::Plan& plan, const Numerics& numerics, const std::string& input_digest,
                                 const std::map<std::string, std::string>& weights, bool restart);

}  // namespace weft::pipeline

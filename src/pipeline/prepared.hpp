#pragma once
#include "base/events.hpp"
#include "base/settings.hpp"
#include "comm/transport.hpp"
#include "device/device.hpp"
#include "io/video_writer.hpp"
#include "model/model.hpp"
#include "pipeline/fit.hpp"
#include "pipeline/inputs.hpp"
#include "pipeline/phases.hpp"
#include "pipeline/run_start.hpp"
#include "pipeline/staging.hpp"
#include "pipeline/unit_times.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace weft::pipeline {

/// Bytes that each rank may hold, the same for all, and what they are called: "memory.budget = "8GiB"".
struct Budget {
    std::int64_t bytes = 0;
    std::string name;
};

/// What is known of a job before weights load.
struct Prepared {
    Settings settings;
    ComputeDevice device;
    Travel travel = Travel::host;
    std::unique_ptr<model::Model> model;
    UnitTimes unit_times;  ///< as measured on rank 0's machine, if they were
    Budget budget;
    Inputs inputs;
    plan::Plan plan;
    io::VideoOptions film;
    RunStart start;
    std::optional<io::RunFile> run_file;  ///< at the writer
    HostLatents saved;                    ///< at the writer: of `start`, until they are dealt out

    /// Valid while this object stays where it is.
    [[nodiscard]] FitRequest fit_request(std::int64_t num_poses, const comm::Transport& transport) const;
};

/// Reads and checks everything, plans, and opens the run file. All ranks call it; all go on, or none does: throws JobRefused, exit code 2 for wrong settings,
/// inputs and models, the run file of another job, and ranks that differ; exit code 3 when the budget is too small.
[[nodiscard]] Prepared prepare(const Settings& settings, bool restart, comm::Transport& transport, Events& events, Phases& phases);

}  // namespace weft::pipeline

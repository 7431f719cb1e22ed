#pragma once
#include "pipeline/trace.hpp"

#include <string>
#include <vector>

/// What `weft generate --events` left of a denoising: who did what, when.
namespace weft::app {

/// A line "trace" (pipeline/trace.cpp writes them). What its kind does not tell stays as it is here.
struct TraceLine {
    pipeline::Trace::Kind kind = pipeline::Trace::Kind::task;
    double begin_s = 0;
    double end_s = 0;
    pipeline::LogicalTime clock;
    plan::Pass pass;          ///< of an advance and of latents only the step counts
    plan::PieceRange pieces;  ///< of a task or unit
    std::int64_t slot = 0;
    std::int64_t piece = -1;    ///< of a unit
    std::string unit;           ///< its name, also of a fetch of its weights and of a stall for them
    std::int64_t message = -1;  ///< number, of a wait or transfer, as is what follows
    plan::Cargo cargo = plan::Cargo::prediction;
    int from = 0;
    int to = 0;
    std::int64_t bytes = 0;
    std::int64_t frames = 0;  ///< of an advance
};

struct RecordedTrace {
    std::vector<std::vector<TraceLine>> ranks;  ///< each by begin
    std::vector<std::string> hosts;             ///< by rank; shorter where the job did not end
    double load_bound = 0;                      ///< 0: not told
    double seconds = 0;                         ///< when the last rank ended
    std::string source;                         ///< the file, and which of its traces this is

    /// Lines of this kind, of a rank that may be any.
    [[nodiscard]] std::vector<const TraceLine*> of(std::size_t rank, pipeline::Trace::Kind kind) const;
};

/// The newest complete trace: a later start that was killed left none, or a part. Refuses (exit code 2) a file that cannot be read or holds none.
[[nodiscard]] RecordedTrace read_trace(const std::string& path);

/// Seconds of a job, [begin, end).
struct Window {
    double begin_s = 0;
    double end_s = 0;
    /// Seconds of [from_s, to_s) that lie in it.
    [[nodiscard]] double part_of(double from_s, double to_s) const;
    /// Does anything of the line lie in it?
    [[nodiscard]] bool shows(const TraceLine& line) const { return line.end_s >= begin_s && line.begin_s < end_s; }
};

}  // namespace weft::app

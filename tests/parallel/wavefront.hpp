#pragma once
#include "parallel/ranked_job.hpp"

/// A long clip of MusePose on stages over MPI, by the trace that the job left: passes flow from step to step without a barrier, and none runs ahead of
/// what it needs. What must come after what is told by logical clocks, which messages carry from rank to rank.
namespace weft::test {

struct Wavefront {
    std::int64_t poses = 200, steps = 4, length = 16, overlap = 4;
    int ranks = 4;
};

/// Runs the job on as many stages as ranks, with `sets` besides.
void expect_wavefront(const RankedJob& job, const Wavefront& wanted, const Words& sets = {});

}  // namespace weft::test

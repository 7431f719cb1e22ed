#pragma once
#include "plan/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

/// How much memory a job takes, from plain values: what the model says of its pieces (PassShape), and who runs them.
namespace weft::plan {

/// Bytes of one pass's tensors on the rank of a leg, at most, slots apart.
struct LegBytes {
    std::int64_t start = 0;           ///< before the first unit runs
    std::vector<std::int64_t> units;  ///< while each unit runs; 0 for those of other legs
};
[[nodiscard]] LegBytes leg_bytes(const PassShape& shape, const Route& route, std::size_t leg, Branch branch);

/// By unit, bytes of any pass's tensors on a rank while it runs, at most. A leg starts while the unit before it is the last that ran, whichever that is: what
/// is there then counts for all.
[[nodiscard]] std::vector<std::int64_t> pass_bytes(const Plan& plan, int rank);

/// What a process takes on its device beside tensors and operators, by kind of device.
struct DeviceTable {
    std::int64_t base_bytes = 0;         ///< GPU: context and libraries. CPU: buffers that libraries keep
    std::int64_t stream_base_bytes = 0;  ///< more of it, once weights have been streamed
    std::int64_t nccl_bytes = 0;         ///< more of it, where tensors travel from GPU to GPU
    std::int64_t workspace_bytes = 0;    ///< that stays among the tensors: cuBLAS's
    double slack = 0;                    ///< of tensors: blocks that the allocator holds and does not use
    std::int64_t slack_bytes = 0;        ///< of those, whatever the tensors are
    std::int64_t most_slack_bytes = std::numeric_limits<std::int64_t>::max();
    double stream_bytes_s = 0;  ///< at which weights come from the page cache; assumed
};
[[nodiscard]] DeviceTable device_table(bool on_gpu);

/// Bytes of tensors that a rank may hold so that with the device's table it stays within a budget.
[[nodiscard]] std::int64_t tensors_within(std::int64_t budget, const Plan& plan);

/// What the device's allocator may take within a budget: all but what the process takes beside it.
[[nodiscard]] std::int64_t allocator_limit(std::int64_t budget, const Plan& plan);

/// Bytes on a rank's device in a phase, at most.
struct PhaseMemory {
    std::string name;
    std::int64_t tensors = 0;  ///< as the meter counts
    std::int64_t total = 0;    ///< with the device's table
};

/// What a rank holds at most, phase by phase; while it denoises by what it is for.
struct RankMemory {
    PhaseMemory encode{"encode"}, denoise{"denoise"}, decode{"decode"};
    std::int64_t weights = 0;  ///< where they are streamed: what stays
    std::int64_t slots = 0;
    std::int64_t latents = 0;       ///< with predictions that wait for their neighbours
    std::int64_t conditioning = 0;  ///< with pose features that are kept
    std::int64_t activations = 0;   ///< with the weights in the window, where they are streamed

    [[nodiscard]] const PhaseMemory& fullest() const;
};
[[nodiscard]] RankMemory rank_memory(const Plan& plan, int rank);

/// The rank that needs most.
struct Fullest {
    int rank = 0;
    std::string phase;
    std::int64_t bytes = 0;
};
[[nodiscard]] Fullest fullest(const Plan& plan);

/// Modelled time of a step's passes under plan.memory beside that with all weights and pose features at hand, on ranks that wait for nothing else: 1.012 is
/// 1.2 % slower. Of the rank that is slowed most.
[[nodiscard]] double slow_down(const Plan& plan);

}  // namespace weft::plan

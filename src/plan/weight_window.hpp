#pragma once
#include "plan/shape.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace weft::plan {

struct Plan;

/// Which weights are on a rank's device together when they are streamed: those of the unit that runs and of the ones behind it, as far as they fit. The rule
/// by which src/model/weight_stream.hpp fetches, and by which the plan knows what is there.
struct WeightWindow {
    std::vector<bool> units;            ///< that run on the rank
    std::vector<std::int64_t> weights;  ///< bytes of each unit
    std::vector<std::int64_t> binding;  ///< more, while they are taken
    std::vector<std::int64_t> room;     ///< bytes of weights that may be there while a unit runs

    /// The next unit that runs here; behind the last one comes the first of the next pass.
    [[nodiscard]] std::size_t behind(std::size_t unit) const;
    /// May `next` be fetched while `running` runs, when all between them are there?
    [[nodiscard]] bool admits(std::size_t running, std::size_t next) const;
    /// By unit: bytes of weights that are there while it runs, at most.
    [[nodiscard]] std::vector<std::int64_t> held_bytes() const;
};

/// What weights share with the tensors of the pass.
enum class Pool {
    apart,   ///< GPUs, whose allocator keeps a pool for each stream: the same room beside every unit
    shared,  ///< CPUs: what a unit's own tensors leave
};

/// A window for the weights of some units. `beside`: bytes of tensors while each of them runs; `bytes`: for weights beside the largest of these, at least as
/// many as let every unit run with the next one at hand.
[[nodiscard]] WeightWindow weight_window(const PassShape& shape, const std::vector<bool>& units, std::span<const std::int64_t> beside, std::int64_t bytes,
                                         Pool pool);

/// The windows of a rank: that of the plan's choice, where weights are streamed, and the smallest one, for when memory runs out. `beside`: its pass_bytes().
struct WeightWindows {
    std::optional<WeightWindow> chosen, least;
};
[[nodiscard]] WeightWindows weight_windows(const Plan& plan, int rank, std::span<const std::int64_t> beside);

/// Seconds of a pass, as one follows the other, when weights come through a window at a rate; `unit_seconds`: of its own work, 0 for units that do not run.
[[nodiscard]] double streamed_seconds(const WeightWindow& window, std::span<const double> unit_seconds, double bytes_s);

}  // namespace weft::plan

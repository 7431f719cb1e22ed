#pragma once
#include "plan/plan.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

/// How much memory a job takes, from plain values: what the model says of its pieces (PassShape), and who runs them.
namespace weft::plan {

/// Bytes of one pass's tensors on the rank of a leg, at most, slots apart; with the weights that are there beside each unit, where `streamed` gives them.
[[nodiscard]] HeldBytes leg_bytes(const PassShape& shape, const Route& route, std::size_t leg, Branch branch, std::span<const std::int64_t> streamed = {});

/// By unit, of those that run on a rank: bytes of weights that are there while it runs, when they are streamed through a window (src/model/weight_stream.hpp).
[[nodiscard]] std::vector<std::int64_t> streamed_bytes(const PassShape& shape, const std::vector<bool>& units, std::int64_t window);

/// The smallest window: any unit and the one behind it, of those that run on a rank.
[[nodiscard]] std::int64_t least_window(const PassShape& shape, const std::vector<bool>& units);

/// What a rank holds at most in a phase, by what it is for.
struct PhaseBytes {
    HeldBytes peak;
    std::int64_t weights = 0;
    std::int64_t slots = 0;
    std::int64_t latents = 0;       ///< with predictions that wait for their neighbours
    std::int64_t conditioning = 0;  ///< with pose features that are kept
    HeldBytes activations;
};
[[nodiscard]] PhaseBytes denoise_bytes(const Plan& plan, int rank);

}  // namespace weft::plan

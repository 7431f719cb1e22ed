#pragma once
#include "plan/slices.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/// What a pass looks like to the plan: pieces in running order, and what waits between them. The model tells it (src/model), the plan weighs it.
namespace weft::plan {

/// By branch, unconditional first.
using BranchCost = std::array<std::int64_t, 2>;

/// Half open, over the pieces of a pass in running order.
struct PieceRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    [[nodiscard]] std::int64_t size() const { return end - begin; }
    [[nodiscard]] bool operator==(const PieceRange&) const = default;
};

/// Some frames of a tensor in which a pass waits between two pieces. What `tensor` stands for only the model knows.
struct Part {
    int tensor = 0;
    FrameRange slots;             ///< frames of the slice, by slot
    std::int64_t slot_bytes = 0;  ///< of one frame
    [[nodiscard]] std::int64_t bytes() const { return slots.size() * slot_bytes; }
    [[nodiscard]] bool operator==(const Part&) const = default;
};

/// What the way down leaves for the way up: all frames of a tensor that stands behind piece `made_by`; each piece of `used_by` takes the frames of its slots.
struct Skip {
    std::int64_t made_by = 0;
    PieceRange used_by;
    std::int64_t slot_bytes = 0;
};

/// Where a pass may be cut: a unit, or, of a unit whose frames do not meet, some chunks of its frames.
struct Piece {
    std::int64_t unit = 0;
    FrameRange slots;                       ///< frames of the slice that it computes, by slot
    BranchCost cost{1, 1};                  ///< nanoseconds
    std::vector<Part> state;                ///< what stands in front of it, skips apart; nothing in front of the first
    std::array<std::int64_t, 2> working{};  ///< by branch: at most, beside weights and all that stands in front of it; its result is in it
};

struct UnitShape {
    std::string name;
    std::int64_t weight_bytes = 0;  ///< of what it takes from the files; streamed, it is there while the unit runs
    std::int64_t bind_bytes = 0;    ///< more than its weights, at most, while they are taken and meet the context
    std::int64_t kept_bytes = 0;    ///< of what it makes once a clip and keeps
    /// What it does to the state: its result takes the place of the hidden state in front of it; a transformer begins, or ends; it takes the last skip, or
    /// leaves one.
    bool in_place = false, opens = false, closes = false, pops = false, pushes = false;
};

/// The denoiser's units on one slice.
struct PassShape {
    std::int64_t num_slots = 0;            ///< frames of a slice
    std::int64_t shared_weight_bytes = 0;  ///< that every rank with any unit holds
    std::vector<UnitShape> units;
    std::vector<Piece> pieces;
    std::vector<Skip> skips;
    std::array<std::int64_t, 2> begin{};  ///< by branch: at most, while the state in front of the first piece is made of latents
    std::array<std::int64_t, 2> begun{};  ///< of that state
    std::int64_t more_bytes = 0;          ///< of each further pass that runs beside a first one (numerics = "free")
    std::int64_t pose_bytes = 0;          ///< pose features of a slice, where they are kept from step to step
    std::int64_t pose_ns = 0;             ///< to make them, nanoseconds
    std::array<bool, 2> sees_pose{};      ///< by branch
    std::int64_t conditioning_bytes = 0;  ///< what the encoders left
    bool remakes_first_skip = false;      ///< MemoryChoice, for which `working` was told

    [[nodiscard]] std::int64_t num_pieces() const { return static_cast<std::int64_t>(pieces.size()); }
    /// Cost of some pieces.
    [[nodiscard]] BranchCost cost(PieceRange range) const;
    [[nodiscard]] BranchCost cost() const { return cost({0, num_pieces()}); }
    /// Units that these pieces are of.
    [[nodiscard]] std::vector<bool> units_of(const std::vector<PieceRange>& ranges) const;
    /// Weights that a rank holds that runs these pieces, with what its units keep.
    [[nodiscard]] std::int64_t weight_bytes(const std::vector<PieceRange>& ranges) const;
    /// The part of them that stays where weights are streamed.
    [[nodiscard]] std::int64_t kept_bytes(const std::vector<PieceRange>& ranges) const;
};

/// A shape of `num_pieces` equal units without state, skips or weights, for plans that cut nothing.
[[nodiscard]] PassShape plain_shape(std::int64_t num_pieces, BranchCost pass_cost = {1, 1});

}  // namespace weft::plan

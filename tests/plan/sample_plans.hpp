#pragma once
#include "plan/plan.hpp"

#include <array>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace weft::plan {

enum class LastSlice { tiles, moved_back };

/// What a small plan is made of: slices of 7 frames that share 2 with each neighbour.
struct Sample {
    int ranks = 1;
    std::int64_t slices = 8;
    bool guided = true;
    Anchor anchor = Anchor::blended;
    LastSlice last = LastSlice::tiles;  ///< moved back: three slices share a frame
    BranchCost cost{1, 1};
    std::int64_t steps = 3;
    LayoutSettings layout{.kind = LayoutKind::whole};
};
std::ostream& operator<<(std::ostream& out, const Sample& sample);

/// A small U of 12 units and 20 pieces on slices of `num_slots` frames: two levels, three skips, a transformer in the middle, units in two chunks of frames.
/// A pass costs 56000 x `cost`.
PassShape small_unet(std::int64_t num_slots, BranchCost cost);

Plan make_plan(const Sample& sample);

/// A plan and its programs from step `first_step` on.
struct Made {
    Sample sample;
    Plan plan;
    std::int64_t first_step = 0;
    std::vector<Program> programs;

    /// 0 to num_slices - 1, and branches that run.
    [[nodiscard]] std::vector<Pass> passes_of(std::int64_t step) const;
    [[nodiscard]] const Route& route_of(const Pass& pass) const { return plan.deal.route(pass.slice, pass.branch); }
    /// All messages, by their sends.
    [[nodiscard]] std::vector<Message> messages() const;
};
Made make(const Sample& sample, std::int64_t first_step = 0);

/// 1 to 64 ranks, 8 and 35 slices, guided or not, both anchors, last slice in place or moved back; whole and cut passes, stages, and groups of stages,
/// straight, folded and random; equal and unequal costs and resumed jobs among them.
const std::vector<Made>& all_layouts();

/// A map of `num_stages` stages with random borders and owners, as layout.map writes it.
std::string random_map(const PassShape& shape, int num_stages, unsigned seed);

bool contains(const FrameRanges& ranges, std::int64_t frame);

}  // namespace weft::plan

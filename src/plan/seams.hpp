#pragma once
#include "plan/slices.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace weft::plan {

/// A *change* f leads from frame f of the clip to frame f + 1: the root mean square, over all elements, of the one frame's values less the other's. A clip's
/// changes are those from f = `first`, its first shown frame, to num_frames - 2: from 1 where frame 0 is the reference, which is not shown, else from 0.
///
/// A change is a *border* where the slices that cover f are not those that cover f + 1; all others are *inside*. Where frame 0 is not shown it is the anchor
/// in slot 0 of each slice, which covers nothing here. With the usual overlap there are two borders for each two neighbours: one where the later slice
/// begins, one where the earlier one ends.
///
/// Returns the borders f, ascending.
[[nodiscard]] std::vector<std::int64_t> slice_borders(const Slices& slices, std::int64_t num_frames, std::int64_t first = 1);

/// Changes at borders over changes inside. As movement is fast here and slow there, each border is held against inside changes near it: the mean of the four
/// nearest on each side, none of them more than eight frames away. A border without any near it is not compared.
struct Seams {
    std::int64_t num_borders = 0;
    std::int64_t num_compared = 0;  ///< borders that have inside changes near them; 0: no figure, no worst
    double figure = 1;              ///< sum of the compared borders' changes / sum of the means that they are held against; 1: no seam is measurable
    double worst = 1;               ///< the largest change / mean of a single border
    std::int64_t worst_frame = 0;   ///< the f of that border, the first one where several are equal
    double mean_at_borders = 0;     ///< of all borders
    double mean_inside = 0;         ///< of all inside changes; 0 where there are none
};

/// `changes[i]` is change `first` + i; `borders` as slice_borders gives them. Where nothing moves around a border, the ratio is 1 if nothing moves at the
/// border either, else infinite; the figure likewise. A change that is no number makes figure and worst none.
[[nodiscard]] Seams measure_seams(std::span<const double> changes, std::span<const std::int64_t> borders, std::int64_t first = 1);

}  // namespace weft::plan

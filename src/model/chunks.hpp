#pragma once
#include <c10/core/DeviceType.h>

#include <algorithm>
#include <cstdint>

namespace weft::model {

/// How many rows an operation takes at a time. Part of the numerics: how a product is chunked decides how it rounds.
struct Chunks {
    std::int64_t frame_rows = 16384;  ///< pixels of all frames in a chunk of a per-frame unit
    std::int64_t pixel_rows = 16384;  ///< the same, of a temporal unit, which takes some pixels of all frames

    [[nodiscard]] std::int64_t frames(std::int64_t pixels_a_frame) const { return std::max<std::int64_t>(1, frame_rows / pixels_a_frame); }
    [[nodiscard]] std::int64_t pixels(std::int64_t num_frames) const { return std::max<std::int64_t>(1, pixel_rows / num_frames); }
};

/// Chunk sizes by kind of device: the table that design.md section 8 speaks of.
[[nodiscard]] Chunks chunks_for(c10::DeviceType kind);

}  // namespace weft::model

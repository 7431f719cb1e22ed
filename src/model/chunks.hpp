#pragma once
#include <c10/core/DeviceType.h>

#include <algorithm>
#include <cstdint>
#include <limits>

namespace weft::model {

/// How many rows an operation takes at a time. Part of the numerics: how a product is chunked decides how it rounds.
struct Chunks {
    std::int64_t frame_rows = 16384;                                       ///< pixels of all frames in a chunk of a per-frame unit
    std::int64_t pixel_rows = 16384;                                       ///< the same, of a temporal unit, which takes some pixels of all frames
    std::int64_t elements = std::numeric_limits<std::int64_t>::max() / 4;  ///< of a chunk's result: where it has many channels, fewer rows are taken
    std::int64_t strip_rows = 16384;                                       ///< pixels of one large picture that the VAE takes at a time: a strip of whole lines

    [[nodiscard]] std::int64_t frames(std::int64_t pixels_a_frame, std::int64_t channels = 1) const {
        return std::max<std::int64_t>(1, std::min(frame_rows, elements / channels) / pixels_a_frame);
    }
    [[nodiscard]] std::int64_t pixels(std::int64_t num_frames, std::int64_t channels = 1) const {
        return std::max<std::int64_t>(1, std::min(pixel_rows, elements / channels) / num_frames);
    }
    /// Lines of a picture in a strip.
    [[nodiscard]] std::int64_t strip_lines(std::int64_t width) const { return std::max<std::int64_t>(1, strip_rows / width); }
    /// Of a feed-forward, whose inner rows are so wide: eight times as wide as what it adds to, of which four times as much may be there.
    [[nodiscard]] std::int64_t inner_rows(std::int64_t width) const { return std::max<std::int64_t>(1, 4 * elements / width); }
};

/// Calls `work(first, count)` for chunks of `step` from `begin` to `end`. `ends_only`: for the first two and the last one, between which a rehearsal
/// learns nothing.
template <class Work>
void for_chunks(std::int64_t begin, std::int64_t end, std::int64_t step, bool ends_only, const Work& work) {
    const auto last = begin + (end - 1 - begin) / step * step;
    for (auto first = begin; first < end;) {
        work(first, std::min(step, end - first));
        first = ends_only && first > begin && first < last ? last : first + step;
    }
}

/// Chunk sizes by kind of device: the table that design.md section 8 speaks of.
[[nodiscard]] Chunks chunks_for(c10::DeviceType kind);
/// All of them so many times smaller, at least 1.
[[nodiscard]] Chunks divided(Chunks chunks, std::int64_t divisor);

}  // namespace weft::model

#pragma once
#include <cstdint>
#include <vector>

namespace weft::plan {

/// Half open, in frames of the clip.
struct FrameRange {
    std::int64_t begin = 0;
    std::int64_t end = 0;
    [[nodiscard]] std::int64_t size() const { return end - begin; }
    [[nodiscard]] bool operator==(const FrameRange&) const = default;
};

/// Ascending, disjoint, none empty, none touching.
using FrameRanges = std::vector<FrameRange>;
[[nodiscard]] std::int64_t count(const FrameRanges& ranges);
/// Frames in any order, each once, as ranges.
[[nodiscard]] FrameRanges ranges_of(std::vector<std::int64_t> frames);
[[nodiscard]] std::vector<std::int64_t> frames_in(const FrameRanges& ranges);

/// Frames denoised together: slot -> latent frame. Slot 0 is the anchor: frame 0, or a private copy of it.
struct Slice {
    std::vector<std::int64_t> frames;
    [[nodiscard]] bool operator==(const Slice&) const = default;
};
using Slices = std::vector<Slice>;

/// MimicMotion's slices (models/mimicmotion.md section 7.3): slot 0 is frame 0 everywhere, neighbours share overlap - 1 frames, the last slice is
/// moved back so that it ends with the clip. A clip shorter than `length` is one slice of all its frames.
/// Needs num_frames >= 1 and 1 <= overlap < length.
[[nodiscard]] Slices make_slices(std::int64_t num_frames, std::int64_t length, std::int64_t overlap);

/// MusePose's windows of `length` frames, each sharing `overlap` with the one before (models/musepose.md section 8.3). With fewer frames one window of all of
/// them. The last window goes on with frame 0 and those behind it where the frames do not end with it, unless they were padded.
[[nodiscard]] Slices make_windows(std::int64_t num_frames, std::int64_t length, std::int64_t overlap);

/// Frames with so many repeats of the last one that windows tile them, as published: length + k * (length - overlap), or `overlap` of a clip no longer than
/// that.
[[nodiscard]] std::int64_t padded_frames(std::int64_t num_frames, std::int64_t length, std::int64_t overlap);

/// MimicMotion's slices with `anchor = "private"`: slice s > 0 keeps a frame 0 of its own, the latent frame num_frames + s - 1, which is never shown. Slices
/// then form a chain: neighbours share frames, and two places apart only where the last slice was moved back or the overlap exceeds half the length.
[[nodiscard]] Slices with_private_anchors(Slices slices, std::int64_t num_frames);

/// Blending weight of each slot: a triangle, min(u, 2 - u) with u = (slot + 1/2) * 2 / length.
[[nodiscard]] std::vector<float> slot_weights(std::int64_t length);

/// Consecutive chunks of at most `chunk` frames from frame 0 on; the last may be shorter.
[[nodiscard]] std::vector<FrameRange> decode_chunks(std::int64_t num_frames, std::int64_t chunk);

}  // namespace weft::plan

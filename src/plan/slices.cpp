#include "plan/slices.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <numeric>

namespace weft::plan {

std::int64_t count(const FrameRanges& ranges) {
    return std::accumulate(ranges.begin(), ranges.end(), std::int64_t{0}, [](std::int64_t sum, const FrameRange& range) { return sum + range.size(); });
}

FrameRanges ranges_of(std::vector<std::int64_t> frames) {
    std::sort(frames.begin(), frames.end());
    FrameRanges ranges;
    for (const auto frame : frames) {
        if (!ranges.empty() && ranges.back().end == frame) {
            ++ranges.back().end;
            continue;
        }
        ensure(ranges.empty() || ranges.back().end < frame, "each frame stands once in a list that becomes ranges");
        ranges.push_back({frame, frame + 1});
    }
    return ranges;
}

std::vector<std::int64_t> frames_in(const FrameRanges& ranges) {
    std::vector<std::int64_t> frames;
    for (const auto& range : ranges)
        for (auto frame = range.begin; frame < range.end; ++frame) frames.push_back(frame);
    return frames;
}

Slices make_slices(std::int64_t num_frames, std::int64_t length, std::int64_t overlap) {
    ensure(num_frames >= 1 && overlap >= 1 && overlap < length, "slices need at least a frame and 1 <= overlap < length");
    const auto size = std::min(length, num_frames);
    const auto slice_from = [size](std::int64_t start) {
        Slice slice;
        slice.frames.resize(static_cast<std::size_t>(size));
        std::iota(slice.frames.begin(), slice.frames.end(), start);
        slice.frames.front() = 0;
        return slice;
    };
    Slices slices;
    for (std::int64_t start = 0; start <= num_frames - size; start += length - overlap) slices.push_back(slice_from(start));
    if (slices.back().frames.back() < num_frames - 1) slices.push_back(slice_from(num_frames - size));
    return slices;
}

Slices make_windows(std::int64_t num_frames, std::int64_t length, std::int64_t overlap) {
    ensure(num_frames >= 1 && overlap >= 0 && overlap < length, "windows need at least a frame and 0 <= overlap < length");
    const auto size = std::min(length, num_frames);
    Slices windows;
    for (std::int64_t start = 0; start == 0 || (num_frames > length && start < num_frames - overlap); start += length - overlap) {
        auto& frames = windows.emplace_back().frames;
        for (std::int64_t slot = 0; slot < size; ++slot) frames.push_back((start + slot) % num_frames);
    }
    return windows;
}

std::int64_t padded_frames(std::int64_t num_frames, std::int64_t length, std::int64_t overlap) {
    const auto stride = length - overlap;
    const auto past = ((num_frames - length) % stride + stride) % stride;
    return num_frames + (stride - past) % stride;
}

Slices with_private_anchors(Slices slices, std::int64_t num_frames) {
    for (std::size_t s = 1; s < slices.size(); ++s) slices[s].frames.front() = num_frames + static_cast<std::int64_t>(s) - 1;
    return slices;
}

std::vector<float> slot_weights(std::int64_t length) {
    std::vector<float> weights;
    for (std::int64_t slot = 0; slot < length; ++slot) {
        const float u = (static_cast<float>(slot) + 0.5F) * 2.0F / static_cast<float>(length);
        weights.push_back(std::min(u, 2.0F - u));
    }
    return weights;
}

std::vector<FrameRange> decode_chunks(std::int64_t num_frames, std::int64_t chunk) {
    std::vector<FrameRange> chunks;
    for (std::int64_t begin = 0; begin < num_frames; begin += chunk) chunks.push_back({begin, std::min(begin + chunk, num_frames)});
    return chunks;
}

}  // namespace weft::plan

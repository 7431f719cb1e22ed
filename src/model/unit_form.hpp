#pragma once
#include "plan/pass.hpp"

#include <array>
#include <cstdint>

namespace weft::model {

using plan::Branch;
inline constexpr int num_branches = 2;

/// Height and width of the hidden state behind a unit beside those in front of it: the same, half of it (rounded up), or those of the last skip.
enum class Resize { none, halve, to_skip };

/// Of an image that was halved so many times, each time rounded up.
[[nodiscard]] constexpr std::int64_t size_at_level(std::int64_t size, std::int64_t level) {
    for (; level > 0; --level) size = (size + 1) / 2;
    return size;
}

/// Multiply-adds of a unit: matrix products, convolutions and attention. Norms, sums and what is computed once a clip or once a pass count nothing.
struct Work {
    std::int64_t pixel = 0;                               ///< for each pixel of each frame, behind the unit
    std::array<std::int64_t, num_branches> pixel_pair{};  ///< for each pair of pixels of each frame, by branch: attention within frames
    std::int64_t frame_pair = 0;                          ///< for each pair of frames of each pixel: attention over frames
};

/// What a unit does to the state of a pass, and how much work that is: all that a plan must know, with or without a network behind it.
struct UnitForm {
    std::int64_t channels = 0;  ///< of the hidden state behind it
    Resize resize = Resize::none;
    bool in_place = false;  ///< writes into the hidden state in front of it; else its result is a tensor of its own
    bool opens = false;     ///< a transformer: hidden becomes residual, a new hidden of the same shape begins
    bool closes = false;    ///< a transformer: is added to the residual, which becomes hidden
    bool pops = false;      ///< takes the last skip, frame by frame
    bool pushes = false;    ///< leaves the hidden state behind it as a skip
    bool cuttable = false;  ///< frames do not meet in it: it may stop between two chunks of frames and go on elsewhere
    Work work;
    std::int64_t context_elements = 0;  ///< of the vector that set_context leaves for each branch

    /// Floating-point operations on so many frames, two for each multiply-add. `pixels`: of a frame of the hidden state behind the unit.
    [[nodiscard]] std::int64_t flops(Branch branch, std::int64_t frames, std::int64_t pixels) const;
};

/// Multiply-adds of a k x k convolution for each pixel that it makes.
[[nodiscard]] constexpr std::int64_t conv_work(std::int64_t in, std::int64_t out, std::int64_t kernel = 3) {
    return kernel * kernel * in * out;
}

/// Multiply-adds of a GEGLU feed-forward of inner width 4 x channels, for each token.
[[nodiscard]] constexpr std::int64_t feed_forward_work(std::int64_t channels) {
    return 12 * channels * channels;
}

/// The forms that UNets of both families share. Channel counts in front of and behind the unit.
namespace forms {

[[nodiscard]] UnitForm conv_in(std::int64_t in, std::int64_t out);
/// `in`: with the skip's channels where the unit pops one. `upsampled`: channels of what is first made as large as the skip; 0: nothing is.
[[nodiscard]] UnitForm spatial_resnet(std::int64_t in, std::int64_t out, bool pops, bool pushes = false, std::int64_t upsampled = 0);
[[nodiscard]] UnitForm downsample(std::int64_t channels);
[[nodiscard]] UnitForm conv_out(std::int64_t in, std::int64_t out);

}  // namespace forms

}  // namespace weft::model

#pragma once
#include "io/picture.hpp"

#include <array>
#include <cstdint>

namespace weft::pose {

struct Point {
    double x = 0, y = 0;  ///< pixels from the upper left corner
};

/// The eighteen body points in OpenPose's order: nose, neck, right shoulder, elbow, wrist, left ones, right hip, knee, ankle, left ones, eyes, ears.
using Body = std::array<Point, 18>;

/// Draws the body on black as the published maps have it (draw_map.hpp), on their canvas, and shrinks it as MusePose's training maps are shrunk.
[[nodiscard]] io::Picture draw_body(const Body& body, int width, int height);

/// A figure that waves and steps in place, for examples without anyone's video: frame `frame` of an endless clip at 15 frames a second.
[[nodiscard]] Body example_body(std::int64_t frame, int width, int height);

/// The same figure as a coloured picture.
[[nodiscard]] io::Picture draw_person(const Body& body, int width, int height);

}  // namespace weft::pose

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

/// Draws the body on black as the published maps have it: seventeen limbs at 60 % and eighteen joints, channels reversed. `stick`: half the limbs'
/// thickness, `joint`: the joints' radius, in pixels.
[[nodiscard]] io::Picture draw_body(const Body& body, int width, int height, double stick, double joint);

/// A thick line with round ends in one colour (r, g, b).
void draw_capsule(io::Picture& picture, Point from, Point to, double radius, std::array<std::uint8_t, 3> colour);

/// A figure that waves and steps in place, for examples without anyone's video: frame `frame` of an endless clip at 15 frames a second.
[[nodiscard]] Body example_body(std::int64_t frame, int width, int height);

/// The same figure as a coloured picture.
[[nodiscard]] io::Picture draw_person(const Body& body, int width, int height);

}  // namespace weft::pose

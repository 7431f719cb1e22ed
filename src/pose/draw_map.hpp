#pragma once
#include "io/picture.hpp"
#include "pose/person.hpp"

#include <optional>

namespace weft::pose {

/// A pose map as MusePose's program draws it (models/musepose.md section 9.4) is drawn on a canvas of the driving video's aspect and then resized to the
/// reference's: so marks are stretched where the two differ.
struct MapSize {
    ImageSize canvas;  ///< 1024 wide
    ImageSize map;     ///< 768 high, of even width

    [[nodiscard]] bool operator==(const MapSize&) const = default;
};
[[nodiscard]] MapSize map_size(const ImageSize& driver, const ImageSize& reference);

/// Seventeen limbs at 60 % of their colours, eighteen joints, the edges and points of both hands, on black. Red and blue are exchanged in comparison with
/// OpenPose's palette, as in the maps that MusePose was trained on. No face. What is not seen is left out.
[[nodiscard]] io::Picture draw_canvas(const Person& person, const ImageSize& canvas);

/// The canvas, bilinearly resized to the map; black where there is nobody.
[[nodiscard]] io::Picture draw_map(const std::optional<Person>& person, const MapSize& size);

}  // namespace weft::pose

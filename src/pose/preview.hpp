#pragma once
#include "io/picture.hpp"
#include "pose/draw_map.hpp"

#include <optional>
#include <span>
#include <string>

namespace weft::pose {

struct PreviewPanel {
    std::string label;                   ///< ASCII
    std::optional<io::Picture> picture;  ///< what the pose lies over, dimmed
    io::Picture map;                     ///< drawn on black; its aspect is the panel's
};

/// Rows of three panels beside each other, each a pose over the picture that it belongs to, with a line of text above.
[[nodiscard]] io::Picture draw_preview(std::span<const std::array<PreviewPanel, 3>> rows);

}  // namespace weft::pose

#pragma once
#include "io/picture.hpp"

#include <string>

namespace weft::pose {

/// Does the frame look like a drawn skeleton (mostly black, few saturated lines), as OpenPose and DWPose draw it? Says why not, or "" when it does.
[[nodiscard]] std::string why_not_drawn(const io::Picture& frame);

}  // namespace weft::pose

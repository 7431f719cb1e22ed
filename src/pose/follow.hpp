#pragma once
#include "pose/key_points.hpp"
#include "pose/person.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::pose {

using FrameNumbers = std::vector<std::int64_t>;

/// One person through a clip, and the frames where something is to be said of.
struct Track {
    std::vector<std::optional<Person>> frames;  ///< nothing where nobody is seen
    FrameNumbers nobody;
    FrameNumbers several;
    FrameNumbers leaps;  ///< since the frame before the nearest person moved by a quarter of the picture's height: another one, perhaps
};

/// Of a frame's people the one with the highest mean score of body points; nothing where no body point is seen.
[[nodiscard]] std::optional<Person> surest(std::span<const Person> people);

/// The surest person of the first frame that shows any, and from then on the nearest to the last one seen. `aspect`: the frames' width over their height.
[[nodiscard]] Track follow(const KeyPointClip& clip, double aspect);

/// Closes gaps of at most `most` frames between two seen poses linearly, point by point where both ends see it. Returns the frames that were filled.
FrameNumbers fill_gaps(std::vector<std::optional<Person>>& frames, std::int64_t most);

/// Where each frame's neck is: as seen, or in between the nearest frames that see one. Empty where no frame does.
[[nodiscard]] std::vector<KeyPoint> necks_of(std::span<const std::optional<Person>> frames);

/// "frame 7", "frames 0-3, 7, 12-14"
[[nodiscard]] std::string frames_text(const FrameNumbers& frames);

}  // namespace weft::pose

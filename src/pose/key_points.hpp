#pragma once
#include "base/error.hpp"
#include "pose/person.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weft::pose {

enum class KeyPointForm {
    openpose,    ///< OpenPose's own files, and what pose editors export in its form
    dwpose,      ///< bodies, hands and faces as DWPose's program returns them
    whole_body,  ///< 133 points as mmpose writes them
    coco,        ///< annotations of 17 points
};
[[nodiscard]] std::string_view name_of(KeyPointForm form);

struct KeyPointFrame {
    std::vector<Person> people;
    ImageSize size;    ///< as the file says it, or as it was given
    std::string name;  ///< of its file or picture, "" where there is none
};

/// Key points of a clip, or of one picture.
struct KeyPointClip {
    KeyPointForm form = KeyPointForm::openpose;
    std::vector<KeyPointFrame> frames;
    double fps = 0;           ///< 0: the file does not say
    bool lacks_size = false;  ///< somebody's frame has no size, neither said nor given: the points are of no use yet
};

/// Reads a JSON file, or all of a folder in name order, told apart by content; README.md lists the forms. Points come in pixels or in shares, which the clip's
/// own numbers tell. `given` is the frames' size where the file says none. What is wrong goes to `mistakes` under `key`, an option's name, and the clip is then
/// of no use.
[[nodiscard]] KeyPointClip read_key_points(const std::filesystem::path& path, const ImageSize& given, std::string_view key, Mistakes& mistakes);

/// The same from the text of one file, which `name` stands for in messages.
[[nodiscard]] KeyPointClip parse_key_points(std::string_view text, const std::string& name, const ImageSize& given, std::string_view key, Mistakes& mistakes);

/// COCO-WholeBody's 133 points (or the first 17, COCO's) as OpenPose's 18, hands and face. The neck is the middle of the shoulders, and seen where both are.
[[nodiscard]] Person from_whole_body(std::span<const KeyPoint> points);

/// BODY_25 without its middle hip and feet.
[[nodiscard]] BodyPoints from_body_25(std::span<const KeyPoint> points);

/// An array of frames in OpenPose's form, in pixels of `size`, one person a frame at most; what is not seen is 0, 0, 0. `parse_key_points` reads it back.
[[nodiscard]] std::string to_openpose(std::span<const KeyPointFrame> frames, const ImageSize& size);

}  // namespace weft::pose

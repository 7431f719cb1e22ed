#pragma once
#include "io/picture.hpp"
#include "io/video_reader.hpp"
#include "pose/key_points.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

/// What `weft pose` is told and reads.
namespace weft::app {

struct PoseArguments {
    std::string driver;
    std::string reference;
    std::string image;
    std::string video;
    std::string size;
    std::string output = "poses.mp4";
    std::optional<double> fps;
    std::optional<std::int64_t> align_frame;
    std::string frames;
    std::int64_t fill = 5;
    bool no_align = false;
    std::string preview;
    std::string image_pose;
    std::string json;
};

/// The picture's person.
struct PoseReference {
    pose::Person person;
    std::size_t num_people = 0;
    pose::ImageSize size;
    pose::KeyPointForm form = pose::KeyPointForm::openpose;
    std::string remark;  ///< which frame of several
};

struct PoseInputs {
    pose::KeyPointClip driver;
    pose::ImageSize driver_size;
    std::optional<PoseReference> reference;
    std::optional<io::Picture> image;
    std::optional<io::VideoInfo> video;
    double fps = 30;  ///< most drivers are films, and key points do not say
    std::string fps_from;
    std::int64_t begin = 0;  ///< frames [begin, end) of the driver are drawn
    std::int64_t end = 0;
};

/// Reads all of it and checks it, and that the outputs can be written. Refuses (exit code 2) with all mistakes together.
[[nodiscard]] PoseInputs read_pose_inputs(const PoseArguments& arguments);

/// As named, or beside the output.
[[nodiscard]] std::filesystem::path preview_path(const PoseArguments& arguments);

/// "1280x720"
[[nodiscard]] std::string text_of(const pose::ImageSize& size);

}  // namespace weft::app

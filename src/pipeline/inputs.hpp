#pragma once
#include "base/settings.hpp"
#include "io/frame_store.hpp"
#include "io/picture.hpp"

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

namespace weft::pipeline {

/// What a clip is made from, read and sized.
struct Inputs {
    io::Picture reference;                 ///< as in the file
    std::unique_ptr<io::FrameStore> maps;  ///< pose maps of the clip, width x height; of MimicMotion frame 0 is the reference's
    std::int64_t num_poses = 0;            ///< maps without that one
    double film_fps = 0;                   ///< output.fps, or pose fps / stride
    int pose_width = 0, pose_height = 0;   ///< of the pose video itself
    bool pose_has_audio = false;
    std::string digest;  ///< of reference and maps, by content
};

/// Checks what can be checked without decoding everything: files are there, the picture is one, the first pose frame is drawn. Adds to `mistakes`.
void check_inputs(const Settings& settings, Mistakes& mistakes);

/// Pixels of the reference picture.
[[nodiscard]] std::int64_t count_pixels(const Settings& settings);

/// Pose frames after stride and limit, counted by decoding, since containers may be wrong; no further than `most`. Refuses (exit code 2) a clip without frames.
[[nodiscard]] std::int64_t count_poses(const Settings& settings, std::int64_t most = std::numeric_limits<std::int64_t>::max());

/// Decodes picture and poses. Keeps the maps of those frames of the clip for which `keep` says so; the digest is of all.
/// Refuses (exit code 2) plain videos and clips without frames.
[[nodiscard]] Inputs read_inputs(const Settings& settings, const std::function<bool(std::int64_t frame)>& keep);

}  // namespace weft::pipeline

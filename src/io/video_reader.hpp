#pragma once
#include "io/picture.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

namespace weft::io {

/// What is known before a frame is decoded.
struct VideoInfo {
    int width = 0;  ///< as shown: rotation metadata applied
    int height = 0;
    double fps = 0;                    ///< average; 0 for a folder of pictures
    std::int64_t frames_expected = 0;  ///< from the container; 0 when unknown
    bool has_audio = false;
};

/// Frames of a video file, or of a folder of pictures in name order, one at a time: memory does not grow with the clip.
/// Refuses (exit code 2): missing path, no video stream, no frames, broken file (names the frame it broke at), pictures of different sizes.
class VideoReader {
  public:
    explicit VideoReader(const std::filesystem::path& path);
    VideoReader(VideoReader&&) noexcept;
    ~VideoReader();

    [[nodiscard]] const VideoInfo& info() const noexcept;

    /// The next frame as RGB (colour range and matrix of the stream honoured), or nothing at the end.
    [[nodiscard]] std::optional<Picture> next();

    /// Decodes and drops one frame without converting it; false at the end.
    bool skip();

    struct State;  ///< a film or a folder

  private:
    std::unique_ptr<State> state_;
};

}  // namespace weft::io

#pragma once
#include "io/picture.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>

namespace weft::io {

struct VideoOptions {
    int width = 0;
    int height = 0;
    double fps = 15;
    int quality = 18;                            ///< H.264 constant rate factor
    std::optional<std::filesystem::path> audio;  ///< file whose first audio stream is copied, cut to the film's length; none: silent
    int threads = 1;                             ///< of the encoder; the same number gives the same bytes
};

/// Why the sound of `audio` cannot go into the film `path`: no such file, no sound in it, a codec that the container does not take. "" when it can.
[[nodiscard]] std::string why_no_audio(const std::filesystem::path& audio, const std::filesystem::path& path);

/// Writes ".mp4" (H.264, yuv420p, BT.709, limited range, faststart), ".mkv" (FFV1, lossless RGB) or a folder of numbered PNGs, told by the path's ending.
/// Everything goes to PATH.part and is renamed by `finish`: an existing film stays until the new one is whole. Bytes repeat for equal frames and options.
class VideoWriter {
  public:
    /// Refuses (exit code 2) an unknown ending, a folder that does not exist, a place that cannot be written.
    VideoWriter(const std::filesystem::path& path, const VideoOptions& options);
    VideoWriter(VideoWriter&&) noexcept;
    ~VideoWriter();  ///< removes the part when `finish` was not called

    /// The next frame; width and height must be the options'. Throws with exit code 1 when the disk is full or the encoder fails.
    void write(const Picture& frame);

    /// Flushes the encoder, writes the audio, syncs and renames. Returns the number of frames.
    std::int64_t finish();

    struct State;  ///< a film or a folder

  private:
    std::unique_ptr<State> state_;
};

}  // namespace weft::io

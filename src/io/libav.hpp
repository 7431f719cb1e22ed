#pragma once
// What the files of this room that meet FFmpeg share. Nothing outside src/io includes this header.
#include "base/handle.hpp"
#include "io/picture.hpp"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libswscale/swscale.h>
}

#include <cstdint>
#include <filesystem>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

namespace weft::io::libav {

/// Width and height up to which pictures and films are accepted; twice 8K.
inline constexpr int kMaxSide = 16384;

template <class Struct, void (*free_it)(Struct**)>
struct Freed {
    using Raw = Struct*;
    static Raw null() noexcept { return nullptr; }
    static void close(Raw raw) noexcept { free_it(&raw); }
};
using Input = Handle<Freed<AVFormatContext, avformat_close_input>>;
using Codec = Handle<Freed<AVCodecContext, avcodec_free_context>>;
using Frame = Handle<Freed<AVFrame, av_frame_free>>;
using Packet = Handle<Freed<AVPacket, av_packet_free>>;

struct OutputTraits {
    using Raw = AVFormatContext*;
    static Raw null() noexcept { return nullptr; }
    static void close(Raw raw) noexcept {
        avio_closep(&raw->pb);
        avformat_free_context(raw);
    }
};
using Output = Handle<OutputTraits>;

struct ScalerTraits {
    using Raw = SwsContext*;
    static Raw null() noexcept { return nullptr; }
    static void close(Raw raw) noexcept { sws_freeContext(raw); }
};
using Scaler = Handle<ScalerTraits>;

/// From here on this thread's complaints of FFmpeg's libraries are kept for `reason` instead of going to stderr; older ones are forgotten.
void listen();

/// Was there an error since `listen`? Some damage is passed over and said only in words: a file's early end by Matroska's demuxer, wrong checksums by
/// FFV1's decoder. Other decoders also complain of what does no harm.
[[nodiscard]] bool any_complaint();
[[nodiscard]] bool any_complaint_of_a_demuxer();

/// What the code means, with the first complaint since `listen`: "Invalid data found when processing input (moov atom not found)".
[[nodiscard]] std::string reason(int code);

/// Throws with exit code 1 when `code` is negative: "out.mp4: failed while writing the film: No space left on device".
void check(int code, const std::filesystem::path& file, std::string_view doing, std::source_location at = std::source_location::current());

[[nodiscard]] Frame new_frame();
/// A frame with room for pixels; rows start on 64-byte borders, so that vector code may run over their ends.
[[nodiscard]] Frame new_frame(AVPixelFormat format, int width, int height);
[[nodiscard]] Packet new_packet();

/// A single-threaded decoder that allocates nothing beyond kMaxSide. `parameters` may be null (pictures).
[[nodiscard]] Codec open_decoder(const AVCodec& codec, const AVCodecParameters* parameters, const std::filesystem::path& file);

/// One of the eight ways to lay a picture: first rows and columns change places, then left and right, then top and bottom.
struct Turn {
    bool swap = false;
    bool flip_x = false;
    bool flip_y = false;

    [[nodiscard]] bool operator==(const Turn&) const = default;
};

/// `matrix`: the nine numbers of AV_FRAME_DATA_DISPLAYMATRIX. An angle between the right ones becomes the nearest right one.
[[nodiscard]] Turn turn_of(const std::int32_t* matrix);
[[nodiscard]] Picture turned(Picture picture, Turn turn);

/// Decoded frames to RGB; keeps the conversion tables from one frame to the next.
class RgbConverter {
  public:
    /// Honours the frame's colour range and matrix, lays transparency over black. RGB, grey and palettes come out exactly.
    /// A frame that does not name its matrix counts as BT.601, whatever its size: so do the published programs' readers, and the drawn poses
    /// they publish were written so (limb colours of the 768 and 1024 rows high ones are right within 2 with BT.601, off by 24 with BT.709).
    [[nodiscard]] Picture convert(const AVFrame& frame);

  private:
    Scaler scaler_;
    std::vector<int> scaler_is_for_;
};

}  // namespace weft::io::libav

#include "io/libav.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

extern "C" {
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
}

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

namespace weft::io::libav {

namespace {

thread_local std::string complaint;
thread_local bool line_is_open = false;  // some lines come in pieces

thread_local bool demuxer_complained = false;

bool is_demuxer(void* who) {
    const auto* kind = who != nullptr ? *static_cast<AVClass**>(who) : nullptr;
    if (kind == nullptr) return false;
    return (kind->get_category != nullptr ? kind->get_category(who) : kind->category) == AV_CLASS_CATEGORY_DEMUXER;
}

/// Keeps the first complaint: later ones are mostly its consequences.
void keep_complaint(void* who, int level, const char* format, va_list values) {
    if (level > AV_LOG_ERROR) return;
    demuxer_complained = demuxer_complained || is_demuxer(who);
    if (!complaint.empty() && !line_is_open) return;
    char text[256];
    std::vsnprintf(text, sizeof text, format, values);
    complaint += text;
    line_is_open = !complaint.ends_with('\n');
    while (complaint.ends_with('\n') || complaint.ends_with('.')) complaint.pop_back();
}

int buffer_within_bounds(AVCodecContext* codec, AVFrame* frame, int flags) {
    if (frame->width > kMaxSide || frame->height > kMaxSide) {
        if (complaint.empty()) complaint = cat(frame->width, " x ", frame->height, " pixels are too many");
        return AVERROR(EINVAL);
    }
    return avcodec_default_get_buffer2(codec, frame, flags);
}

bool is_yuv(const AVPixFmtDescriptor& format) {
    return format.nb_components >= 3 && (format.flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) == 0;
}

int over_black(int value, int alpha) {
    return (value * alpha + 127) / 255;
}

int clipped(int value) {
    return std::clamp(value, 0, 255);
}

/// RGB, grey and palette formats, each component rounded to 8 bits. swscale would take them through YUV, or drop the lower bits.
Picture unpacked(const AVFrame& frame, const AVPixFmtDescriptor& format) {
    const auto width = std::size_t(frame.width);
    Picture picture{frame.width, frame.height, std::vector<std::uint8_t>(width * std::size_t(frame.height) * 3)};
    const bool palette = (format.flags & AV_PIX_FMT_FLAG_PAL) != 0;
    const bool alpha = palette || (format.flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
    const bool grey = !palette && format.nb_components <= 2;
    const bool limited = grey && frame.color_range != AVCOL_RANGE_JPEG && format.comp[0].depth >= 8;
    const std::uint8_t* planes[4] = {frame.data[0], frame.data[1], frame.data[2], frame.data[3]};
    std::vector<std::uint16_t> line(width);
    std::vector<int> rgba[4];
    for (auto& channel : rgba) channel.resize(width, 255);

    auto* out = picture.rgb.data();
    for (int y = 0; y < frame.height; ++y) {
        for (int c = 0; c < format.nb_components; ++c) {
            av_read_image_line2(line.data(), planes, frame.linesize, &format, 0, y, c, frame.width, 0, sizeof line[0]);
            auto& channel = rgba[grey && c == 1 ? 3 : c];
            const int depth = format.comp[c].depth;
            const int largest = (1 << depth) - 1;
            if (palette) {
                for (std::size_t x = 0; x < width; ++x) {
                    std::uint32_t argb = 0;
                    std::memcpy(&argb, planes[1] + std::size_t{line[x]} * 4, 4);
                    for (int i = 0; i < 4; ++i) rgba[i][x] = int(argb >> (i == 3 ? 24 : 16 - 8 * i) & 255);
                }
            } else if (limited && c == 0) {
                const int unit = 1 << (depth - 8);
                for (std::size_t x = 0; x < width; ++x) channel[x] = clipped((2 * 255 * (line[x] - 16 * unit) + 219 * unit) / (2 * 219 * unit));
            } else {
                for (std::size_t x = 0; x < width; ++x) channel[x] = (line[x] * 255 + largest / 2) / largest;
            }
        }
        for (std::size_t x = 0; x < width; ++x)
            for (int c = 0; c < 3; ++c) {
                const int value = rgba[grey ? 0 : c][x];
                *out++ = std::uint8_t(alpha ? over_black(value, rgba[3][x]) : value);
            }
    }
    return picture;
}

int matrix_for_scaler(AVColorSpace matrix) {
    switch (matrix) {
        case AVCOL_SPC_BT709: return SWS_CS_ITU709;
        case AVCOL_SPC_FCC: return SWS_CS_FCC;
        case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
        case AVCOL_SPC_BT2020_NCL:
        case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
        default: return SWS_CS_ITU601;
    }
}

bool is_full_range(const AVFrame& frame) {
    switch (frame.format) {
        case AV_PIX_FMT_YUVJ411P:
        case AV_PIX_FMT_YUVJ420P:
        case AV_PIX_FMT_YUVJ422P:
        case AV_PIX_FMT_YUVJ440P:
        case AV_PIX_FMT_YUVJ444P: return true;
        default: return frame.color_range == AVCOL_RANGE_JPEG;
    }
}

}  // namespace

void listen() {
    static std::once_flag once;
    std::call_once(once, [] { av_log_set_callback(keep_complaint); });
    complaint.clear();
    line_is_open = false;
    demuxer_complained = false;
}

bool any_complaint() {
    return !complaint.empty();
}

bool any_complaint_of_a_demuxer() {
    return demuxer_complained;
}

std::string reason(int code) {
    char text[AV_ERROR_MAX_STRING_SIZE] = {};
    av_strerror(code, text, sizeof text);
    return complaint.empty() ? std::string{text} : cat(text, " (", complaint, ")");
}

void check(int code, const std::filesystem::path& file, std::string_view doing, std::source_location at) {
    if (code < 0) fail(cat(file.string(), ": failed while ", doing, ": ", reason(code)), at);
}

Frame new_frame() {
    Frame frame{av_frame_alloc()};
    if (!frame) fail("out of host memory while making a frame");
    return frame;
}

Frame new_frame(AVPixelFormat format, int width, int height) {
    Frame frame = new_frame();
    frame.get()->format = format;
    frame.get()->width = width;
    frame.get()->height = height;
    if (av_frame_get_buffer(frame.get(), 64) < 0) fail(cat("out of host memory while making a frame of ", width, " x ", height, " pixels"));
    return frame;
}

Packet new_packet() {
    Packet packet{av_packet_alloc()};
    if (!packet) fail("out of host memory while making a packet");
    return packet;
}

Codec open_decoder(const AVCodec& codec, const AVCodecParameters* parameters, const std::filesystem::path& file) {
    Codec decoder{avcodec_alloc_context3(&codec)};
    if (!decoder) fail("out of host memory while making a decoder");
    if (parameters != nullptr) check(avcodec_parameters_to_context(decoder.get(), parameters), file, "preparing the decoder");
    decoder.get()->thread_count = 1;
    decoder.get()->get_buffer2 = buffer_within_bounds;
    check(avcodec_open2(decoder.get(), &codec, nullptr), file, cat("opening the decoder ", codec.name));
    return decoder;
}

Turn turn_of(const std::int32_t* matrix) {
    const auto [a, b, c, d] = std::array{matrix[0], matrix[1], matrix[3], matrix[4]};  // x' = a x + c y, y' = b x + d y, y downwards
    const auto size = [](std::int32_t value) { return std::abs(std::int64_t{value}); };
    if (size(a) + size(d) >= size(b) + size(c)) return {false, a < 0, d < 0};
    return {true, c < 0, b < 0};
}

Picture turned(Picture picture, Turn turn) {
    if (turn == Turn{}) return picture;
    Picture result{turn.swap ? picture.height : picture.width, turn.swap ? picture.width : picture.height, {}};
    result.rgb.resize(picture.rgb.size());
    auto* out = result.rgb.data();
    for (int y = 0; y < result.height; ++y)
        for (int x = 0; x < result.width; ++x) {
            int from_x = turn.flip_x ? result.width - 1 - x : x;
            int from_y = turn.flip_y ? result.height - 1 - y : y;
            if (turn.swap) std::swap(from_x, from_y);
            const auto* pixel = picture.rgb.data() + (std::size_t(from_y) * std::size_t(picture.width) + std::size_t(from_x)) * 3;
            out = std::copy_n(pixel, 3, out);
        }
    return result;
}

Picture RgbConverter::convert(const AVFrame& frame) {
    const auto* format = av_pix_fmt_desc_get(AVPixelFormat(frame.format));
    ensure(format != nullptr, "a decoded frame has no pixel format");
    const bool plain = (format->flags & (AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BAYER)) == 0;
    if (!is_yuv(*format) && plain && frame.format != AV_PIX_FMT_MONOWHITE) return unpacked(frame, *format);

    const bool alpha = (format->flags & AV_PIX_FMT_FLAG_ALPHA) != 0;
    const auto target = alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    const int matrix = matrix_for_scaler(frame.colorspace);
    const int full_range = is_full_range(frame) ? 1 : 0;
    if (std::vector key{frame.format, frame.width, frame.height, matrix, full_range}; key != scaler_is_for_) {
        const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT;
        scaler_ =
            Scaler{sws_getContext(frame.width, frame.height, AVPixelFormat(frame.format), frame.width, frame.height, target, flags, nullptr, nullptr, nullptr)};
        if (!scaler_) fail(cat("pixels of format ", format->name, " cannot be converted to RGB: ", reason(AVERROR(EINVAL))));
        const auto* coefficients = sws_getCoefficients(matrix);
        if (is_yuv(*format)) sws_setColorspaceDetails(scaler_.get(), coefficients, full_range, coefficients, 1, 0, 1 << 16, 1 << 16);
        scaler_is_for_ = std::move(key);
    }
    const Frame rgb = new_frame(target, frame.width, frame.height);
    const int rows = sws_scale(scaler_.get(), frame.data, frame.linesize, 0, frame.height, rgb.get()->data, rgb.get()->linesize);
    if (rows != frame.height) fail(cat("converting a frame to RGB failed: ", reason(rows)));

    Picture picture{frame.width, frame.height, std::vector<std::uint8_t>(std::size_t(frame.width) * std::size_t(frame.height) * 3)};
    auto* out = picture.rgb.data();
    for (int y = 0; y < frame.height; ++y) {
        const auto* in = rgb.get()->data[0] + std::ptrdiff_t{y} * rgb.get()->linesize[0];
        if (!alpha)
            out = std::copy_n(in, std::size_t(frame.width) * 3, out);
        else
            for (int x = 0; x < frame.width; ++x, in += 4)
                for (int c = 0; c < 3; ++c) *out++ = std::uint8_t(over_black(in[c], in[3]));
    }
    return picture;
}

}  // namespace weft::io::libav

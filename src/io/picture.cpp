#include "io/picture.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "io/jpeg.hpp"
#include "io/libav.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace weft::io {

namespace {

using Bytes = std::span<const std::uint8_t>;

constexpr std::string_view kAllowed = "PNG, JPEG and WebP pictures of up to 16384 pixels a side are read";

bool starts_with(Bytes bytes, std::string_view start, std::size_t at = 0) {
    return bytes.size() >= at + start.size() && std::memcmp(bytes.data() + at, start.data(), start.size()) == 0;
}

AVCodecID codec_of(Bytes bytes) {
    if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return AV_CODEC_ID_PNG;
    if (starts_with(bytes, "\xff\xd8\xff")) return AV_CODEC_ID_MJPEG;
    if (starts_with(bytes, "RIFF") && starts_with(bytes, "WEBP", 8)) return AV_CODEC_ID_WEBP;
    return AV_CODEC_ID_NONE;
}

std::string what_it_is(Bytes bytes) {
    if (bytes.empty()) return "is empty";
    if (starts_with(bytes, "GIF8")) return "is a GIF";
    if (starts_with(bytes, "BM")) return "is a BMP picture";
    if (starts_with(bytes, "II*") || starts_with(bytes, std::string_view{"MM\0*", 4})) return "is a TIFF picture";
    if (starts_with(bytes, "ftyp", 4)) return "is a film (MP4) or a HEIF or AVIF picture";
    if (starts_with(bytes, "\x1a\x45\xdf\xa3")) return "is a film (Matroska)";
    return cat("is no picture; it starts with ", in_quotes({reinterpret_cast<const char*>(bytes.data()), std::min(bytes.size(), std::size_t{16})}));
}

enum class Order { big_endian, little_endian };

/// The number of `size` bytes at `at`; 0 beyond the end.
std::size_t number(Bytes bytes, std::size_t at, std::size_t size, Order order) {
    if (at > bytes.size() || bytes.size() - at < size) return 0;
    std::size_t value = 0;
    for (std::size_t i = 0; i < size; ++i) value = value << 8 | bytes[at + (order == Order::big_endian ? i : size - 1 - i)];
    return value;
}

/// Bytes [at, at + size) as far as there are any.
Bytes part(Bytes bytes, std::size_t at, std::size_t size) {
    if (at >= bytes.size()) return {};
    return bytes.subspan(at, std::min(size, bytes.size() - at));
}

/// The EXIF block, which has the form of a TIFF file. Empty when there is none. libav 5.1 reads it for JPEG and WebP only.
Bytes exif_of(Bytes bytes, AVCodecID codec) {
    Bytes exif;
    if (codec == AV_CODEC_ID_MJPEG) {
        for (std::size_t at = 2; at + 4 <= bytes.size() && bytes[at] == 0xff && exif.empty();) {
            const auto marker = bytes[at + 1];
            if (marker == 0xff) {  // padding
                ++at;
                continue;
            }
            if (marker == 0xda) break;  // the picture itself begins
            const auto size = number(bytes, at + 2, 2, Order::big_endian);
            if (marker == 0xe1 && starts_with(bytes, std::string_view{"Exif\0\0", 6}, at + 4) && size > 2) exif = part(bytes, at + 4, size - 2);
            at += 2 + size;
        }
    } else {
        const bool png = codec == AV_CODEC_ID_PNG;
        const auto order = png ? Order::big_endian : Order::little_endian;
        for (std::size_t at = png ? 8 : 12; at + 8 <= bytes.size() && exif.empty();) {
            const auto size = number(bytes, at + (png ? 0 : 4), 4, order);
            if (starts_with(bytes, png ? "eXIf" : "EXIF", at + (png ? 4 : 0))) exif = part(bytes, at + 8, size);
            at += png ? 12 + size : 8 + size + (size & 1);
        }
    }
    return starts_with(exif, std::string_view{"Exif\0\0", 6}) ? exif.subspan(6) : exif;
}

libav::Turn exif_turn(Bytes exif) {
    constexpr std::size_t kOrientation = 0x0112;
    const auto order = starts_with(exif, "II") ? Order::little_endian : Order::big_endian;
    const auto directory = number(exif, 4, 4, order);
    const auto num_entries = number(exif, directory, 2, order);
    for (std::size_t entry = 0; entry < num_entries; ++entry) {
        const auto at = directory + 2 + entry * 12;
        if (number(exif, at, 2, order) != kOrientation) continue;
        switch (number(exif, at + 8, 2, order)) {
            case 2: return {false, true, false};
            case 3: return {false, true, true};
            case 4: return {false, false, true};
            case 5: return {true, false, false};
            case 6: return {true, true, false};
            case 7: return {true, true, true};
            case 8: return {true, false, true};
            default: return {};
        }
    }
    return {};
}

/// swscale takes RGB through YUV when it scales; channel by channel as grey it does not.
Picture scaled(const Picture& picture, int width, int height) {
    if (picture.width == width && picture.height == height) return picture;
    libav::listen();
    const bool shrinks = std::int64_t{width} * height < std::int64_t{picture.width} * picture.height;
    const int flags = (shrinks ? SWS_AREA : SWS_BICUBIC) | SWS_BITEXACT | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;
    const libav::Scaler scaler{
        sws_getContext(picture.width, picture.height, AV_PIX_FMT_GRAY8, width, height, AV_PIX_FMT_GRAY8, flags, nullptr, nullptr, nullptr)};
    if (!scaler)
        fail(cat("a picture of ", picture.width, " x ", picture.height, " cannot be scaled to ", width, " x ", height, ": ", libav::reason(AVERROR(EINVAL))));
    const auto from = libav::new_frame(AV_PIX_FMT_GRAY8, picture.width, picture.height);
    const auto to = libav::new_frame(AV_PIX_FMT_GRAY8, width, height);
    Picture result{width, height, std::vector<std::uint8_t>(std::size_t(width) * std::size_t(height) * 3)};
    for (std::size_t c = 0; c < 3; ++c) {
        const auto* in = picture.rgb.data() + c;
        for (int y = 0; y < picture.height; ++y) {
            auto* row = from.get()->data[0] + std::ptrdiff_t{y} * from.get()->linesize[0];
            for (int x = 0; x < picture.width; ++x, in += 3) row[x] = *in;
        }
        const int rows = sws_scale(scaler.get(), from.get()->data, from.get()->linesize, 0, picture.height, to.get()->data, to.get()->linesize);
        if (rows != height) fail(cat("scaling a picture failed: ", libav::reason(rows)));
        auto* out = result.rgb.data() + c;
        for (int y = 0; y < height; ++y) {
            const auto* row = to.get()->data[0] + std::ptrdiff_t{y} * to.get()->linesize[0];
            for (int x = 0; x < width; ++x, out += 3) *out = row[x];
        }
    }
    return result;
}

void ensure_pixels(const Picture& picture) {
    ensure(picture.width > 0 && picture.height > 0 && picture.rgb.size() == std::size_t(picture.width) * std::size_t(picture.height) * 3,
           "a picture's size and its number of bytes disagree");
}

/// Half of `difference`, .5 to the even side: Python's round, as the published programs crop.
int half(int difference) {
    return int(std::nearbyint(difference / 2.0));
}

}  // namespace

Picture read_picture(const std::filesystem::path& path) {
    if (std::error_code error; std::filesystem::is_directory(path, error)) refuse(cat(path.string(), ": is a folder; ", kAllowed));
    const MappedFile file{path};
    const Bytes bytes{reinterpret_cast<const std::uint8_t*>(file.bytes().data()), file.bytes().size()};
    const auto id = codec_of(bytes);
    if (id == AV_CODEC_ID_NONE) refuse(cat(path.string(), ": ", what_it_is(bytes), "; ", kAllowed));
    if (bytes.size() > std::size_t{1} << 30)
        refuse(cat(path.string(), ": has ", human_bytes(std::int64_t(bytes.size())), ", which is too much for a picture; ", kAllowed));

    if (id == AV_CODEC_ID_MJPEG) return libav::turned(read_jpeg(bytes, libav::kMaxSide, path), exif_turn(exif_of(bytes, id)));

    libav::listen();
    const auto* codec = avcodec_find_decoder(id);
    if (codec == nullptr) fail(cat(path.string(), ": the installed FFmpeg has no decoder for ", avcodec_get_name(id)));
    const auto decoder = libav::open_decoder(*codec, nullptr, path);
    decoder.get()->err_recognition = AV_EF_CRCCHECK | AV_EF_EXPLODE;
    const auto packet = libav::new_packet();
    libav::check(av_new_packet(packet.get(), int(bytes.size())), path, "reading the file");
    std::memcpy(packet.get()->data, bytes.data(), bytes.size());
    const auto frame = libav::new_frame();
    int code = avcodec_send_packet(decoder.get(), packet.get());
    if (code >= 0) code = avcodec_send_packet(decoder.get(), nullptr);
    if (code >= 0) code = avcodec_receive_frame(decoder.get(), frame.get());
    if (code < 0 || frame.get()->decode_error_flags != 0 || (frame.get()->flags & AV_FRAME_FLAG_CORRUPT) != 0)
        refuse(cat(path.string(), ": the picture is damaged or of a kind that cannot be decoded: ", libav::reason(code < 0 ? code : AVERROR_INVALIDDATA), "; ",
                   kAllowed));
    return libav::turned(libav::RgbConverter{}.convert(*frame.get()), exif_turn(exif_of(bytes, id)));
}

std::string png_bytes(const Picture& picture) {
    ensure_pixels(picture);
    libav::listen();
    const auto* codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    if (codec == nullptr) fail("the installed FFmpeg has no encoder for PNG");
    const libav::Codec encoder{avcodec_alloc_context3(codec)};
    if (!encoder) fail("out of host memory while making an encoder");
    auto& settings = *encoder.get();
    settings.width = picture.width;
    settings.height = picture.height;
    settings.pix_fmt = AV_PIX_FMT_RGB24;
    settings.time_base = {1, 1};
    settings.thread_count = 1;
    settings.flags |= AV_CODEC_FLAG_BITEXACT;
    settings.compression_level = 3;  // with "up" 40 % smaller than by default, in less time
    AVDictionary* extra = nullptr;
    av_dict_set(&extra, "pred", "up", 0);
    const int code = avcodec_open2(encoder.get(), codec, &extra);
    av_dict_free(&extra);
    libav::check(code, "PNG", "opening the encoder");
    const auto frame = libav::new_frame(AV_PIX_FMT_RGB24, picture.width, picture.height);
    const auto row = std::size_t(picture.width) * 3;
    for (int y = 0; y < picture.height; ++y)
        std::memcpy(frame.get()->data[0] + std::ptrdiff_t{y} * frame.get()->linesize[0], picture.rgb.data() + std::size_t(y) * row, row);
    const auto packet = libav::new_packet();
    libav::check(avcodec_send_frame(encoder.get(), frame.get()), "PNG", "encoding a picture");
    libav::check(avcodec_send_frame(encoder.get(), nullptr), "PNG", "encoding a picture");
    libav::check(avcodec_receive_packet(encoder.get(), packet.get()), "PNG", "encoding a picture");
    return {reinterpret_cast<const char*>(packet.get()->data), std::size_t(packet.get()->size)};
}

void write_png(const std::filesystem::path& path, const Picture& picture) {
    write_atomically(path, png_bytes(picture));
}

Picture scale(const Picture& picture, int width, int height) {
    ensure_pixels(picture);
    ensure(width > 0 && height > 0, "a picture is scaled to no size");
    return scaled(picture, width, height);
}

Picture cover(const Picture& picture, int width, int height) {
    ensure_pixels(picture);
    ensure(width > 0 && height > 0, "a picture is scaled to no size");
    const double aspect = double(picture.height) / double(picture.width);
    const bool wide = aspect < double(height) / double(width);
    const double long_side = std::ceil(wide ? height / aspect : width * aspect);
    if (long_side > 4.0 * libav::kMaxSide)
        refuse(cat("a picture of ", picture.width, " x ", picture.height, " pixels is too narrow to cover ", width, " x ", height,
                   "; crop it nearer to that aspect"));
    Picture large = wide ? scaled(picture, int(long_side), height) : scaled(picture, width, int(long_side));
    if (large.width == width && large.height == height) return large;

    const auto left = std::size_t(half(large.width - width));
    const auto top = std::size_t(half(large.height - height));
    Picture result{width, height, {}};
    result.rgb.reserve(std::size_t(width) * std::size_t(height) * 3);
    for (std::size_t y = top; y < top + std::size_t(height); ++y) {
        const auto* row = large.rgb.data() + (y * std::size_t(large.width) + left) * 3;
        result.rgb.insert(result.rgb.end(), row, row + std::size_t(width) * 3);
    }
    return result;
}

}  // namespace weft::io

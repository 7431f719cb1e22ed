#include "io/jpeg.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <csetjmp>
#include <cstddef>
#include <cstdio>  // jpeglib.h wants it first

#include <jerror.h>
#include <jpeglib.h>

#include <string_view>
#include <vector>

#ifndef LIBJPEG_TURBO_VERSION
#error "jpeglib.h is not libjpeg-turbo's: other libjpegs interpolate colours otherwise. Install libjpeg62-turbo-dev (launch/setup does)."
#endif

namespace weft::io {

namespace {

/// libjpeg reports by longjmp out of its own frames, so what runs below `survives` has nothing to destroy.
struct Decoder {
    Decoder() {
        info.err = jpeg_std_error(&errors);
        info.client_data = this;
        errors.error_exit = [](j_common_ptr raw) { give_up(raw); };
        errors.emit_message = [](j_common_ptr raw, int level) {
            const int code = raw->err->msg_code;
            // Remarks on the head, and padding before the end that some telephones write; all else of this level is damage, after which libjpeg goes on
            // with made-up data.
            const bool padding = code == JWRN_EXTRANEOUS_DATA && raw->err->msg_parm.i[1] == 0xd9;
            if (level < 0 && code != JWRN_JFIF_MAJOR && code != JWRN_ADOBE_XFORM && !padding) give_up(raw);
        };
    }
    Decoder(const Decoder&) = delete;
    Decoder& operator=(const Decoder&) = delete;
    ~Decoder() { jpeg_destroy_decompress(&info); }  // never fails, and does nothing to what was not created

    [[noreturn]] static void give_up(j_common_ptr raw) {
        auto& decoder = *static_cast<Decoder*>(raw->client_data);
        raw->err->format_message(raw, decoder.problem);
        std::longjmp(decoder.back, 1);
    }

    jpeg_decompress_struct info{};
    jpeg_error_mgr errors{};
    std::jmp_buf back{};
    char problem[JMSG_LENGTH_MAX] = {};
    std::span<const std::uint8_t> bytes;
    std::uint8_t* rgb = nullptr;  ///< where read_pixels writes
    std::uint8_t* row = nullptr;  ///< room for one row of CMYK
};

using Step = void (*)(Decoder&) noexcept;

/// Did the library come through? If not, `problem` says why.
bool survives(Decoder& decoder, Step step) noexcept {
    if (setjmp(decoder.back) != 0) return false;
    step(decoder);
    return true;
}

void read_head(Decoder& decoder) noexcept {
    auto& info = decoder.info;
    jpeg_create_decompress(&info);
    jpeg_mem_src(&info, decoder.bytes.data(), static_cast<unsigned long>(decoder.bytes.size()));
    jpeg_read_header(&info, TRUE);
}

/// a * b / 255, rounded, for a and b up to 255.
constexpr int times(int a, int b) {
    const int product = a * b + 128;
    return (product + (product >> 8)) >> 8;
}

/// PIL takes every CMYK as Adobe writes it: 255 is no ink.
void to_rgb(const std::uint8_t* cmyk, std::uint8_t* rgb, unsigned width) noexcept {
    for (unsigned x = 0; x < width; ++x, cmyk += 4, rgb += 3)
        for (int c = 0; c < 3; ++c) rgb[c] = std::uint8_t(cmyk[3] - times(255 - cmyk[c], cmyk[3]));
}

void read_pixels(Decoder& decoder) noexcept {
    auto& info = decoder.info;
    const bool cmyk = info.num_components == 4;
    info.out_color_space = cmyk ? JCS_CMYK : JCS_RGB;
    info.dct_method = JDCT_ISLOW;
    info.do_fancy_upsampling = TRUE;
    jpeg_start_decompress(&info);
    auto* out = decoder.rgb;
    while (info.output_scanline < info.output_height) {
        JSAMPROW row = cmyk ? decoder.row : out;
        jpeg_read_scanlines(&info, &row, 1);
        if (cmyk) to_rgb(row, out, info.output_width);
        out += std::size_t{info.output_width} * 3;
    }
    jpeg_finish_decompress(&info);  // reads to the end, so that a missing one is found
}

[[noreturn]] void refuse_it(const std::filesystem::path& file, std::string_view reason) {
    refuse(cat(file.string(), ": the JPEG is damaged or of a kind that cannot be decoded: ", reason,
               "; open it in an image program and save it as a PNG or as an RGB JPEG of 8 bits"));
}

}  // namespace

Picture read_jpeg(std::span<const std::uint8_t> bytes, int max_side, const std::filesystem::path& file) {
    Decoder decoder;
    decoder.bytes = bytes;
    if (!survives(decoder, read_head)) refuse_it(file, decoder.problem);
    const auto& info = decoder.info;
    if (info.image_width > unsigned(max_side) || info.image_height > unsigned(max_side))
        refuse(cat(file.string(), ": ", info.image_width, " x ", info.image_height, " pixels are too many; up to ", max_side, " a side are read"));
    if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) refuse_it(file, cat("it has ", info.num_components, " channels"));

    Picture picture{int(info.image_width), int(info.image_height), std::vector<std::uint8_t>(std::size_t{info.image_width} * info.image_height * 3)};
    std::vector<std::uint8_t> row(info.num_components == 4 ? std::size_t{info.image_width} * 4 : 0);
    decoder.rgb = picture.rgb.data();
    decoder.row = row.data();
    if (!survives(decoder, read_pixels)) refuse_it(file, decoder.problem);
    return picture;
}

}  // namespace weft::io

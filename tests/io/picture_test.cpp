#include "io/picture.hpp"

#include "io/libav.hpp"
#include "io/media.hpp"

#include <array>
#include <cstring>

namespace weft::io {

using namespace test;

namespace {

std::string big_endian(std::uint32_t value) {
    return {char(value >> 24), char(value >> 16), char(value >> 8), char(value)};
}

std::string chunk(const std::string& type, const std::string& data) {
    std::uint32_t crc = 0xffffffff;
    for (const char letter : type + data) {
        crc ^= std::uint8_t(letter);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return big_endian(std::uint32_t(data.size())) + type + data + big_endian(~crc);
}

enum Colour : char { grey = 0, rgb = 2, palette = 3, grey_alpha = 4, rgba = 6 };

/// A PNG made without any library, so that reading is checked against the format. `rows` holds no filter bytes; deflate's blocks are stored ones.
std::string png_file(int width, int height, int depth, Colour colour, const std::string& rows, const std::string& more = {}) {
    const auto row = rows.size() / std::size_t(height);
    std::string raw;
    for (int y = 0; y < height; ++y) raw += '\0' + rows.substr(std::size_t(y) * row, row);
    std::uint32_t a = 1;
    std::uint32_t b = 0;
    for (const char letter : raw) b = (b + (a = (a + std::uint8_t(letter)) % 65521)) % 65521;
    const auto size = std::uint16_t(raw.size());
    std::string stream{"\x78\x01\x01"};
    stream += {char(size), char(size >> 8), char(~size), char(~size >> 8)};
    stream += raw + big_endian(b << 16 | a);
    const std::string head = big_endian(std::uint32_t(width)) + big_endian(std::uint32_t(height)) + std::string{char(depth), colour, 0, 0, 0};
    return "\x89PNG\r\n\x1a\n" + chunk("IHDR", head) + more + chunk("IDAT", stream) + chunk("IEND", "");
}

std::string exif(int orientation) {  // a TIFF head, one directory with one entry, little-endian
    std::string text{"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18};
    return text + std::string{char(orientation), 0, 0, 0, 0, 0, 0, 0};
}

/// Encoded by libav as `codec` from full-range BT.601, as JPEG wants it.
std::string encoded(AVCodecID id, const Picture& picture) {
    const auto* codec = avcodec_find_encoder(id);
    const libav::Codec encoder{avcodec_alloc_context3(codec)};
    auto& settings = *encoder.get();
    settings.width = picture.width;
    settings.height = picture.height;
    settings.pix_fmt = AV_PIX_FMT_YUVJ444P;
    settings.color_range = AVCOL_RANGE_JPEG;
    settings.time_base = {1, 1};
    settings.flags |= AV_CODEC_FLAG_QSCALE;
    settings.global_quality = FF_QP2LAMBDA;
    libav::check(avcodec_open2(encoder.get(), codec, nullptr), "test", "opening the encoder");
    const auto frame = libav::new_frame(AV_PIX_FMT_YUVJ444P, picture.width, picture.height);
    frame.get()->quality = FF_QP2LAMBDA;
    for (int y = 0; y < picture.height; ++y)
        for (int x = 0; x < picture.width; ++x) {
            const double r = at(picture, x, y, 0), g = at(picture, x, y, 1), b = at(picture, x, y, 2);
            const std::array yuv{0.299 * r + 0.587 * g + 0.114 * b, 128 - 0.168736 * r - 0.331264 * g + 0.5 * b, 128 + 0.5 * r - 0.418688 * g - 0.081312 * b};
            for (std::size_t c = 0; c < 3; ++c)
                frame.get()->data[c][std::ptrdiff_t{y} * frame.get()->linesize[c] + x] = std::uint8_t(std::clamp(yuv[c] + 0.5, 0.0, 255.0));
        }
    const auto packet = libav::new_packet();
    libav::check(avcodec_send_frame(encoder.get(), frame.get()), "test", "encoding");
    libav::check(avcodec_send_frame(encoder.get(), nullptr), "test", "encoding");
    libav::check(avcodec_receive_packet(encoder.get(), packet.get()), "test", "encoding");
    return {reinterpret_cast<const char*>(packet.get()->data), std::size_t(packet.get()->size)};
}

Picture read_bytes(const std::string& bytes) {
    const Folder folder;
    write_bytes(folder / "picture", bytes);  // told by content: no ending
    return read_picture(folder / "picture");
}

std::string from_hex(std::string_view digits) {
    std::string bytes;
    for (; !digits.empty(); digits.remove_prefix(2)) bytes += char(std::stoi(std::string{digits.substr(0, 2)}, nullptr, 16));
    return bytes;
}

/// 6 x 4, colours of half width and height; by PIL 13.0: save("JPEG", quality=60, subsampling=2, optimize=True).
std::string halved_jpeg() {
    return from_hex(
        "ffd8ffe000104a46494600010100000100010000ffdb0043000d090a0b0a080d0b0a0b0e0e0d0f13201513121213271c1e17202e2931302e292d2c333a4a3e333646372c2d405741"
        "464c4e525352323e5a615a50604a51524fffdb0043010e0e0e131113261515264f352d354f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f4f"
        "4f4f4f4f4f4f4f4f4f4f4f4f4f4fffc00011080004000603012200021101031101ffc4001500010100000000000000000000000000000004ffc4001b100002010500000000000000"
        "00000000000001040305111241ffc4001501010100000000000000000000000000000405ffc4001a110002020300000000000000000000000001020021030413ffda000c03010002"
        "110311003f009add3e43a696fcc80009c6954250d545e42a7fffd9");
}

/// 24 x 16 with quarters of red, green / blue, yellow.
Picture quarters() {
    Picture picture{24, 16, {}};
    for (int y = 0; y < 16; ++y)
        for (int x = 0; x < 24; ++x) {
            const bool right = x >= 12, low = y >= 8;
            const std::uint8_t red = right == low ? 200 : 0;
            picture.rgb.insert(picture.rgb.end(), {red, std::uint8_t(right ? 180 : 0), std::uint8_t(low && !right ? 220 : 0)});
        }
    return picture;
}

/// The quarters from the top left, line by line, as letters.
std::string corners(const Picture& picture) {
    std::string letters;
    for (const int y : {picture.height / 4, picture.height * 3 / 4})
        for (const int x : {picture.width / 4, picture.width * 3 / 4}) {
            const bool red = at(picture, x, y, 0) > 100, green = at(picture, x, y, 1) > 90, blue = at(picture, x, y, 2) > 110;
            letters += red && green ? 'y' : red ? 'r' : green ? 'g' : blue ? 'b' : '?';
        }
    return letters;
}

constexpr std::array<const char*, 9> kTurnedCorners{"", "rgby", "gryb", "ybgr", "byrg", "rbgy", "bryg", "ygbr", "gyrb"};

}  // namespace

TEST(Picture, PngKeepsEveryByte) {
    const Folder folder;
    for (const auto& [width, height] : {std::pair{1, 1}, {37, 23}, {64, 48}}) {
        const auto picture = noise(width, height, 7);
        write_png(folder / "a.png", picture);
        EXPECT_EQ(read_picture(folder / "a.png"), picture);
    }
    EXPECT_EQ(png_bytes(noise(20, 20, 1)), png_bytes(noise(20, 20, 1)));
}

TEST(Picture, PngOfOtherLibrariesComesOutAsStored) {
    const auto picture = noise(9, 5, 3);
    EXPECT_EQ(read_bytes(png_file(9, 5, 8, rgb, std::string{picture.rgb.begin(), picture.rgb.end()})), picture);
}

TEST(Picture, GreyBecomesThreeEqualChannels) {
    const Picture expected{4, 1, {0, 0, 0, 1, 1, 1, 128, 128, 128, 255, 255, 255}};
    EXPECT_EQ(read_bytes(png_file(4, 1, 8, grey, std::string{"\0\x01\x80\xff", 4})), expected);
    EXPECT_EQ(read_bytes(png_file(4, 1, 16, grey, std::string{"\0\0\x01\x01\x80\x80\xff\xff", 8})), expected);
    const Picture bits{3, 1, {255, 255, 255, 0, 0, 0, 255, 255, 255}};
    EXPECT_EQ(read_bytes(png_file(3, 1, 1, grey, "\xa0")), bits);
}

TEST(Picture, SixteenBitsAreRounded) {
    const Picture expected{1, 1, {18, 255, 1}};  // 0x1234 / 257 = 18.13, 0xfff0 -> 254.94, 0x0081 -> 0.502
    EXPECT_EQ(read_bytes(png_file(1, 1, 16, rgb, std::string{"\x12\x34\xff\xf0\0\x81", 6})), expected);
}

TEST(Picture, TransparencyLiesOverBlack) {
    const Picture expected{3, 1, {200, 100, 50, 0, 0, 0, 100, 50, 25}};
    EXPECT_EQ(read_bytes(png_file(3, 1, 8, rgba, std::string{"\xc8\x64\x32\xff\xc8\x64\x32\0\xc8\x64\x32\x80", 12})), expected);
    const Picture grey_expected{2, 1, {200, 200, 200, 100, 100, 100}};
    EXPECT_EQ(read_bytes(png_file(2, 1, 8, grey_alpha, "\xc8\xff\xc8\x80")), grey_expected);
}

TEST(Picture, PaletteIsLookedUp) {
    const auto colours = chunk("PLTE", std::string{"\xff\0\0\0\x80\0\x0a\x14\x1e", 9});
    const Picture expected{3, 1, {10, 20, 30, 255, 0, 0, 0, 128, 0}};
    EXPECT_EQ(read_bytes(png_file(3, 1, 8, palette, std::string{"\x02\0\x01", 3}, colours)), expected);
    const Picture with_holes{3, 1, {10, 20, 30, 0, 0, 0, 0, 64, 0}};
    EXPECT_EQ(read_bytes(png_file(3, 1, 8, palette, std::string{"\x02\0\x01", 3}, colours + chunk("tRNS", std::string{"\0\x80", 2}))), with_holes);
}

TEST(Picture, JpegIsFullRange) {
    for (const auto& colour : {std::array{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {0, 0, 0}, {255, 255, 255}, {224, 16, 32}}) {
        const auto picture = plain(24, 16, std::uint8_t(colour[0]), std::uint8_t(colour[1]), std::uint8_t(colour[2]));
        expect_colour(read_bytes(encoded(AV_CODEC_ID_MJPEG, picture)), 12, 8, colour[0], colour[1], colour[2], 3);
    }
    EXPECT_GT(psnr(read_bytes(encoded(AV_CODEC_ID_MJPEG, drawing(64, 48, 0))), drawing(64, 48, 0)), 40);
}

TEST(Picture, JpegIsWhatPilReads) {
    const Picture expected{6, 4, {76,  173, 16, 91,  177, 26, 118, 184, 48, 149, 191, 67, 174, 187, 79, 183, 184, 82, 61,  149, 11, 77,  154, 24,
                                  104, 161, 44, 134, 167, 63, 159, 164, 74, 169, 161, 78, 43,  115, 16, 61,  122, 29, 89,  127, 50, 116, 130, 68,
                                  142, 128, 79, 156, 129, 86, 31,  94,  15, 51,  103, 31, 78,  107, 49, 102, 108, 64, 129, 105, 77, 145, 109, 87}};
    EXPECT_EQ(read_bytes(halved_jpeg()), expected);
}

TEST(Picture, JpegOfInksIsWhatPilReads) {  // Adobe's inverted CMYK, quality=50
    const Picture expected{2, 1, {218, 173, 44, 27, 83, 126}};
    EXPECT_EQ(
        read_bytes(from_hex(
            "ffd8ffee000e41646f626500640000000000ffdb004300100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933383740485c4e404457453738506d51575f"
            "626768673e4d71797064785c656763ffc000140800010002044311004d11005911004b1100ffc400160001010100000000000000000000000000050406ffc4002110000004050500"
            "000000000000000000000001030402053574b233347273b1ffda000e0443004d0059004b00003f001a71597d70a6461057563e4635528a3b2b74f1214bbde2fd917a3fffd9")),
        expected);
}

TEST(Picture, ExifTurnsJpegAndPng) {
    const auto jpeg = encoded(AV_CODEC_ID_MJPEG, quarters());
    const auto png = png_bytes(quarters());
    EXPECT_EQ(corners(read_bytes(jpeg)), "rgby");
    for (int orientation = 1; orientation <= 8; ++orientation) {
        const auto block = exif(orientation);
        const auto size = block.size() + 8;
        const auto in_jpeg = read_bytes("\xff\xd8\xff\xe1" + std::string{char(size >> 8), char(size)} + std::string{"Exif\0\0", 6} + block + jpeg.substr(2));
        const auto in_png = read_bytes(png.substr(0, 33) + chunk("eXIf", block) + png.substr(33));
        EXPECT_EQ(corners(in_jpeg), kTurnedCorners[std::size_t(orientation)]) << orientation;
        EXPECT_EQ(corners(in_png), kTurnedCorners[std::size_t(orientation)]) << orientation;
        EXPECT_EQ(in_jpeg.width, orientation < 5 ? 24 : 16);
        EXPECT_EQ(in_png.height, orientation < 5 ? 16 : 24);
    }
}

TEST(Picture, BrokenExifIsNoReasonToStumble) {
    const auto png = png_bytes(quarters());
    for (const std::string& block : {std::string{}, std::string{"II"}, std::string{"II*\0\xff\xff\xff\xff", 8}, exif(6).substr(0, 15), exif(99),
                                     std::string{"MM\0*\0\0\0\x08\xff\xff", 10}})
        EXPECT_EQ(read_bytes(png.substr(0, 33) + chunk("eXIf", block) + png.substr(33)), quarters());
}

TEST(Picture, WhatIsNoPictureIsRefusedInWords) {
    const Folder folder;
    write_bytes(folder / "text.png", "Dear reader, this is a letter.");
    write_bytes(folder / "empty.png", "");
    const auto refused = [](const fs::path& path) { return error_of(ExitCode::user_mistake, [&] { (void)read_picture(path); }); };
    const auto text = refused(folder / "text.png");
    EXPECT_NE(text.find("text.png: is no picture; it starts with \"Dear reader"), std::string::npos) << text;
    EXPECT_NE(text.find("PNG, JPEG and WebP"), std::string::npos) << text;
    EXPECT_NE(refused(folder / "empty.png").find("is empty"), std::string::npos);
    EXPECT_NE(refused(folder / "missing.png").find("No such file"), std::string::npos);
    EXPECT_NE(refused(folder.path()).find("is a folder"), std::string::npos);
    write_bytes(folder / "film.png", std::string{"\0\0\0\x20"
                                                 "ftypisom\0\0\x02\0",
                                                 16});
    EXPECT_NE(refused(folder / "film.png").find("is a film"), std::string::npos);
}

TEST(Picture, DamageIsFound) {
    const Folder folder;
    const auto refused = [&](const std::string& bytes) {
        write_bytes(folder / "a", bytes);
        return error_of(ExitCode::user_mistake, [&] { (void)read_picture(folder / "a"); });
    };
    const auto png = png_bytes(noise(40, 40, 2));
    const auto jpeg = encoded(AV_CODEC_ID_MJPEG, noise(40, 40, 2));
    for (const double share : {0.1, 0.5, 0.9}) {
        refused(png.substr(0, std::size_t(share * double(png.size()))));
        refused(jpeg.substr(0, std::size_t(share * double(jpeg.size()))));
    }
    const auto cut = refused(jpeg.substr(0, jpeg.size() - 40));
    EXPECT_NE(cut.find("Premature end of JPEG file"), std::string::npos) << cut;
    auto overwritten = jpeg;
    overwritten.replace(jpeg.size() / 2, 2, "\xff\xd9");
    EXPECT_NE(refused(overwritten).find("Corrupt JPEG data"), std::string::npos);
    auto flipped = png;
    flipped[png.size() / 2] ^= 1;
    EXPECT_NE(refused(flipped).find("CRC"), std::string::npos);
}

TEST(Picture, TooLargeIsRefusedBeforeItIsDecoded) {
    const auto text = error_of(ExitCode::user_mistake, [] { (void)read_bytes(png_file(20000, 1, 1, grey, std::string(2500, '\0'))); });
    EXPECT_NE(text.find("20000 x 1"), std::string::npos) << text;
    auto jpeg = halved_jpeg();
    jpeg.replace(jpeg.find("\xff\xc0") + 7, 2, "\x4e\x20");  // its width
    const auto of_jpeg = error_of(ExitCode::user_mistake, [&] { (void)read_bytes(jpeg); });
    EXPECT_NE(of_jpeg.find("20000 x 4"), std::string::npos) << of_jpeg;
}

TEST(Picture, EqualSizeIsACopy) {
    const auto picture = noise(31, 17, 5);
    EXPECT_EQ(scale(picture, 31, 17), picture);
    EXPECT_EQ(cover(picture, 31, 17), picture);
}

TEST(Picture, ShrinkingAverages) {
    Picture checks{8, 8, {}};
    for (int i = 0; i < 64; ++i) checks.rgb.insert(checks.rgb.end(), {std::uint8_t((i + i / 8) % 2 * 200), 90, std::uint8_t(255 - (i + i / 8) % 2 * 200)});
    const auto small = scale(checks, 4, 4);
    for (int i = 0; i < 16; ++i) expect_colour(small, i % 4, i / 4, 100, 90, 155, 1);
}

TEST(Picture, FlatColoursStayAsTheyAre) {
    for (const auto& [red, green, blue] : {std::array<std::uint8_t, 3>{255, 0, 0}, {0, 255, 0}, {1, 2, 254}, {255, 255, 255}}) {
        EXPECT_EQ(scale(plain(40, 30, red, green, blue), 16, 12), plain(16, 12, red, green, blue));
        EXPECT_EQ(scale(plain(16, 12, red, green, blue), 40, 30), plain(40, 30, red, green, blue));
    }
}

TEST(Picture, CoverCutsTheCentre) {
    Picture wide{90, 30, {}};  // thirds of red, green, blue
    for (int i = 0; i < 90 * 30; ++i)
        wide.rgb.insert(wide.rgb.end(), {std::uint8_t(i % 90 < 30 ? 255 : 0), std::uint8_t(i % 90 / 30 == 1 ? 255 : 0), std::uint8_t(i % 90 >= 60 ? 255 : 0)});
    EXPECT_EQ(cover(wide, 30, 30), plain(30, 30, 0, 255, 0));
    EXPECT_EQ(cover(wide, 10, 10), plain(10, 10, 0, 255, 0));

    Picture ramp{3, 5, {}};  // row y is y * 50
    for (int i = 0; i < 15; ++i) ramp.rgb.insert(ramp.rgb.end(), 3, std::uint8_t(i / 3 * 50));
    EXPECT_EQ(at(cover(ramp, 3, 3), 0, 0, 0), 50);
    EXPECT_EQ(at(cover(ramp, 3, 4), 0, 0, 0), 0) << "(5 - 4) / 2 rounds half to even: 0";
    EXPECT_EQ(at(cover(ramp, 3, 2), 0, 0, 0), 100) << "(5 - 2) / 2 = 1.5 rounds half to even: 2";
}

TEST(Picture, TooNarrowToCoverIsRefused) {
    error_of(ExitCode::user_mistake, [] { (void)cover(plain(1, 5000, 1, 2, 3), 500, 500); });
}

namespace {
/// A frame of one colour converted; `yuv` in the order of planes.
Picture converted(AVPixelFormat format, AVColorSpace matrix, AVColorRange range, std::array<int, 3> yuv, int height = 16) {
    const auto frame = libav::new_frame(format, 16, height);
    frame.get()->colorspace = matrix;
    frame.get()->color_range = range;
    for (int c = 0; c < 3; ++c) {
        const int rows = c > 0 && format == AV_PIX_FMT_YUV420P ? height / 2 : height;
        for (int y = 0; y < rows; ++y)
            std::memset(frame.get()->data[c] + std::ptrdiff_t{y} * frame.get()->linesize[c], yuv[std::size_t(c)], 16 / (rows == height ? 1 : 2));
    }
    return libav::RgbConverter{}.convert(*frame.get());
}
}  // namespace

TEST(Picture, RangeAndMatrixOfAFrameAreHonoured) {
    // Pure red, written by hand with each standard's own numbers.
    expect_colour(converted(AV_PIX_FMT_YUV420P, AVCOL_SPC_SMPTE170M, AVCOL_RANGE_MPEG, {81, 90, 240}), 8, 8, 255, 0, 0, 2);
    expect_colour(converted(AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, {63, 102, 240}), 8, 8, 255, 0, 0, 2);
    expect_colour(converted(AV_PIX_FMT_YUV444P, AVCOL_SPC_BT470BG, AVCOL_RANGE_JPEG, {76, 85, 255}), 8, 8, 255, 0, 0, 2);
    expect_colour(converted(AV_PIX_FMT_YUVJ444P, AVCOL_SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED, {76, 85, 255}), 8, 8, 255, 0, 0, 2);
    expect_colour(converted(AV_PIX_FMT_YUV420P, AVCOL_SPC_UNSPECIFIED, AVCOL_RANGE_UNSPECIFIED, {81, 90, 240}, 1024), 8, 8, 255, 0, 0, 2);
    expect_colour(converted(AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, {235, 128, 128}), 8, 8, 255, 255, 255, 0);
    expect_colour(converted(AV_PIX_FMT_YUV420P, AVCOL_SPC_BT709, AVCOL_RANGE_MPEG, {16, 128, 128}), 8, 8, 0, 0, 0, 0);
}

}  // namespace weft::io

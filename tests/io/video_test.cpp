#include "io/libav.hpp"
#include "io/media.hpp"
#include "io/video_reader.hpp"
#include "io/video_writer.hpp"

#include <malloc.h>

#include <array>
#include <set>
#include <vector>

namespace weft::io {

using namespace test;

namespace {

VideoOptions options(int width, int height, double fps = 15) {
    VideoOptions result;
    result.width = width;
    result.height = height;
    result.fps = fps;
    return result;
}

template <class Draw>
void write_film(const fs::path& path, const VideoOptions& how, int num_frames, Draw draw) {
    VideoWriter writer{path, how};
    for (int frame = 0; frame < num_frames; ++frame) writer.write(draw(frame));
    EXPECT_EQ(writer.finish(), num_frames);
}

void write_drawings(const fs::path& path, int num_frames, double fps = 15) {
    write_film(path, options(64, 48, fps), num_frames, [](int frame) { return drawing(64, 48, frame); });
}

std::vector<Picture> frames_of(const fs::path& path) {
    VideoReader reader{path};
    std::vector<Picture> frames;
    while (auto frame = reader.next()) frames.push_back(std::move(*frame));
    EXPECT_FALSE(reader.next()) << "the end stays the end";
    return frames;
}

std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator{folder}) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

libav::Input opened(const fs::path& path) {
    AVFormatContext* raw = nullptr;
    libav::check(avformat_open_input(&raw, path.c_str(), nullptr, nullptr), path, "opening");
    libav::Input input{raw};
    libav::check(avformat_find_stream_info(raw, nullptr), path, "looking into the streams");
    return input;
}

/// First stream of a kind; a test that finds none ends.
AVStream& stream_of(const libav::Input& input, AVMediaType type) {
    const int index = av_find_best_stream(input.get(), type, -1, -1, nullptr, 0);
    if (index < 0) throw std::runtime_error("no such stream");
    return *input.get()->streams[index];
}

/// A tone of `seconds` as AAC in an .m4a, or a film without a frame when `seconds` is 0.
void write_m4a(const fs::path& path, double seconds) {
    AVFormatContext* raw = nullptr;
    libav::check(avformat_alloc_output_context2(&raw, nullptr, "mp4", path.c_str()), path, "preparing");
    const libav::Output output{raw};
    libav::check(avio_open(&raw->pb, path.c_str(), AVIO_FLAG_WRITE), path, "opening");
    auto* stream = avformat_new_stream(raw, nullptr);
    const bool sound = seconds > 0;
    const auto* codec = avcodec_find_encoder(sound ? AV_CODEC_ID_AAC : AV_CODEC_ID_MPEG4);
    const libav::Codec encoder{avcodec_alloc_context3(codec)};
    auto& settings = *encoder.get();
    settings.flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (sound) {
        settings.sample_fmt = AV_SAMPLE_FMT_FLTP;
        settings.sample_rate = 44100;
        settings.ch_layout = AV_CHANNEL_LAYOUT_MONO;
        settings.time_base = {1, 44100};
    } else {
        settings.width = settings.height = 64;
        settings.pix_fmt = AV_PIX_FMT_YUV420P;
        settings.time_base = {1, 15};
    }
    libav::check(avcodec_open2(encoder.get(), codec, nullptr), path, "opening the encoder");
    libav::check(avcodec_parameters_from_context(stream->codecpar, encoder.get()), path, "preparing");
    stream->time_base = settings.time_base;
    libav::check(avformat_write_header(raw, nullptr), path, "writing");
    const auto packet = libav::new_packet();
    const auto drain = [&] {
        while (avcodec_receive_packet(encoder.get(), packet.get()) == 0) {
            av_packet_rescale_ts(packet.get(), settings.time_base, stream->time_base);
            libav::check(av_interleaved_write_frame(raw, packet.get()), path, "writing");
        }
    };
    for (int at = 0; sound && at < seconds * 44100; at += settings.frame_size) {
        const auto frame = libav::new_frame();
        frame.get()->format = settings.sample_fmt;
        frame.get()->nb_samples = settings.frame_size;
        frame.get()->ch_layout = settings.ch_layout;
        frame.get()->sample_rate = 44100;
        frame.get()->pts = at;
        libav::check(av_frame_get_buffer(frame.get(), 0), path, "making a frame");
        for (int i = 0; i < settings.frame_size; ++i) reinterpret_cast<float*>(frame.get()->data[0])[i] = float(0.3 * std::sin((at + i) * 0.0627));
        libav::check(avcodec_send_frame(encoder.get(), frame.get()), path, "encoding");
        drain();
    }
    if (sound) libav::check(avcodec_send_frame(encoder.get(), nullptr), path, "encoding");
    drain();
    libav::check(av_write_trailer(raw), path, "writing");
}

/// One second of silence, 8 kHz, 16 bits.
std::string wav() {
    std::string bytes = "RIFF";
    const auto little = [&](std::uint32_t value, int size) {
        for (int i = 0; i < size; ++i) bytes += char(value >> 8 * i);
    };
    little(36 + 16000, 4);
    bytes += "WAVEfmt ";
    little(16, 4);
    little(1, 2);
    little(1, 2);
    little(8000, 4);
    little(16000, 4);
    little(2, 2);
    little(16, 2);
    bytes += "data";
    little(16000, 4);
    return bytes + std::string(16000, '\0');
}

std::string refused(const std::function<void()>& action) {
    return error_of(ExitCode::user_mistake, action);
}

void expect_in(const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << "\"" << part << "\" is not in: " << text;
}

}  // namespace

TEST(Video, Mp4KeepsFramesSpeedAndLooks) {
    const Folder folder;
    for (const int num_frames : {1, 2, 33}) {
        write_drawings(folder / "a.mp4", num_frames);
        VideoReader reader{folder / "a.mp4"};
        EXPECT_EQ(reader.info().width, 64);
        EXPECT_EQ(reader.info().height, 48);
        EXPECT_DOUBLE_EQ(reader.info().fps, 15);
        EXPECT_EQ(reader.info().frames_expected, num_frames);
        EXPECT_FALSE(reader.info().has_audio);
        const auto frames = frames_of(folder / "a.mp4");
        ASSERT_EQ(frames.size(), std::size_t(num_frames));
        for (int frame = 0; frame < num_frames; ++frame) EXPECT_GT(psnr(frames[std::size_t(frame)], drawing(64, 48, frame)), 35) << "frame " << frame;
        const auto input = opened(folder / "a.mp4");
        EXPECT_NEAR(double(input.get()->duration) / AV_TIME_BASE, num_frames / 15.0, 0.002);
    }
    EXPECT_EQ(names_in(folder.path()), std::vector<std::string>{"a.mp4"});
}

TEST(Video, Mp4SaysHowItsColoursAreMeantAndStartsWithItsIndex) {
    const Folder folder;
    write_drawings(folder / "a.mp4", 3);
    const auto input = opened(folder / "a.mp4");
    const auto& video = *stream_of(input, AVMEDIA_TYPE_VIDEO).codecpar;
    EXPECT_EQ(video.codec_id, AV_CODEC_ID_H264);
    EXPECT_EQ(video.format, AV_PIX_FMT_YUV420P);
    EXPECT_EQ(video.color_range, AVCOL_RANGE_MPEG);
    EXPECT_EQ(video.color_space, AVCOL_SPC_BT709);
    EXPECT_EQ(video.color_primaries, AVCOL_PRI_BT709);
    EXPECT_EQ(video.color_trc, AVCOL_TRC_BT709);
    const auto bytes = bytes_of(folder / "a.mp4");
    EXPECT_LT(bytes.find("moov"), bytes.find("mdat"));
}

TEST(Video, OddSpeedsAreKeptAsFractions) {
    const Folder folder;
    for (const double fps : {30000.0 / 1001, 12.5, 7.0, 1.0}) {
        for (const char* name : {"a.mp4", "a.mkv"}) {
            write_drawings(folder / name, 5, fps);
            EXPECT_NEAR(VideoReader{folder / name}.info().fps, fps, 1e-3) << name;
        }
        const auto input = opened(folder / "a.mp4");
        EXPECT_DOUBLE_EQ(av_q2d(stream_of(input, AVMEDIA_TYPE_VIDEO).avg_frame_rate), fps);
    }
}

TEST(Video, SaturatedColoursSurvive) {
    const Folder folder;
    for (const auto& [red, green, blue] :
         {std::array<std::uint8_t, 3>{255, 0, 0}, {0, 255, 0}, {0, 0, 255}, {0, 153, 102}, {0, 0, 0}, {255, 255, 255}, {128, 128, 128}}) {
        const auto picture = plain(64, 48, red, green, blue);
        write_film(folder / "a.mp4", options(64, 48), 2, [&](int) { return picture; });
        for (const auto& frame : frames_of(folder / "a.mp4")) expect_colour(frame, 30, 20, red, green, blue, 3);
    }
}

TEST(Video, MkvAndFoldersAreExact) {
    const Folder folder;
    for (const char* name : {"a.mkv", "frames", "more/", "b.MKV"}) {
        write_film(folder / name, options(37, 23), 12, [](int frame) { return noise(37, 23, std::uint32_t(frame)); });
        const auto frames = frames_of(folder / name);
        ASSERT_EQ(frames.size(), 12U) << name;
        for (std::uint32_t frame = 0; frame < 12; ++frame) EXPECT_EQ(frames[frame], noise(37, 23, frame)) << name << " frame " << frame;
    }
    EXPECT_EQ(names_in(folder / "frames").front(), "00001.png");
    EXPECT_EQ(names_in(folder / "frames").back(), "00012.png");
    EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"a.mkv", "b.MKV", "frames", "more"}));
}

TEST(Video, EqualFramesGiveEqualBytes) {
    const Folder folder;
    for (const char* name : {"a.mp4", "a.mkv"})
        for (const int threads : {1, 2}) {
            auto how = options(64, 48);
            how.threads = threads;
            std::set<std::string> films;
            for (int run = 0; run < 8; ++run) {
                std::vector<std::string> heap;  // encoders that read what they never wrote find something else each time
                for (int i = 0; i < 40; ++i) heap.emplace_back(std::size_t(1000 + (i * 7919 + run * 104729) % 300000), char(run * 37 + i));
                heap.clear();
                write_film(folder / name, how, 20, [](int frame) { return drawing(64, 48, frame); });
                films.insert(bytes_of(folder / name));
            }
            EXPECT_EQ(films.size(), 1U) << name << ", threads " << threads;
        }
}

TEST(Video, SkippingPassesOverFrames) {
    const Folder folder;
    for (const char* name : {"a.mkv", "frames"}) {
        write_film(folder / name, options(16, 16), 6, [](int frame) { return noise(16, 16, std::uint32_t(frame)); });
        VideoReader reader{folder / name};
        EXPECT_TRUE(reader.skip());
        EXPECT_TRUE(reader.skip());
        EXPECT_EQ(reader.next(), noise(16, 16, 2));
        for (int i = 3; i < 6; ++i) EXPECT_TRUE(reader.skip());
        EXPECT_FALSE(reader.skip());
        EXPECT_FALSE(reader.next());
    }
}

TEST(Video, RotationOfTheContainerIsApplied) {
    const Folder folder;
    auto picture = plain(64, 48, 0, 0, 0);
    for (int y = 0; y < 16; ++y)
        for (int x = 0; x < 16; ++x) picture.rgb[std::size_t(y * 64 + x) * 3] = 255;  // red in the top left
    write_film(folder / "a.mp4", options(64, 48), 2, [&](int) { return picture; });
    auto bytes = bytes_of(folder / "a.mp4");
    const auto turn = [&](std::array<int, 4> abcd) {
        const auto at_matrix = bytes.find("tkhd") + 4 + 40;
        for (const auto& [position, value] : {std::pair{0, abcd[0]}, {4, abcd[1]}, {12, abcd[2]}, {16, abcd[3]}})
            for (int i = 0; i < 4; ++i) bytes[at_matrix + std::size_t(position + i)] = char(std::uint32_t(value * 65536) >> (24 - 8 * i));
        write_bytes(folder / "turned.mp4", bytes);
        VideoReader reader{folder / "turned.mp4"};
        const auto frame = reader.next().value();
        EXPECT_EQ(frame.width, reader.info().width);
        std::string found;
        for (const int y : {4, frame.height - 5})
            for (const int x : {4, frame.width - 5}) found += at(frame, x, y, 0) > 128 ? 'x' : '.';
        return std::pair{found, frame.width};
    };
    EXPECT_EQ(turn({1, 0, 0, 1}), (std::pair<std::string, int>{"x...", 64}));
    EXPECT_EQ(turn({0, 1, -1, 0}), (std::pair<std::string, int>{".x..", 48})) << "a quarter clockwise, as phones held upright write it";
    EXPECT_EQ(turn({-1, 0, 0, -1}), (std::pair<std::string, int>{"...x", 64}));
    EXPECT_EQ(turn({0, -1, 1, 0}), (std::pair<std::string, int>{"..x.", 48}));
}

TEST(Video, FoldersAreReadInTheOrderOfBytes) {
    const Folder folder;
    for (const auto& [name, seed] : {std::pair{"b.png", 3U}, {"B.png", 1U}, {"a10.PNG", 2U}, {"\xc3\xa4.png", 4U}, {".hidden.png", 9U}})
        write_png(folder / name, noise(8, 8, seed));
    write_bytes(folder / "notes.txt", "not a picture");
    fs::create_directory(folder / "sub.png");
    const auto frames = frames_of(folder.path());
    ASSERT_EQ(frames.size(), 4U);
    EXPECT_EQ(VideoReader{folder.path()}.info().frames_expected, 4);
    for (std::uint32_t i = 0; i < 4; ++i) EXPECT_EQ(frames[i], noise(8, 8, i + 1)) << i;
}

TEST(Video, APictureIsAFilmOfOneFrame) {
    const Folder folder;
    write_png(folder / "a.png", noise(8, 8, 1));
    EXPECT_EQ(frames_of(folder / "a.png"), std::vector{noise(8, 8, 1)});
}

TEST(Video, WhatIsNoVideoIsRefusedInWords) {
    const Folder folder;
    const auto text = [&](const fs::path& path) { return refused([&] { (void)VideoReader{path}; }); };
    expect_in(text(folder / "missing.mp4"), "missing.mp4: does not exist");
    expect_in(text(folder.path()), "holds no pictures");
    write_bytes(folder / "empty.mp4", "");
    expect_in(text(folder / "empty.mp4"), "is empty");
    for (const char* name : {"letter.mp4", "letter.txt", "letter"}) {
        write_bytes(folder / name, "Dear reader,\nthis is a letter.\n");
        expect_in(text(folder / name), name);
    }
    write_m4a(folder / "sound.m4a", 0.5);
    expect_in(text(folder / "sound.m4a"), "holds no video, only sound");
    write_m4a(folder / "nothing.mp4", 0);
    expect_in(text(folder / "nothing.mp4"), "nothing.mp4");
    expect_in(text("http://example.com/a.mp4"), "does not exist");
    expect_in(text("/dev/null"), "neither a file nor a folder");
}

TEST(Video, PicturesOfDifferentSizesAreRefusedByName) {
    const Folder folder;
    write_png(folder / "1.png", noise(8, 8, 1));
    write_png(folder / "2.png", noise(8, 9, 1));
    VideoReader reader{folder.path()};
    EXPECT_TRUE(reader.next());
    const auto text = refused([&] { (void)reader.next(); });
    expect_in(text, "2.png: has 8 x 9 pixels");
    expect_in(text, "1.png");
}

TEST(Video, ABrokenFilmNamesTheFrame) {
    const Folder folder;
    for (const char* name : {"a.mp4", "a.mkv"}) {
        write_film(folder / name, options(64, 48), 40, [](int frame) { return noise(64, 48, std::uint32_t(frame)); });
        const auto bytes = bytes_of(folder / name);
        for (const double share : {0.3, 0.9}) {
            write_bytes(folder / name, bytes.substr(0, std::size_t(share * double(bytes.size()))));
            expect_in(refused([&] { (void)frames_of(folder / name); }), "is broken at frame ");
        }
        auto bad = bytes;
        for (std::size_t i = bytes.size() / 2; i < bytes.size() / 2 + 300; ++i) bad[i] ^= 0x5a;
        write_bytes(folder / name, bad);
        expect_in(refused([&] { (void)frames_of(folder / name); }), "is broken at frame ");
    }
}

TEST(Video, OneWrongBitOfALosslessFilmIsFound) {
    const Folder folder;
    write_film(folder / "a.mkv", options(64, 48), 10, [](int frame) { return noise(64, 48, std::uint32_t(frame)); });
    const auto bytes = bytes_of(folder / "a.mkv");
    for (const double share : {0.25, 0.52, 0.77}) {
        auto bad = bytes;
        bad[std::size_t(share * double(bytes.size()))] ^= 4;
        write_bytes(folder / "b.mkv", bad);
        expect_in(refused([&] { (void)frames_of(folder / "b.mkv"); }), "is broken at frame ");
    }
}

TEST(Video, AnUnfinishedFilmLeavesNothingAndTheOldOneStays) {
    const Folder folder;
    for (const char* name : {"a.mp4", "a.mkv", "frames"}) {
        const auto path = folder / name;
        write_drawings(path, 3);
        const auto before = frames_of(path);
        {
            VideoWriter writer{path, options(64, 48)};
            for (int frame = 0; frame < 60; ++frame) writer.write(plain(64, 48, 1, 2, 3));
            EXPECT_TRUE(fs::exists(path.string() + ".part"));
            const VideoWriter moved = std::move(writer);
        }
        EXPECT_FALSE(fs::exists(path.string() + ".part"));
        EXPECT_EQ(frames_of(path), before);
        write_drawings(path, 2);
        EXPECT_EQ(frames_of(path).size(), 2U) << "a finished one replaces it";
    }
    EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"a.mkv", "a.mp4", "frames"}));
}

TEST(Video, PartsOfAKilledJobAreReplaced) {
    const Folder folder;
    write_bytes(folder / "a.mp4.part", "half a film");
    fs::create_directory(folder / "frames.part");
    for (const char* name : {"00001.png", "00077.png"}) write_bytes(folder / "frames.part" / name, "half a picture");
    write_drawings(folder / "a.mp4", 2);
    write_drawings(folder / "frames", 2);
    EXPECT_EQ(frames_of(folder / "frames").size(), 2U);
    EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"a.mp4", "frames"}));
}

TEST(Video, PlacesThatCannotBeWrittenAreRefusedAtOnce) {
    const Folder folder;
    const auto text = [&](const fs::path& path, const VideoOptions& how = options(64, 48)) { return refused([&] { (void)VideoWriter{path, how}; }); };
    expect_in(text(folder / "a.avi"), "unknown ending \".avi\"");
    expect_in(text(folder / "no/such/a.mp4"), "no/such does not exist");
    expect_in(text(folder / "no/such/frames"), "no/such does not exist");
    expect_in(text(""), "no name for a film");
    expect_in(text("/"), "no name for a film");
    expect_in(text(folder / "."), "no name for a film");
    fs::create_directory(folder / "b.mp4");
    expect_in(text(folder / "b.mp4"), "is no file");
    write_bytes(folder / "frames", "a file");
    expect_in(text(folder / "frames"), "is no folder");

    fs::create_directory(folder / "photos");
    write_bytes(folder / "photos" / "00001.png", "mine");
    write_bytes(folder / "photos" / "holiday.png", "mine");
    expect_in(text(folder / "photos"), "holiday.png");
    EXPECT_EQ(bytes_of(folder / "photos" / "00001.png"), "mine");

    expect_in(text(folder / "a.mp4", options(63, 48)), "odd");
    expect_in(text(folder / "a.mkv", options(0, 48)), "0 x 48");
    expect_in(text(folder / "a.mkv", options(20000, 48)), "20000 x 48");
    for (const double fps : {0.0, -1.0, 1e9, std::nan("")}) expect_in(text(folder / "a.mp4", options(64, 48, fps)), "frames a second");
    EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"b.mp4", "frames", "photos"}));
}

TEST(Video, AFolderThatGotAForeignFileMeanwhileIsKept) {
    const Folder folder;
    write_drawings(folder / "frames", 2);
    VideoWriter writer{folder / "frames", options(64, 48)};
    writer.write(drawing(64, 48, 0));
    write_bytes(folder / "frames" / "notes.txt", "mine");
    expect_in(refused([&] { writer.finish(); }), "notes.txt");
    EXPECT_EQ(names_in(folder / "frames"), (std::vector<std::string>{"00001.png", "00002.png", "notes.txt"}));
}

TEST(Video, AReadOnlyMountIsRefused) {
    const Mount mount{MS_RDONLY, "size=64k"};
    if (!mount) return;
    for (const char* name : {"a.mp4", "a.mkv", "frames"})
        expect_in(refused([&] { (void)VideoWriter{mount / name, options(64, 48)}; }), "Read-only file system");
}

TEST(Video, AFullDiskIsAFailureThatSaysSo) {
    const Mount mount{0, "size=64k"};
    if (!mount) return;
    for (const char* name : {"a.mp4", "a.mkv", "frames"}) {
        const auto text =
            error_of(ExitCode::failure, [&] { write_film(mount / name, options(64, 48), 100, [](int frame) { return noise(64, 48, std::uint32_t(frame)); }); });
        expect_in(text, "No space left on device");
        expect_in(text, name);
        EXPECT_TRUE(fs::is_empty(mount.path())) << name;
    }
}

TEST(Video, FramesOfAnotherSizeAreABug) {
    const Folder folder;
    VideoWriter writer{folder / "a.mkv", options(64, 48)};
    error_of(ExitCode::failure, [&] { writer.write(noise(48, 64, 1)); });
    error_of(ExitCode::failure, [&] { writer.finish(); });
}

TEST(Video, SoundIsCopiedAndCutToTheFilm) {
    const Folder folder;
    write_m4a(folder / "sound.m4a", 10);
    for (const char* name : {"a.mp4", "a.mkv"}) {
        for (const int num_frames : {30, 300}) {  // 2 s, and longer than the sound
            auto how = options(64, 48);
            how.audio = folder / "sound.m4a";
            write_film(folder / name, how, num_frames, [](int frame) { return drawing(64, 48, frame); });
            EXPECT_TRUE(VideoReader{folder / name}.info().has_audio);
            EXPECT_EQ(frames_of(folder / name).size(), std::size_t(num_frames));

            const auto input = opened(folder / name);
            const auto& sound = stream_of(input, AVMEDIA_TYPE_AUDIO);
            const auto& video = stream_of(input, AVMEDIA_TYPE_VIDEO);
            EXPECT_EQ(sound.codecpar->codec_id, AV_CODEC_ID_AAC);
            const auto packet = libav::new_packet();
            double begin = 1e9, end = 0, furthest_apart = 0;
            std::array<double, 2> reached{};
            for (; av_read_frame(input.get(), packet.get()) >= 0; av_packet_unref(packet.get())) {
                const bool is_sound = packet.get()->stream_index == sound.index;
                const auto& stream = is_sound ? sound : video;
                reached[is_sound ? 0 : 1] = double(packet.get()->dts) * av_q2d(stream.time_base);
                if (reached[0] < 9) furthest_apart = std::max(furthest_apart, std::abs(reached[0] - reached[1]));
                if (!is_sound) continue;
                begin = std::min(begin, double(packet.get()->pts) * av_q2d(stream.time_base));
                end = std::max(end, double(packet.get()->pts + packet.get()->duration) * av_q2d(stream.time_base));
            }
            const double expected = std::min(num_frames / 15.0, 10.0);
            EXPECT_NEAR(begin, 0, 0.05) << name;
            EXPECT_LE(end, num_frames / 15.0 + 1e-6) << name;
            EXPECT_NEAR(end, expected, 0.06) << name;
            EXPECT_LT(furthest_apart, 1.2) << name << ": sound and pictures must lie side by side";
        }
    }
}

TEST(Video, SoundThatDoesNotFitIsRefusedAtOnce) {
    const Folder folder;
    write_bytes(folder / "sound.wav", wav());
    write_drawings(folder / "silent.mp4", 2);
    const auto text = [&](const fs::path& path, const fs::path& audio) {
        auto how = options(64, 48);
        how.audio = audio;
        const auto said = refused([&] { (void)VideoWriter{path, how}; });
        EXPECT_EQ(said, why_no_audio(audio, path));
        return said;
    };
    expect_in(text(folder / "a.mp4", folder / "sound.wav"), "pcm_s16le) does not fit into mp4");
    expect_in(text(folder / "a.mp4", folder / "silent.mp4"), "holds no sound");
    expect_in(text(folder / "a.mp4", folder / "missing.m4a"), "does not exist");
    expect_in(text(folder / "a.mp4", folder.path()), "is not a file");
    expect_in(text(folder / "frames", folder / "sound.wav"), "holds no sound");
    EXPECT_EQ(names_in(folder.path()), (std::vector<std::string>{"silent.mp4", "sound.wav"}));

    auto how = options(64, 48);
    how.audio = folder / "sound.wav";
    EXPECT_EQ(why_no_audio(*how.audio, folder / "a.mkv"), "");
    write_film(folder / "a.mkv", how, 3, [](int frame) { return noise(64, 48, std::uint32_t(frame)); });
    EXPECT_TRUE(VideoReader{folder / "a.mkv"}.info().has_audio);
    EXPECT_EQ(frames_of(folder / "a.mkv").front(), noise(64, 48, 0));
}

TEST(Video, MemoryDoesNotGrowWithTheFilm) {
    const auto bytes_in_use = [] {
        const auto info = ::mallinfo2();
        return std::int64_t(info.uordblks + info.hblkhd);
    };
    const Folder folder;
    for (const char* name : {"a.mp4", "a.mkv", "frames"}) {
        std::int64_t early = 0;
        {
            VideoWriter writer{folder / name, options(160, 120)};
            for (int frame = 0; frame < 300; ++frame) {
                writer.write(drawing(160, 120, frame));
                if (frame == 80) early = bytes_in_use();  // x264 looks some 50 frames ahead
            }
            EXPECT_LT(bytes_in_use() - early, 2 << 20) << name << ", writing: 220 frames are 12 MiB";
            writer.finish();
        }
        VideoReader reader{folder / name};
        for (int frame = 0; reader.next(); ++frame)
            if (frame == 30) early = bytes_in_use();
        EXPECT_LT(bytes_in_use() - early, 2 << 20) << name << ", reading";
    }
}

}  // namespace weft::io

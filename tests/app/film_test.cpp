#include "app/small_job.hpp"
#include "io/video_reader.hpp"

#include <cmath>

/// Clips of every shape, and the films that come of them.
namespace weft::test {

using ::testing::HasSubstr;

namespace {
/// Frames, seconds, size and sound of a film.
struct Film {
    int width = 0, height = 0;
    std::int64_t frames = 0;
    double seconds = 0;
    bool sound = false;
};

Film film(const fs::path& path) {
    io::VideoReader reader(path);
    Film film{.width = reader.info().width, .height = reader.info().height, .sound = reader.info().has_audio};
    while (reader.skip()) ++film.frames;
    film.seconds = reader.info().fps > 0 ? static_cast<double>(film.frames) / reader.info().fps : 0;
    return film;
}

/// "ffprobe" of one value of the container or the first stream of a kind.
double probe(const fs::path& path, const std::string& entry, const std::string& stream = {}) {
    Words words{"ffprobe", "-v", "error"};
    if (!stream.empty()) words.insert(words.end(), {"-select_streams", stream});
    words.insert(words.end(), {"-show_entries", entry, "-of", "csv=p=0", path.string()});
    const auto ended = run(words, path.parent_path());
    EXPECT_EQ(ended.code, 0) << ended.err;
    return std::stod(ended.out);
}

/// The example's poses as a film with sound: `seconds` of them at 30 frames a second.
void make_dance(const SmallJob& job, const std::string& name, const Words& sound) {
    Words words{"ffmpeg",
                "-v",
                "error",
                "-framerate",
                "30",
                "-i",
                (tiny_model() / "example" / "pose" / "%05d.png").string(),
                "-f",
                "lavfi",
                "-i",
                "sine=frequency=440:duration=3"};
    words.insert(words.end(), sound.begin(), sound.end());
    words.insert(words.end(), {"-c:v", "libx264", "-qp", "10", "-pix_fmt", "yuv420p", "-t", "1.3", (job / name).string()});
    const auto ended = run(words, job.folder());
    ASSERT_EQ(ended.code, 0) << ended.err;
}
}  // namespace

TEST(Clip, ShorterThanASliceWorks) {
    const SmallJob job;
    expect_done(job.generate({"input.frames=3", "slices.length=16"}));
    EXPECT_EQ(film(job / "out.mkv").frames, 3);
}

TEST(Clip, OfOnePoseFrameWorks) {
    const SmallJob job;
    expect_done(job.generate({"input.frames=1", "output.video=out.mp4"}));
    EXPECT_EQ(film(job / "out.mp4").frames, 1);
    expect_done(
        job.generate({cat("input.pose=", (tiny_model() / "example" / "pose" / "00003.png").string()), "output.run_file=one.h5", "output.video=one.mp4"}));
    EXPECT_EQ(film(job / "one.mp4").frames, 1);
}

TEST(Clip, OfOneMoreFrameThanASliceWorks) {
    const SmallJob job;
    expect_done(job.generate({"input.frames=6"}));  // seven frames with the reference, slices of six
    EXPECT_EQ(film(job / "out.mkv").frames, 6);
}

TEST(Clip, FramesAndStrideChooseThePoses) {
    const SmallJob job;
    const auto made = [&](const Words& sets) {
        auto all = sets;
        all.insert(all.end(), {"sampling.steps=1", "output.run_file=run.h5"});
        const auto ended = job.generate(all, {"--restart"});
        expect_done(ended);
        return film(job / "out.mkv").frames;
    };
    EXPECT_EQ(made({"input.frames=5"}), 5);
    EXPECT_EQ(made({"input.frames=0", "input.stride=4"}), 10);  // 0, 4, ..., 36 of 39
    EXPECT_EQ(made({"input.frames=4", "input.stride=4"}), 4);
    EXPECT_EQ(made({"input.frames=100", "input.stride=10"}), 4);  // 0, 10, 20, 30
}

TEST(Clip, PosesAsAVideoGiveTheFilmItsRate) {
    const SmallJob job;
    make_dance(job, "dance.mp4", {"-an"});
    expect_done(job.generate({"input.pose=dance.mp4", "input.frames=0", "input.stride=3", "output.video=out.mp4", "sampling.steps=1"}));
    const auto made = film(job / "out.mp4");
    EXPECT_EQ(made.frames, 13);             // of 39
    EXPECT_NEAR(made.seconds, 1.3, 0.001);  // as long as the dance
    EXPECT_NEAR(probe(job / "out.mp4", "format=duration"), 1.3, 0.011);
    EXPECT_FALSE(made.sound);
}

TEST(Clip, OutputFpsIsTheFilms) {
    const SmallJob job;
    expect_done(job.generate({"output.fps=25", "output.video=out.mp4", "sampling.steps=1"}));
    EXPECT_NEAR(probe(job / "out.mp4", "format=duration"), 9 / 25.0, 0.002);
}

TEST(Clip, FoldersGetNumberedFrames) {
    const SmallJob job;
    expect_done(job.generate({"output.video=frames"}));
    const auto made = film(job / "frames");
    EXPECT_EQ(made.frames, 9);
    EXPECT_EQ(made.width, 64);
    EXPECT_TRUE(fs::exists(job / "frames" / "00001.png"));
    EXPECT_TRUE(fs::exists(job / "frames" / "00009.png"));
    EXPECT_EQ(job.hash("frames"), undisturbed_hashes().substr(33));  // the frames of the lossless film
}

TEST(Clip, TheFilmMayHaveThePosesSize) {
    const SmallJob job;
    expect_done(job.generate({"output.size=pose", "sampling.steps=1"}));
    const auto made = film(job / "out.mkv");
    EXPECT_EQ(made.width, 128);
    EXPECT_EQ(made.height, 128);
    EXPECT_EQ(made.frames, 9);
}

TEST(Clip, AnOddPoseSizeIsRefusedForMp4BeforeTheJobRuns) {
    const SmallJob job;
    fs::create_directories(job / "pose");
    auto pose = io::test::plain(75, 75, 0, 0, 0);
    for (int i = 0; i < 30; ++i) pose.rgb[static_cast<std::size_t>(75 * 40 + i) * 3] = 255;
    io::write_png(job / "pose" / "1.png", pose);
    const auto ended = job.generate({"output.size=pose", "output.video=out.mp4", "input.pose=pose"}, {"--events", "events.jsonl"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("75 x 75 pixels are odd"));
    EXPECT_EQ(bytes_of(job / "events.jsonl").find("\"pass\""), std::string::npos);
}

TEST(Clip, APoseOfTheReferenceIsUsed) {
    const SmallJob job;
    expect_done(job.generate({cat("input.image_pose=", (tiny_model() / "example" / "pose" / "00020.png").string())}));
    EXPECT_EQ(film(job / "out.mkv").frames, 9);
    EXPECT_NE(job.hash("out.h5"), undisturbed_hashes().substr(0, 32));
    const SmallJob same;  // what stands in when none is named
    expect_done(same.generate({cat("input.image_pose=", (tiny_model() / "example" / "pose" / "00001.png").string())}));
    EXPECT_EQ(same.hash("out.mkv"), undisturbed_hashes().substr(33));
}

TEST(Clip, AReferenceOfAnotherShapeIsCropped) {
    const SmallJob job;
    io::write_png(job / "wide.png", park(333, 70, 0));
    expect_done(job.generate({"input.image=wide.png", "video.height=128", "sampling.steps=1"}));
    EXPECT_EQ(film(job / "out.mkv").height, 128);
}

// ---- sound ----

TEST(Sound, OfThePoseVideoIsCutToLength) {
    const SmallJob job;
    make_dance(job, "dance.mp4", {"-c:a", "aac"});
    ASSERT_TRUE(film(job / "dance.mp4").sound);
    expect_done(job.generate({"input.pose=dance.mp4", "input.frames=15", "output.video=out.mp4", "sampling.steps=1"}));
    EXPECT_TRUE(film(job / "out.mp4").sound);
    EXPECT_NEAR(probe(job / "out.mp4", "stream=duration", "v:0"), 0.5, 0.001);
    EXPECT_NEAR(probe(job / "out.mp4", "stream=duration", "a:0"), 0.5, 0.05);
}

TEST(Sound, MayBeSwitchedOff) {
    const SmallJob job;
    make_dance(job, "dance.mp4", {"-c:a", "aac"});
    expect_done(job.generate({"input.pose=dance.mp4", "output.video=out.mp4", "output.audio=none", "sampling.steps=1"}));
    EXPECT_FALSE(film(job / "out.mp4").sound);
}

TEST(Sound, MayBeAFileOfItsOwn) {
    const SmallJob job;
    ASSERT_EQ(run({"ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=2", "-c:a", "aac", "song.m4a"}, job.folder()).code, 0);
    expect_done(job.generate({"output.audio=song.m4a", "output.video=out.mp4", "sampling.steps=1"}));
    EXPECT_TRUE(film(job / "out.mp4").sound);
    EXPECT_NEAR(probe(job / "out.mp4", "stream=duration", "a:0"), 0.6, 0.05);
}

TEST(Sound, ThatTheFilmCannotTakeIsLeftOutWithAWarning) {
    const SmallJob job;
    make_dance(job, "dance.mkv", {"-c:a", "pcm_s16le"});  // mp4 takes no PCM
    for (const char* const video : {"out.mp4", "frames"}) {
        const auto ended = job.generate({"input.pose=dance.mkv", cat("output.video=", video), "sampling.steps=1"});
        EXPECT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
        EXPECT_THAT(ended.err, ::testing::StartsWith("warning: the film will be silent: "));
        EXPECT_FALSE(film(job / video).sound);
    }
}

TEST(Sound, ThatTheUserNamesIsNeverLeftOut) {
    const SmallJob job;
    ASSERT_EQ(run({"ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=2", "song.wav"}, job.folder()).code, 0);
    write_bytes(job / "letter.txt", "la la la");
    for (const char* const song : {"song.wav", "letter.txt"}) {
        const auto ended = job.generate({cat("output.audio=", song), "output.video=out.mp4"}, {"--events", "events.jsonl"});
        EXPECT_EQ(ended.code, 2);
        EXPECT_THAT(ended.err, HasSubstr(song));
    }
    EXPECT_EQ(bytes_of(job / "events.jsonl").find("\"pass\""), std::string::npos);
}

}  // namespace weft::test

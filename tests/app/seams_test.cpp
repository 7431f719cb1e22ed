#include "app/small_job.hpp"
#include "io/run_file.hpp"
#include "io/video_writer.hpp"

#include <algorithm>

/// `weft inspect --seams`.
namespace weft::test {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

using Frames = std::vector<int>;

/// Slices of 16 with an overlap of 4 in a clip of 40 frames are [1-15], [13-27] and [25-39]: from these frames to the next a slice begins or ends.
constexpr int clip_frames = 40;
const Frames borders{12, 15, 24, 27};

/// What frame `frame` of the clip is filled with: from frame to frame it grows by 2, and by 6 from each of `jumps` to the next.
int level(int frame, const Frames& jumps) {
    return 2 * frame + 4 * static_cast<int>(std::count_if(jumps.begin(), jumps.end(), [frame](int jump) { return jump < frame; }));
}

/// Frames 1 to 39 of the clip.
void write_film(const fs::path& path, const Frames& jumps) {
    io::VideoWriter writer(path, {.width = 8, .height = 8});
    for (int frame = 1; frame < clip_frames; ++frame) {
        const auto value = static_cast<std::uint8_t>(level(frame, jumps));
        writer.write(io::test::plain(8, 8, value, value, value));
    }
    writer.finish();
}

/// The line that begins with `name`.
std::string line_of(const Ended& ended, const std::string& name) {
    for (const auto& line : split(ended.out, '\n'))
        if (line.starts_with(name)) return line;
    return cat("no line ", name, " in\n", ended.out);
}

}  // namespace

TEST(SeamsOfAFilm, SteadyMovementHasNone) {
    const SmallJob job;
    write_film(job / "film.mkv", {});
    const auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "16,4"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "slices"), HasSubstr("3 of 16 frames, overlap 4: 4 borders among 38 changes"));
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("seams 1.000, worst 1.000 from frame 12 to 13; change 2 at 4 borders, 2 inside"));
}

TEST(SeamsOfAFilm, AJumpAtEachBorderIsMeasured) {
    const SmallJob job;
    fs::create_directory(job / "film");
    for (const char* const name : {"film.mkv", "film"}) {
        write_film(job / name, borders);
        const auto ended = job.weft({"inspect", name, "--seams", "--slices=16,4"});
        expect_done(ended);
        EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("seams 3.000, worst 3.000 from frame 12 to 13; change 6 at 4 borders, 2 inside"));
    }
}

TEST(SeamsOfAFilm, OfMusePoseBeginWithFrame0) {
    const SmallJob job;
    io::VideoWriter writer(job / "film.mkv", {.width = 8, .height = 8});
    for (int frame = 0; frame < 20; ++frame) {  // windows [0-7], [5-12], [10-17], [15-19 and repeats]
        const auto value = static_cast<std::uint8_t>(2 * frame + (frame > 4 ? 4 : 0));
        writer.write(io::test::plain(8, 8, value, value, value));
    }
    writer.finish();
    const auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "8,3", "--family", "musepose"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "slices"), HasSubstr("4 of 8 frames, overlap 3: 6 borders among 19 changes; frame 0 is the film's first"));
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("worst 3.000 from frame 4 to 5"));
}

TEST(SeamsOfAFilm, TheFirstPictureIsFrame1) {
    const SmallJob job;
    write_film(job / "film.mkv", {24});
    auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "16,4"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("seams 1.500, worst 3.000 from frame 24 to 25"));
    for (const int beside : {23, 25}) {
        write_film(job / "film.mkv", {beside});
        ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "16,4"});
        expect_done(ended);
        EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("seams 0.")) << ended.out;
    }
}

TEST(SeamsOfAFilm, AStillFilmWithOneJump) {
    const SmallJob job;
    io::VideoWriter writer(job / "film.mkv", {.width = 8, .height = 8});
    for (int frame = 1; frame < clip_frames; ++frame) writer.write(frame <= 15 ? io::test::plain(8, 8, 10, 0, 0) : io::test::plain(8, 8, 20, 0, 0));
    writer.finish();
    const auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "16,4"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("seams inf, worst inf from frame 15 to 16"));
}

TEST(SeamsOfAFilm, OneSliceHasNone) {
    const SmallJob job;
    write_film(job / "film.mkv", borders);
    auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "40,6"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("one slice: no seams (the clip has 40 frames"), Not(HasSubstr("pixels"))));
    ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "39,6"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("slices    2 of 39 frames"), HasSubstr("pixels")));
}

TEST(SeamsOfAFilm, WhereEveryChangeIsABorderThereIsNoFigure) {
    const SmallJob job;
    write_film(job / "film.mkv", {});
    const auto ended = job.weft({"inspect", "--seams", "film.mkv", "--slices", "2,1"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "pixels"), AllOf(HasSubstr("no figure"), HasSubstr("change 2 at 38 borders"), Not(HasSubstr(" inside;"))));
}

TEST(SeamsOfAFilm, WhatIsNoFilmIsRefused) {
    const SmallJob job;
    write_bytes(job / "letter.mkv", "Dear film,\n");
    io::VideoWriter writer(job / "still.mkv", {.width = 8, .height = 8});
    writer.write(io::test::plain(8, 8, 1, 2, 3));
    writer.finish();
    const auto refused = [&](const Words& words) {
        const auto ended = job.weft(words);
        EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(ended);
        return ended.err;
    };
    EXPECT_THAT(refused({"inspect", "--seams", "still.mkv", "--slices", "16,4"}), AllOf(HasSubstr("still.mkv: has one frame"), HasSubstr("two at least")));
    EXPECT_THAT(refused({"inspect", "--seams", "letter.mkv", "--slices", "4,4"}), AllOf(HasSubstr("letter.mkv: "), HasSubstr("--slices = 4,4: ")));
}

TEST(SeamsOfARun, LatentsAreMeasuredWithoutAnchors) {
    const SmallJob job;
    // Two private anchors behind the clip's frames; they and the reference are far from all others.
    auto file = io::RunFile::create(
        job / "jumps.h5", {.settings = "[slices]\nlength = 16\noverlap = 4\n", .steps = 3, .clip_frames = clip_frames, .shape = {clip_frames + 2, 1, 1, 2}});
    std::vector<float> latents;
    for (int frame = 0; frame < clip_frames + 2; ++frame) {
        const bool anchor = frame == 0 || frame >= clip_frames;
        latents.insert(latents.end(), 2, anchor ? -1e6F : static_cast<float>(level(frame, borders)));
    }
    file.save(2, latents);
    const auto ended = job.weft({"inspect", "--seams", "jumps.h5"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "slices"), HasSubstr("3 of 16 frames, overlap 4: 4 borders among 38 changes"));
    EXPECT_THAT(line_of(ended, "latents"),
                HasSubstr("seams 3.000, worst 3.000 from frame 12 to 13; change 6 at 4 borders, 2 inside; jumps.h5 after step 2 of 3"));
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("none yet: the run is not done"));
}

TEST(SeamsOfARun, OfMusePoseRepeatsTakeNoPart) {
    const SmallJob job;
    auto file = io::RunFile::create(
        job / "repeats.h5",
        {.settings = "[model]\nfamily = \"musepose\"\n\n[slices]\nlength = 8\noverlap = 3\n", .steps = 3, .clip_frames = 20, .shape = {23, 1, 1, 2}});
    std::vector<float> latents;
    for (int frame = 0; frame < 23; ++frame) latents.insert(latents.end(), 2, frame < 20 ? static_cast<float>(frame < 13 ? frame : frame + 4) : 1e6F);
    file.save(2, latents);
    const auto ended = job.weft({"inspect", "--seams", "repeats.h5"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "slices"), HasSubstr("4 of 8 frames, overlap 3: 6 borders among 19 changes; frame 0 is the film's first"));
    EXPECT_THAT(line_of(ended, "latents"), HasSubstr("worst 5.000 from frame 12 to 13"));
}

TEST(SeamsOfARun, PixelsAreThoseOfItsFilm) {
    const SmallJob job;
    for (const char* const anchor : {"blended", "private"}) {
        expect_done(job.generate({cat("slices.anchor=", anchor)}));
        const auto of_run = job.weft({"inspect", "--seams", "out.h5"});
        expect_done(of_run);
        EXPECT_THAT(line_of(of_run, "slices"), HasSubstr("2 of 6 frames, overlap 2: 2 borders among 8 changes"));
        EXPECT_THAT(line_of(of_run, "latents"), AllOf(HasSubstr("seams "), HasSubstr(" after step 3 of 3")));
        const auto of_film = job.weft({"inspect", "--seams", "out.mkv", "--slices", "6,2"});
        expect_done(of_film);
        EXPECT_THAT(line_of(of_film, "pixels"), HasSubstr("seams "));
        EXPECT_EQ(line_of(of_run, "pixels"), line_of(of_film, "pixels"));
        fs::remove(job / "out.h5");
    }
}

TEST(SeamsOfARun, AFilmThatIsNotItsOwnIsTold) {
    const SmallJob job;
    expect_done(job.generate());
    write_film(job / "out.mkv", {});
    auto ended = job.weft({"inspect", "--seams", "out.h5"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "latents"), HasSubstr("seams "));
    EXPECT_THAT(line_of(ended, "pixels"), HasSubstr("out.mkv has 39 frames, the run shows 9: it is another film"));
    fs::remove(job / "out.mkv");
    ended = job.weft({"inspect", "--seams", "out.h5"});
    expect_done(ended);
    EXPECT_THAT(line_of(ended, "latents"), HasSubstr("seams "));
    EXPECT_THAT(line_of(ended, "pixels"), AllOf(HasSubstr("out.mkv is not here"), HasSubstr("--slices 6,2")));
}

TEST(SeamsOfARun, OneSliceHasNone) {
    const SmallJob job;
    expect_done(job.generate({"slices.length=10"}));
    const auto ended = job.weft({"inspect", "--seams", "out.h5"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("one slice: no seams (the clip has 10 frames"), Not(HasSubstr("latents"))));
}

TEST(SeamsOfARun, ThatHoldsNoStepYetOrNoSettingsOfOursIsRefused) {
    const SmallJob job;
    static_cast<void>(io::RunFile::create(job / "new.h5", {.steps = 3, .clip_frames = 10, .shape = {10, 4, 8, 8}}));
    auto ended = job.weft({"inspect", "--seams", "new.h5"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("new.h5: holds no complete step yet"));
    io::RunFile::create(job / "odd.h5", {.settings = "[slices]\nlength = 6\noverlap = 6\n", .steps = 3, .clip_frames = 10, .shape = {10, 1, 1, 1}})
        .save(0, std::vector<float>(10));
    ended = job.weft({"inspect", "--seams", "odd.h5"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, AllOf(HasSubstr("odd.h5: "), HasSubstr("slices = 6,6: the overlap must be from 1")));
}

}  // namespace weft::test

#include "quality/judge.hpp"

#include "base/text.hpp"
#include "io/media.hpp"
#include "io/video_writer.hpp"
#include "quality/case.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace weft::quality {

using io::Picture;
using io::test::error_of;
using io::test::Folder;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

namespace {

using Rgb = std::array<int, 3>;

constexpr int kWidth = 24;
constexpr int kHeight = 14;
constexpr int kPixels = kWidth * kHeight;

enum Label : std::uint8_t { wall = 0, floor = 1, hair = 2, shirt = 3, mixed = 255 };
constexpr Rgb kWall{150, 150, 150};
constexpr Rgb kFloor{90, 110, 90};
constexpr Rgb kHair{30, 20, 10};
constexpr Rgb kShirt{200, 40, 40};
constexpr int kFloorFrom = 12;  // rows below

Parts parts() {
    return {.parts = {{"wall", wall, false}, {"floor", floor, false}, {"hair", hair, true}, {"shirt", shirt, true}}, .mixed = mixed};
}

/// Columns [left, right) and rows [top, bottom).
struct Box {
    int left, top, right, bottom;
};

struct Frame {
    Picture picture = io::test::plain(kWidth, kHeight, 0, 0, 0);
    std::vector<std::uint8_t> labels = std::vector<std::uint8_t>(kPixels);

    /// Colours a box; `add`: on top of what is there.
    Frame& paint(const Box& box, const Rgb& colour, bool add = false) {
        for (int y = box.top; y < box.bottom; ++y)
            for (int x = box.left; x < box.right; ++x)
                for (std::size_t c = 0; c < 3; ++c) {
                    auto& value = picture.rgb[(std::size_t(y) * kWidth + std::size_t(x)) * 3 + c];
                    value = std::uint8_t(colour[c] + (add ? value : 0));
                }
        return *this;
    }
    Frame& label(const Box& box, Label label) {
        for (int y = box.top; y < box.bottom; ++y)
            for (int x = box.left; x < box.right; ++x) labels[std::size_t(y) * kWidth + std::size_t(x)] = label;
        return *this;
    }
    Frame& draw(const Box& box, const Rgb& colour, Label one) { return paint(box, colour).label(box, one); }
};

constexpr Box kWhole{0, 0, kWidth, kHeight};

Frame empty() {
    Frame frame;
    return frame.draw(kWhole, kWall, wall).draw({0, kFloorFrom, kWidth, kHeight}, kFloor, floor);
}

/// Six columns wide: rows 3 and 4 hair, rows 5 to 8 shirt.
Frame figure(int left = 8) {
    auto frame = empty();
    return frame.draw({left, 3, left + 6, 5}, kHair, hair).draw({left, 5, left + 6, 9}, kShirt, shirt);
}
/// Pixels of the background at least two away from that figure, which has 6 x 6.
constexpr int kStill = kPixels - 8 * 8;

Judge make_judge() {
    return {kWidth, kHeight, empty().picture.rgb, parts()};
}

struct FilmAndTruth {
    Frame film, truth;
};

Verdict verdict_of(const std::vector<FilmAndTruth>& frames) {
    auto judge = make_judge();
    for (const auto& [film, truth] : frames) judge.add(film.picture.rgb, truth.picture.rgb, truth.labels);
    return judge.verdict();
}

constexpr double kExact = 1e-12;

}  // namespace

TEST(Judge, TruthItselfIsPerfect) {
    const auto verdict = verdict_of({{figure(8), figure(8)}, {figure(10), figure(10)}, {figure(12), figure(12)}});
    EXPECT_EQ(verdict.frames, 3);
    EXPECT_EQ(verdict.overlap, 1);
    EXPECT_EQ(verdict.overlap_worst, 1);
    EXPECT_EQ(verdict.colour, 0);
    EXPECT_EQ(verdict.colour_worst, 0);
    EXPECT_EQ(verdict.colour_background, 0);
    EXPECT_THAT(verdict.colour_parts, ElementsAre(Pair("hair", 0), Pair("shirt", 0)));
    EXPECT_EQ(verdict.flicker, 0);
    EXPECT_EQ(verdict.flicker_worst, 0);
    EXPECT_EQ(verdict.psnr, std::numeric_limits<double>::infinity());
}

TEST(Judge, FigureBesideItsPlaceOverlapsByWhatIsShared) {
    // Six columns wide and two columns off: four shared of eight.
    const auto verdict = verdict_of({{figure(10), figure(8)}, {figure(8), figure(8)}});
    EXPECT_EQ(verdict.overlap_worst, 0.5);
    EXPECT_EQ(verdict.overlap, 0.75);
}

TEST(Judge, FigureThatIsNotThereOverlapsNothing) {
    EXPECT_EQ(verdict_of({{empty(), figure()}}).overlap, 0);
}

TEST(Judge, PixelBelongsToTheNearerOfFigureAndBackground) {
    // Between wall (150, 150, 150) and shirt (200, 40, 40) red 175, green and blue 95 are the middle: there the background wins.
    for (const auto& [colour, is_figure] : {std::pair{Rgb{175, 95, 95}, false}, {Rgb{175, 94, 95}, true}, {Rgb{175, 96, 95}, false}}) {
        auto film = figure();
        film.paint({20, 1, 22, 3}, colour);
        EXPECT_NEAR(verdict_of({{film, figure()}}).overlap, is_figure ? 36.0 / 40 : 1, kExact) << colour[1];
    }
}

TEST(Judge, BackgroundIsThatOfThePixel) {
    const Box ground{0, kFloorFrom, kWidth, kHeight};
    auto film = figure();
    film.paint(ground, kShirt);
    auto truth = figure();
    truth.paint(ground, kWall);
    EXPECT_NEAR(verdict_of({{film, truth}}).overlap, 36.0 / (36 + 2 * kWidth), kExact);
    auto background = empty();  // with a floor of the shirt's colour, nothing there is nearer to the figure
    background.paint(ground, kShirt);
    Judge judge{kWidth, kHeight, background.picture.rgb, parts()};
    judge.add(film.picture.rgb, truth.picture.rgb, truth.labels);
    judge.add(truth.picture.rgb, film.picture.rgb, truth.labels);
    EXPECT_EQ(judge.verdict().overlap_worst, 1);
}

TEST(Judge, PartsWithoutPixelsInAFrameLendItNoColour) {
    auto truth = empty();
    truth.draw({8, 3, 14, 5}, kHair, hair);
    auto film = truth;
    film.paint({16, 3, 22, 5}, kShirt);  // nearer to the wall (distance 163) than to hair (174): no figure while no shirt is about
    EXPECT_EQ(verdict_of({{film, truth}}).overlap, 1);
    film.draw({2, 8, 4, 10}, kShirt, shirt);
    truth.draw({2, 8, 4, 10}, kShirt, shirt);
    EXPECT_NEAR(verdict_of({{film, truth}}).overlap, 16.0 / 28, kExact);
}

TEST(Judge, OverlapIsUnknownWithoutAFigure) {
    const auto verdict = verdict_of({{figure(), empty()}});
    EXPECT_TRUE(std::isnan(verdict.overlap));
    EXPECT_TRUE(std::isnan(verdict.overlap_worst));
    EXPECT_TRUE(std::isnan(verdict.colour));
    EXPECT_THAT(verdict.colour_parts, ElementsAre(Pair("hair", testing::IsNan()), Pair("shirt", testing::IsNan())));
    EXPECT_EQ(verdict_of({{empty(), empty()}, {figure(10), figure(8)}}).overlap, 0.5);  // that of the other frame
}

TEST(Judge, RecolouredPartIsOffByTheColour) {
    auto film = figure();
    film.paint({8, 5, 14, 9}, {-30, 15, 0}, true);
    const auto verdict = verdict_of({{film, figure()}, {figure(), figure()}});
    const double frame = 45.0 / 3 / 255;
    EXPECT_THAT(verdict.colour_parts, ElementsAre(Pair("hair", 0), Pair("shirt", testing::DoubleNear(frame / 2, kExact))));
    EXPECT_NEAR(verdict.colour_worst, frame / 2, kExact);
    EXPECT_NEAR(verdict.colour, frame / 4, kExact);
    EXPECT_EQ(verdict.colour_background, 0);
}

TEST(Judge, ColourIsOfTheMeanOverThePart) {
    auto film = figure();
    film.paint({8, 5, 11, 9}, {20, 0, 0}, true).paint({11, 5, 14, 9}, {-20, 0, 0}, true);  // texture, not a wrong colour
    EXPECT_EQ(verdict_of({{film, figure()}}).colour, 0);
}

TEST(Judge, BackgroundsColourIsJudgedApart) {
    auto film = figure();
    film.paint({0, kFloorFrom, kWidth, kHeight}, {0, 0, 12}, true);
    const auto verdict = verdict_of({{film, figure()}});
    EXPECT_EQ(verdict.colour, 0);
    EXPECT_NEAR(verdict.colour_background, 12.0 / 3 / 255 / 2, kExact);  // floor and wall
}

TEST(Judge, PartIsJudgedFromEightPixelsOn) {
    for (const int pixels : {7, 8}) {
        auto truth = empty();
        truth.draw({8, 5, 14, 9}, kShirt, shirt).draw({2, 3, 2 + pixels, 4}, kHair, hair);
        auto film = truth;
        film.paint({2, 3, 2 + pixels, 4}, {30, 30, 30}, true);
        const auto verdict = verdict_of({{film, truth}});
        EXPECT_EQ(std::isnan(verdict.colour_parts[0].second), pixels == 7);
        EXPECT_NEAR(verdict.colour, pixels == 7 ? 0 : 30.0 / 255 / 2, kExact);
    }
}

TEST(Judge, FlickerIsTheChangeOfTheBackground) {
    auto bright = figure();
    bright.paint({0, 0, kWidth, 2}, {9, 0, 0}, true);
    const auto verdict = verdict_of({{figure(), figure()}, {bright, figure()}, {bright, figure()}});
    const double change = 9.0 * 2 * kWidth / kStill / 3 / 255;
    EXPECT_NEAR(verdict.flicker_worst, change, kExact);
    EXPECT_NEAR(verdict.flicker, change / 2, kExact);
}

TEST(Judge, FlickerKeepsTwoPixelsFromTheFigure) {
    auto near = figure();  // everything nearer than two pixels, the figure too
    near.paint({7, 2, 15, 10}, {25, 25, 25}, true);
    EXPECT_EQ(verdict_of({{near, figure()}, {figure(), figure()}}).flicker, 0);
    for (const auto& [x, y] : {std::pair{6, 5}, {15, 5}, {10, 1}, {10, 10}, {6, 1}, {15, 10}}) {  // two away, across a corner too
        auto beside = figure();
        beside.paint({x, y, x + 1, y + 1}, {25, 25, 25}, true);
        EXPECT_NEAR(verdict_of({{figure(), figure()}, {beside, figure()}}).flicker, 25.0 / kStill / 255, kExact) << x << ", " << y;
    }
}

TEST(Judge, BackgroundThatIsCoveredInEitherFrameIsNotStill) {
    EXPECT_EQ(verdict_of({{figure(4), figure(4)}, {figure(10), figure(10)}, {figure(6), figure(6)}}).flicker, 0);
    auto covering = figure(2);
    covering.paint({9, 5, 10, 6}, {60, 60, 60}, true);  // background here, figure in the frames before and after
    EXPECT_EQ(verdict_of({{figure(8), figure(8)}, {covering, figure(2)}, {figure(8), figure(8)}}).flicker, 0);
}

TEST(Judge, FlickerOfOneFrameIsUnknown) {
    const auto verdict = verdict_of({{figure(), figure()}});
    EXPECT_TRUE(std::isnan(verdict.flicker));
    EXPECT_TRUE(std::isnan(verdict.flicker_worst));
}

TEST(Judge, MixedPixelsBelongToNoPart) {
    const Box edge{8, 5, 14, 6};  // a row of what was shirt
    auto truth = figure();
    truth.paint(edge, {0, 255, 0}).label(edge, mixed);
    auto film = figure();
    film.paint(edge, {0, 0, 255});
    const auto verdict = verdict_of({{film, truth}});
    EXPECT_EQ(verdict.colour, 0);
    EXPECT_EQ(verdict.colour_background, 0);
}

TEST(Judge, MixedPixelsAreNotStillNorWhatIsBesideThem) {
    auto truth = figure();
    truth.label({3, 7, 4, 8}, mixed);
    auto film = truth;
    film.paint({2, 6, 5, 9}, {40, 40, 40}, true);
    EXPECT_EQ(verdict_of({{truth, truth}, {film, truth}}).flicker, 0);
    EXPECT_EQ(verdict_of({{truth, truth}, {film, truth}}).colour, 0);
    film.paint({1, 7, 2, 8}, {40, 40, 40}, true);
    EXPECT_NEAR(verdict_of({{truth, truth}, {film, truth}}).flicker, 40.0 / (kStill - 9) / 255, kExact);
}

TEST(Judge, PsnrIsOfTheMeanErrorOverAllFrames) {
    auto film = figure();
    film.paint(kWhole, {3, 3, 3}, true);
    EXPECT_NEAR(verdict_of({{film, figure()}}).psnr, 20 * std::log10(255.0 / 3), 1e-9);
    EXPECT_NEAR(verdict_of({{film, figure()}, {figure(), figure()}}).psnr, 10 * std::log10(255.0 * 255 / 4.5), 1e-9);
}

/// A film that is `error` (of 255) too bright in each frame, of a figure that walks.
Verdict verdict_with_errors(const std::vector<int>& errors) {
    std::vector<FilmAndTruth> frames;
    for (std::size_t i = 0; i < errors.size(); ++i) {
        FilmAndTruth pair{figure(int(2 + i)), figure(int(2 + i))};
        for (auto& value : pair.film.picture.rgb) value = std::uint8_t(value + errors[i]);
        frames.push_back(pair);
    }
    return verdict_of(frames);
}

TEST(Judge, SeamIsHowTheErrorChangesAtBordersOverInside) {
    // Slices of five frames of the clip with overlap 2 hold frames 1 to 4, 4 to 7: borders from 3 to 4 and from 4 to 5.
    EXPECT_EQ(seam(verdict_with_errors({0, 1, 2, 3, 4, 5, 6}), 5, 2), 1);  // the walk itself does not count
    EXPECT_DOUBLE_EQ(seam(verdict_with_errors({0, 1, 2, 5, 8, 9, 10}), 5, 2), 3);
}

TEST(Judge, SeamOfOneSliceIsUnknown) {
    EXPECT_TRUE(std::isnan(seam(verdict_with_errors({0, 1, 2}), 8, 4)));
}

TEST(Judge, NoFrameIsNoVerdict) {
    const auto verdict = verdict_of({});
    EXPECT_TRUE(std::isnan(verdict.overlap) && std::isnan(verdict.colour) && std::isnan(verdict.flicker) && std::isnan(verdict.psnr));
    EXPECT_THAT(broken(verdict, {.min_overlap = 0, .max_colour = 1, .max_flicker = 1}), testing::SizeIs(3));
}

TEST(Judge, UnknownLabelIsNamed) {
    auto truth = figure();
    truth.label({5, 2, 6, 3}, Label(9));
    EXPECT_THAT(error_of(ExitCode::user_mistake,
                         [&] {
                             (void)verdict_of({{figure(), figure()}, {figure(), truth}});
                         }),
                AllOf(HasSubstr("frame 1 "), HasSubstr("label 9"), HasSubstr("(5, 2)")));
}

TEST(Judge, PartsMustBeTold) {
    const auto error = [](Parts parts) { return error_of(ExitCode::user_mistake, [&] { Judge(kWidth, kHeight, empty().picture.rgb, parts); }); };
    EXPECT_THAT(error({{{"hair", 2, true}, {"face", 2, true}}}), AllOf(HasSubstr("hair"), HasSubstr("face"), HasSubstr("label 2")));
    EXPECT_THAT(error({{{"hair", 2, true}, {"hair", 3, true}}}), HasSubstr("two parts are called hair"));
    EXPECT_THAT(error({{{"hair", 255, true}}}), HasSubstr("mixed"));
    EXPECT_THAT(error({{{"wall", 0, false}}}), HasSubstr("no part belongs to the figure"));
}

TEST(Limits, AreBrokenOneByOne) {
    const Verdict verdict{.frames = 2, .overlap = 0.8, .colour = 0.05, .flicker = 0.01};
    EXPECT_THAT(broken(verdict, {}), ElementsAre());
    EXPECT_THAT(broken(verdict, {.min_overlap = 0.8, .max_colour = 0.05, .max_flicker = 0.01}), ElementsAre());
    EXPECT_THAT(broken(verdict, {.min_overlap = 0.9, .max_colour = 0.05, .max_flicker = 0.001}),
                ElementsAre("overlap is 0.8; at least 0.9 is wanted", "flicker is 0.01; at most 0.001 is wanted"));
    EXPECT_THAT(broken(verdict, {.max_colour = 0.04}), ElementsAre("colour is 0.05; at most 0.04 is wanted"));
}

TEST(Limits, SeamIsOneOfThem) {
    EXPECT_THAT(broken({}, {.max_seam = 1.1}, 1.0), ElementsAre());
    EXPECT_THAT(broken({}, {.max_seam = 1.1}, 1.2), ElementsAre("seam is 1.2; at most 1.1 is wanted"));
    EXPECT_THAT(broken({}, {.max_seam = 1.1}), ElementsAre("seam could not be judged; at most 1.1 is wanted"));
}

TEST(Limits, UnknownNeverPasses) {
    EXPECT_THAT(broken(Verdict{}, {.min_overlap = 0, .max_colour = 1, .max_flicker = 1}), testing::SizeIs(3));
    EXPECT_THAT(broken(Verdict{}, {.min_overlap = 0}), ElementsAre(HasSubstr("could not be judged")));
    EXPECT_THAT(broken({.overlap = 1, .colour = 0, .flicker = 0}, {.min_overlap = kUnknown, .max_colour = kUnknown, .max_flicker = kUnknown}),
                testing::SizeIs(3));
}

// Cases and films as files.

namespace {

constexpr std::string_view kPartsJson = R"({"parts": [{"name": "wall", "label": 0, "figure": false}, {"name": "floor", "label": 1, "figure": false},
    {"name": "hair", "label": 2, "figure": true}, {"name": "shirt", "label": 3, "figure": true}], "mixed": 255})";

Picture picture_of(const std::vector<std::uint8_t>& labels) {
    Picture picture{kWidth, kHeight, {}};
    for (const auto label : labels) picture.rgb.insert(picture.rgb.end(), 3, label);
    return picture;
}

void write_film(const std::filesystem::path& path, const std::vector<Picture>& frames) {
    io::VideoWriter writer{path, {.width = frames[0].width, .height = frames[0].height}};
    for (const auto& frame : frames) writer.write(frame);
    writer.finish();
}

/// Three frames of a figure that goes two columns to the right from frame to frame.
class CaseFolder : public testing::Test {
  protected:
    CaseFolder() {
        std::filesystem::create_directory(folder_ / "case");
        std::vector<Picture> labels;
        for (const int left : {4, 6, 8}) {
            truth_.push_back(figure(left).picture);
            labels.push_back(picture_of(figure(left).labels));
        }
        write_film(folder_ / "case/truth", truth_);
        write_film(folder_ / "case/parts", labels);
        io::write_png(folder_ / "case/background.png", empty().picture);
        io::test::write_bytes(folder_ / "case/parts.json", kPartsJson);
    }

    [[nodiscard]] std::string error(const std::string& film = "case/truth", std::int64_t frames = 0) const {
        return error_of(ExitCode::user_mistake, [&] { (void)judge(folder_ / film, folder_ / "case", frames); });
    }
    [[nodiscard]] test::Ended run(std::vector<std::string> arguments) const {
        arguments.insert(arguments.begin(), test::weft_program());
        return test::run(arguments, folder_.path());
    }

    Folder folder_;
    std::vector<Picture> truth_;
};

}  // namespace

TEST_F(CaseFolder, TruthIsPerfectAsAFolderAndAsAFilm) {
    write_film(folder_ / "film.mkv", truth_);
    for (const auto* const film : {"case/truth", "film.mkv"}) {
        const auto verdict = judge(folder_ / film, folder_ / "case");
        EXPECT_EQ(verdict.frames, 3);
        EXPECT_EQ(verdict.overlap, 1);
        EXPECT_EQ(verdict.colour, 0);
        EXPECT_EQ(verdict.flicker, 0);
        EXPECT_TRUE(std::isinf(verdict.psnr));
    }
}

TEST_F(CaseFolder, UnequalNumbersOfFramesAreRefused) {
    write_film(folder_ / "short.mkv", {truth_[0], truth_[1]});
    EXPECT_THAT(error("short.mkv"), AllOf(HasSubstr("short.mkv has 2"), HasSubstr("truth 3"), HasSubstr("parts 3")));
    write_film(folder_ / "long.mkv", {truth_[0], truth_[1], truth_[2], truth_[2], truth_[2]});
    EXPECT_THAT(error("long.mkv"), AllOf(HasSubstr("long.mkv has 5"), HasSubstr("truth 3"), HasSubstr("parts 3")));
    std::filesystem::remove(folder_ / "case/parts/00003.png");
    EXPECT_THAT(error(), AllOf(HasSubstr("truth has 3"), HasSubstr("parts 2")));
}

TEST_F(CaseFolder, BeginningOfAFilmIsJudgedOnRequest) {
    write_film(folder_ / "film.mkv", {truth_[0], truth_[1], empty().picture, empty().picture});
    const auto verdict = judge(folder_ / "film.mkv", folder_ / "case", 2);
    EXPECT_EQ(verdict.frames, 2);
    EXPECT_EQ(verdict.overlap, 1);
    EXPECT_THAT(error("film.mkv", 4), AllOf(HasSubstr("4 frames"), HasSubstr("film.mkv has 4"), HasSubstr("truth 3")));
    EXPECT_THAT(error("case/truth", 4), AllOf(HasSubstr("4 frames"), HasSubstr("truth has 3"), HasSubstr("parts 3")));
}

TEST_F(CaseFolder, OtherSizesAreRefusedTogether) {
    write_film(folder_ / "film.mkv", {io::test::plain(32, 16, 1, 2, 3)});
    io::write_png(folder_ / "case/background.png", io::test::plain(kWidth, kHeight + 2, 1, 2, 3));
    EXPECT_THAT(error("film.mkv"), AllOf(HasSubstr("film.mkv: has 32 x 16"), HasSubstr("background.png: has 24 x 16"), HasSubstr("the truth 24 x 14")));
}

TEST_F(CaseFolder, WhatIsMissingIsNamed) {
    EXPECT_THAT(error("nowhere.mkv"), AllOf(HasSubstr("nowhere.mkv"), HasSubstr("does not exist")));
    std::filesystem::remove_all(folder_ / "case/parts");
    std::filesystem::remove(folder_ / "case/background.png");
    EXPECT_THAT(error(), AllOf(HasSubstr("parts: is no folder"), HasSubstr("background.png: is no file")));
    std::filesystem::remove_all(folder_ / "case");
    EXPECT_THAT(error("anything"), HasSubstr("case: is no folder"));
}

TEST_F(CaseFolder, LabelsAreGreyAndKnown) {
    for (const std::size_t channel : {0, 1, 2}) {
        auto labels = picture_of(figure(6).labels);
        labels.rgb[channel] = 1;
        io::write_png(folder_ / "case/parts/00002.png", labels);
        EXPECT_THAT(error(), AllOf(HasSubstr("frame 1 "), HasSubstr("not grey at (0, 0)")));
    }
    auto strange = figure(6).labels;
    strange[kWidth + 5] = 77;
    io::write_png(folder_ / "case/parts/00002.png", picture_of(strange));
    EXPECT_THAT(error(), AllOf(HasSubstr("case/parts: frame 1 "), HasSubstr("label 77 at (5, 1)")));
}

TEST_F(CaseFolder, GreyPicturesHoldTheSameLabels) {
    const auto ended =
        test::run({"ffmpeg", "-v", "error", "-i", "case/parts/%05d.png", "-vf", "extractplanes=r", "-pix_fmt", "gray", "grey%05d.png"}, folder_.path());
    ASSERT_EQ(ended.code, 0) << ended.err;
    for (const int frame : {1, 2, 3}) {
        const auto name = cat("0000", frame, ".png");
        const auto was = io::read_picture(folder_ / ("case/parts/" + name));
        EXPECT_NE(io::test::bytes_of(folder_ / ("grey" + name)), io::test::bytes_of(folder_ / ("case/parts/" + name)));
        std::filesystem::rename(folder_ / ("grey" + name), folder_ / ("case/parts/" + name));
        EXPECT_EQ(io::read_picture(folder_ / ("case/parts/" + name)), was);
    }
    EXPECT_EQ(judge(folder_ / "case/truth", folder_ / "case").overlap, 1);
}

TEST_F(CaseFolder, PartsFileIsChecked) {
    for (const auto& [text, says] : {std::pair{"", "no JSON"},
                                     {"[]", "lists no parts"},
                                     {R"({"parts": []})", "lists no parts"},
                                     {R"({"parts": [{"name": "hair", "figure": true}]})", "is no part"},
                                     {R"({"parts": [{"name": "hair", "label": 2, "figure": 1}]})", "is no part"},
                                     {R"({"parts": [{"name": "hair", "label": 256, "figure": true}]})", "256 is no label"},
                                     {R"({"parts": [{"name": "hair", "label": -1, "figure": true}]})", "-1 is no label"},
                                     {R"({"parts": [{"name": "hair", "label": 2.5, "figure": true}]})", "2.5 is no label"},
                                     {R"({"parts": [{"name": "hair", "label": 2, "figure": true}], "mixed": "255"})", "is no label"},
                                     {R"({"parts": [{"name": "hair", "label": 2, "figure": true}], "mixed": 2})", "mixed pixels"}}) {
        io::test::write_bytes(folder_ / "case/parts.json", text);
        EXPECT_THAT(error(), AllOf(HasSubstr("parts.json: "), HasSubstr(says)));
    }
}

TEST_F(CaseFolder, ProgramPrintsOneObject) {
    const auto ended = run({"case/truth", "case"});
    EXPECT_EQ(ended.code, 0) << ended.err;
    EXPECT_EQ(ended.err, "");
    const auto json = nlohmann::ordered_json::parse(ended.out);
    std::vector<std::string> keys;
    for (const auto& [key, value] : json.items()) keys.push_back(key);
    EXPECT_THAT(keys, ElementsAre("frames", "overlap", "overlap_worst", "colour", "colour_worst", "colour_parts", "colour_background", "flicker",
                                  "flicker_worst", "psnr"));
    EXPECT_EQ(json["frames"], 3);
    EXPECT_EQ(json["overlap"], 1.0);
    EXPECT_EQ(json["colour_parts"]["shirt"], 0.0);
    EXPECT_EQ(json["psnr"], 999.0);
    const auto line = run({"case/truth", "case", "--json", "--frames", "1"});
    EXPECT_EQ(std::count(line.out.begin(), line.out.end(), '\n'), 1);
    EXPECT_TRUE(nlohmann::json::parse(line.out)["flicker"].is_null());
}

TEST_F(CaseFolder, ProgramsExitCodeTells) {
    write_film(folder_ / "film.mkv", {truth_[1], truth_[1], truth_[1]});  // stands still: 0.5, 1, 0.5
    EXPECT_EQ(run({"film.mkv", "case", "--min-overlap", "0.6", "--max-colour", "1", "--max-flicker", "1"}).code, 0);
    const auto broken = run({"film.mkv", "case", "--min-overlap", "0.7", "--max-colour", "0.001"});
    EXPECT_EQ(broken.code, 1);
    EXPECT_THAT(broken.err, AllOf(HasSubstr("overlap is 0.666667; at least 0.7 is wanted"), HasSubstr("colour is ")));
    EXPECT_EQ(nlohmann::json::parse(broken.out)["frames"], 3);
    EXPECT_EQ(run({"film.mkv", "case", "--frames", "1", "--max-flicker", "1"}).code, 1);  // cannot be judged
    const auto missing = run({"film.mkv", "nowhere"});
    EXPECT_EQ(missing.code, 2);
    EXPECT_EQ(missing.out, "");
    EXPECT_THAT(missing.err, HasSubstr("nowhere: is no folder"));
    EXPECT_EQ(run({"film.mkv"}).code, 2);
    EXPECT_EQ(run({"film.mkv", "case", "--frames", "0"}).code, 2);
}

}  // namespace weft::quality

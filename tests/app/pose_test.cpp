#include "app/small_job.hpp"
#include "io/video_reader.hpp"
#include "io/video_writer.hpp"
#include "pose/golden_align.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <optional>

/// `weft pose` as a user starts it: what it draws, what it says, what it refuses.
namespace weft::test {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

namespace {

constexpr int width = 96, height = 128;
constexpr std::int64_t num_frames = 12;

/// Standing, seen from the front, `right` pixels from the left edge; the right arm turns with `frame`. In pixels of a driver's frame, OpenPose's 18 points.
json body(double right, std::int64_t frame) {
    const double lift = 2.0 * static_cast<double>(frame);
    const std::array<std::array<double, 2>, 18> points{{{0, 22},
                                                        {0, 34},
                                                        {-9, 34},
                                                        {-14, 48 - lift},
                                                        {-18, 60 - 2 * lift},
                                                        {9, 34},
                                                        {12, 48},
                                                        {14, 60},
                                                        {-6, 68},
                                                        {-6, 90},
                                                        {-6, 112},
                                                        {6, 68},
                                                        {6, 90},
                                                        {6, 112},
                                                        {-3, 19},
                                                        {3, 19},
                                                        {-6, 20},
                                                        {6, 20}}};
    auto flat = json::array();
    for (const auto& [x, y] : points)
        for (const double value : {right + x, y, 0.9}) flat.push_back(value);
    return {{"pose_keypoints_2d", flat}};
}

/// Somebody in all frames but 3, 4 (a gap to be filled) and 10, 11; a second one in frame 7.
json driver() {
    auto frames = json::array();
    for (std::int64_t frame = 0; frame < num_frames; ++frame) {
        auto people = json::array();
        if (frame != 3 && frame != 4 && frame < 10) people.push_back(body(48, frame));
        if (frame == 7) people.push_back(body(80, 0));
        frames.push_back({{"people", people}, {"canvas_width", width}, {"canvas_height", height}});
    }
    return frames;
}

bool is_black(const io::Picture& picture) {
    return std::ranges::all_of(picture.rgb, [](std::uint8_t value) { return value == 0; });
}

/// A folder with driver.json, reference.json and person.png, the driver's first frame, half as wide again.
class PoseFolder {
  public:
    PoseFolder() {
        write("driver.json", driver());
        auto reference = driver()[0];
        reference["canvas_width"] = width * 3 / 2;
        write("reference.json", reference);
        io::write_png(folder_ / "person.png", park(width * 3 / 2, height, 0));
    }

    [[nodiscard]] fs::path operator/(const std::string& name) const { return folder_ / name; }
    void write(const std::string& name, const json& content) const { write_bytes(folder_ / name, content.dump()); }

    [[nodiscard]] Ended pose(const Words& more, const std::string& driver = "driver.json") const {
        Words words{weft_program(), "pose", driver};
        words.insert(words.end(), more.begin(), more.end());
        return run(words, folder_.path());
    }
    /// With reference and picture.
    [[nodiscard]] Ended aligned(const Words& more) const {
        Words words{"--reference", "reference.json", "--image", "person.png"};
        words.insert(words.end(), more.begin(), more.end());
        return pose(words);
    }

    [[nodiscard]] std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(folder_.path())) found.push_back(entry.path().filename().string());
        std::ranges::sort(found);
        return found;
    }

  private:
    Folder folder_;
};

std::vector<io::Picture> frames_of(const fs::path& path) {
    io::VideoReader reader(path);
    std::vector<io::Picture> frames;
    while (auto frame = reader.next()) frames.push_back(*std::move(frame));
    return frames;
}

json points_of(std::span<const double> numbers) {
    auto rows = json::array();
    for (std::size_t i = 0; i + 2 < numbers.size(); i += 3) rows.push_back({numbers[i], numbers[i + 1], numbers[i + 2]});
    return rows;
}

}  // namespace

TEST(Pose, DrawsThePublishedMapByteForByte) {
    const pose::golden::Scenario scenario("full");
    const PoseFolder folder;
    auto frames = json::array();
    for (std::size_t i = 0; i < pose::golden::num_frames; ++i) frames.push_back(points_of(scenario.part("drive.wholebody", i)));
    folder.write("drive.json", frames);
    folder.write("ref.json", points_of(scenario["ref.wholebody"]));
    io::write_png(folder / "ref.png", park(scenario.reference_size.width, scenario.reference_size.height, 0));
    expect_done(folder.pose({"--reference", "ref.json", "--image", "ref.png", "--size", "128x96", "--output", "maps.mkv"}, "drive.json"));
    const auto maps = frames_of(folder / "maps.mkv");
    ASSERT_EQ(maps.size(), pose::golden::num_frames);
    EXPECT_TRUE(maps[2] == io::read_picture(scenario.picture("map")));
}

TEST(Pose, TheNextCommandHasSettingsThatMusePoseTakes) {
    const PoseFolder folder;
    const auto told = folder.aligned({"--image-pose", "own.png"});
    expect_done(told);
    const std::string head = "next      weft generate configs/musepose.toml";
    const auto at = told.out.find(head);
    ASSERT_NE(at, std::string::npos) << told.out;
    const auto settings = told.out.substr(at + head.size(), told.out.find('\n', at) - at - head.size());
    const auto ended =
        run({"bash", "-c", cat(weft_program(), " generate ", WEFT_SOURCE_DIR, "/configs/musepose.toml", settings, " --print-config")}, folder / "");
    expect_done(ended);
    EXPECT_THAT(ended.out, ::testing::AllOf(HasSubstr("poses.mp4"), HasSubstr("width = 768")));
}

TEST(Pose, TellsWhatItDoesAndWhatIsMissing) {
    const PoseFolder folder;
    const auto ended = folder.aligned({"--output", "maps.mkv", "--fps", "25", "--image-pose", "own.png"});
    expect_done(ended);
    for (const char* const text :
         {"reference reference.json: OpenPose, 144x128", "driver    driver.json: OpenPose, 12 frames of 96x128, 25.00 frames a second (as given)",
          "people    frames 10-11: nobody seen, drawn empty", "people    frames 3-4: nobody seen, filled in between", "people    frame 7: several people",
          "hands     not seen in any frame", "factors   neck       1.000  neck to nose", "hand       1.000  arms alone, hands not seen in both",
          "leg_lower  1.000  both sides' knee to ankle", "offset    the neck moves 0.000 to the right and 0.000 down", "outside   no point leaves the picture",
          "poses     maps.mkv: 12 frames of 864x768, drawn on 1024x1365", "preview   maps.preview.png", "768x680 keeps their aspect",
          "own.png: the reference's own, for MimicMotion's input.image_pose", "next      weft generate configs/musepose.toml", "maps.mkv --set video.width="})
        EXPECT_THAT(ended.out, HasSubstr(text));
    const auto maps = frames_of(folder / "maps.mkv");
    ASSERT_EQ(maps.size(), static_cast<std::size_t>(num_frames));
    for (std::size_t i = 0; i < maps.size(); ++i) EXPECT_EQ(is_black(maps[i]), i >= 10) << "frame " << i;
    EXPECT_TRUE(io::read_picture(folder / "own.png") == maps[0]) << "frame 0 stands as the reference does";
    EXPECT_EQ(io::VideoReader(folder / "maps.mkv").info().fps, 25);
    EXPECT_THAT(folder.names(), ::testing::ElementsAre("driver.json", "maps.mkv", "maps.preview.png", "own.png", "person.png", "reference.json"));
}

TEST(Pose, TakesRateAndPreviewFromTheVideo) {
    const PoseFolder folder;
    {
        io::VideoWriter film(folder / "dance.mkv", {.width = 2 * width, .height = 2 * height, .fps = 30000.0 / 1001});
        for (int frame = 0; frame < num_frames; ++frame) film.write(park(2 * width, 2 * height, frame));
        static_cast<void>(film.finish());
    }
    const auto ended = folder.aligned({"--video", "dance.mkv", "--preview", "look.png", "--fill", "0"});
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("12 frames of 192x256, 29.97 frames a second (the video's)"));
    const auto info = io::VideoReader(folder / "poses.mp4").info();
    EXPECT_EQ(info.width, 864);
    EXPECT_EQ(info.height, 768);
    EXPECT_NEAR(info.fps, 29.97, 0.001);
    EXPECT_EQ(frames_of(folder / "poses.mp4").size(), static_cast<std::size_t>(num_frames));
    EXPECT_THAT(ended.out, HasSubstr("frames 3-4, 10-11: nobody seen, drawn empty"));
    const auto preview = io::read_picture(folder / "look.png");
    EXPECT_EQ(preview.width, 4 * 8 + 2 * 432 + 288);
    EXPECT_EQ(preview.height, 8 + 4 * (22 + 384 + 8));
    EXPECT_FALSE(fs::exists(folder / "poses.preview.png"));
}

TEST(Pose, DrawsAPartWithTheFactorsOfTheWhole) {
    const PoseFolder folder;
    expect_done(folder.aligned({"--output", "all.mkv"}));
    expect_done(folder.aligned({"--output", "part", "--frames", "5,8", "--json", "part.json"}));
    const auto all = frames_of(folder / "all.mkv"), part = frames_of(folder / "part");
    ASSERT_EQ(part.size(), 3U);
    for (std::size_t i = 0; i < part.size(); ++i) EXPECT_TRUE(part[i] == all[i + 5]) << i;

    const auto points = json::parse(bytes_of(folder / "part.json"));
    ASSERT_EQ(points.size(), 3U);
    EXPECT_EQ(points[0]["people"].size(), 1U);
    EXPECT_EQ(points[0]["canvas_width"], 864);
    expect_done(folder.pose({"--no-align", "--output", "again.mkv"}, "part.json"));
    EXPECT_EQ(frames_of(folder / "again.mkv").size(), 3U);
}

TEST(Pose, WithoutAlignmentKeepsTheDriversAspect) {
    const PoseFolder folder;
    const auto ended = folder.pose({"--no-align", "--output", "maps.mkv"});
    expect_done(ended);
    EXPECT_THAT(ended.out, Not(HasSubstr("factors")));
    const auto maps = frames_of(folder / "maps.mkv");
    EXPECT_EQ(maps.at(0).width, 576);
    EXPECT_FALSE(is_black(maps.at(0)));
    EXPECT_TRUE(fs::exists(folder / "maps.preview.png"));
}

TEST(Pose, MeasuresTheFirstFrameThatShowsEnough) {
    const PoseFolder folder;
    auto frames = driver();
    for (const std::size_t frame : {0U, 1U}) frames[frame]["people"][0]["pose_keypoints_2d"][3 * pose::left_shoulder + 2] = 0.1;
    folder.write("driver.json", frames);
    auto ended = folder.aligned({"--output", "maps.mkv"});
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("align     by frame 2, the first to show neck and both shoulders"));
    EXPECT_THAT(ended.out, HasSubstr("people    frames 0-1: arms not seen, or not whole"));
    ended = folder.aligned({"--output", "other.mkv", "--align-frame", "1"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err,
                HasSubstr("--align-frame = 1: alignment measures the driver in one frame, which must show neck and both shoulders; it could be one of "
                          "frames 2, 5-9"));
    EXPECT_FALSE(fs::exists(folder / "other.mkv") || fs::exists(folder / "other.mkv.part"));
}

TEST(Pose, WarnsOfUnusualFactorsLeapsAndOtherVideos) {
    const PoseFolder folder;
    auto frames = driver();
    auto& points = frames[0]["people"][0]["pose_keypoints_2d"];
    points[3 * pose::right_ear] = 49;  // a face seen from the side
    points[3 * pose::left_ear] = 50;
    frames[6]["people"][0] = body(5, 0);
    folder.write("driver.json", frames);
    io::VideoWriter film(folder / "short.mp4", {.width = width, .height = height});
    film.write(park(width, height, 0));
    static_cast<void>(film.finish());
    const auto ended = folder.aligned({"--output", "maps.mkv", "--video", "short.mp4"});
    EXPECT_EQ(ended.code, 0);
    EXPECT_THAT(ended.err, HasSubstr("unusual factors: face 12.00; a limb is turned away"));
    EXPECT_THAT(ended.err, HasSubstr("frames 6-7: the nearest person is far from where the followed one was"));
    EXPECT_THAT(ended.err, HasSubstr("short.mp4 holds 1 frames, but driver.json 12"));
}

TEST(Pose, TakesThePictureThatIsNamedFromAnAnnotationFile) {
    const PoseFolder folder;
    auto keypoints = json::array();
    for (int i = 0; i < 17; ++i)
        for (const int value : {40 + i, 20 + 5 * i, 2}) keypoints.push_back(value);
    json file{{"images", json::array()}, {"annotations", json::array()}};
    for (const auto& [id, name] : {std::pair{1, "other.png"}, {2, "person.png"}})
        file["images"].push_back({{"id", id}, {"file_name", name}, {"width", id * width * 3 / 4}, {"height", id * height / 2}});
    file["annotations"] = {{{"image_id", 1}, {"keypoints", keypoints}}, {{"image_id", 2}, {"keypoints", keypoints}}};
    folder.write("reference.json", file);
    const auto ended = folder.aligned({"--output", "maps.mkv"});
    EXPECT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
    EXPECT_THAT(ended.out, HasSubstr("reference reference.json: COCO, 144x128"));
    const auto unnamed = folder.pose({"--reference", "reference.json", "--output", "maps.mkv"});
    EXPECT_EQ(unnamed.code, 2);
    EXPECT_THAT(unnamed.err, HasSubstr("--reference = reference.json: holds 2 pictures, none of them called as --image is"));
}

TEST(Pose, LeavesNothingWhereItIsStopped) {
    const PoseFolder folder;
    auto frames = json::array();
    for (int i = 0; i < 400; ++i)
        for (auto& frame : driver()) frames.push_back(frame);
    folder.write("long.json", frames);
    const auto before = folder.names();
    Program program({weft_program(), "pose", "long.json", "--no-align", "--output", "out.mkv"}, folder / "");
    while (!fs::exists(folder / "out.mkv.part")) ASSERT_FALSE(program.ends_within(0.001));
    program.send(SIGTERM);
    const auto ended = program.wait();
    EXPECT_EQ(ended.code, 75) << ::testing::PrintToString(ended);
    EXPECT_THAT(ended.err, HasSubstr("begins anew"));
    EXPECT_EQ(folder.names(), before);
}

TEST(Pose, MapsAreWhatGenerateTakes) {
    SmallJob job;
    write_bytes(job / "driver.json", driver().dump());
    expect_done(job.weft({"pose", "driver.json", "--no-align", "--output", "maps.mkv"}));
    expect_done(job.generate({"input.pose=maps.mkv", "input.frames=3"}));
}

// ---- mistakes ----

namespace {
struct PoseMistake {
    const char* name;
    Words options;
    Words texts;
    std::optional<json> driver = std::nullopt;
    std::optional<json> reference = std::nullopt;
};
void PrintTo(const PoseMistake& mistake, std::ostream* to) {
    *to << mistake.name;
}
class PoseOf : public ::testing::TestWithParam<PoseMistake> {};

json without_size(json frames) {
    for (auto& frame : frames) frame.erase("canvas_width");
    return frames;
}
json turned_away() {
    auto frame = driver()[0];
    frame["people"][0]["pose_keypoints_2d"][3 * pose::neck + 2] = 0;
    return frame;
}
}  // namespace

TEST_P(PoseOf, IsRefused) {
    const PoseFolder folder;
    if (GetParam().driver) folder.write("driver.json", *GetParam().driver);
    if (GetParam().reference) folder.write("reference.json", *GetParam().reference);
    const auto before = folder.names();
    const auto ended = folder.pose(GetParam().options);
    EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(ended);
    for (const auto& text : GetParam().texts) EXPECT_THAT(ended.err, HasSubstr(text));
    EXPECT_THAT(ended.err, Not(HasSubstr("weft has a bug")));
    EXPECT_EQ(folder.names(), before);
}

INSTANTIATE_TEST_SUITE_P(
    Mistaken, PoseOf,
    ::testing::Values(
        PoseMistake{"WithoutAReference", {}, {"no poses were drawn:", "--reference: is missing", "--no-align draws them as they are"}},
        PoseMistake{
            "AllAtOnce",
            {"--reference", "nobody.json", "--image", "nothing.png", "--video",   "no.mp4",   "--size", "wide",       "--fps",        "0",
             "--frames",    "9,3",         "--fill",  "-1",          "--preview", "look.jpg", "--json", "points.txt", "--image-pose", "nowhere/own.png"},
            {"--reference: nobody.json: cannot be read", "--image: nothing.png", "--video: no.mp4", "--size = \"wide\": must be WIDTHxHEIGHT in pixels",
             "--fps = 0: must be above 0", "--frames = \"9,3\": must be BEGIN,END with 0 <= BEGIN < END <= 12", "--fill = -1: must be at least 0",
             "--preview = look.jpg: must end in .png", "--json = points.txt: must end in .json", "--image-pose = nowhere/own.png: cannot be written"}},
        PoseMistake{"OnWhatIsRead",
                    {"--reference", "reference.json", "--image", "person.png", "--json", "driver.json", "--image-pose", "person.png"},
                    {"--json = driver.json: would replace what is read", "--image-pose = person.png: would replace what is read"}},
        PoseMistake{"OfAnUnknownEnding", {"--no-align", "--output", "maps.avi"}, {"maps.avi: unknown ending", ".mp4"}},
        PoseMistake{
            "OfUnknownSize", {"--no-align"}, {"--size: is missing, and driver.json does not say its frames' size", "--video FILE"}, without_size(driver())},
        PoseMistake{"OfAPictureOfUnknownSize",
                    {"--reference", "reference.json"},
                    {"--image: is missing, and reference.json does not say its picture's size"},
                    std::nullopt,
                    without_size(json::array({driver()[0]}))},
        PoseMistake{"OfAnotherAspect",
                    {"--no-align", "--size", "128x96"},
                    {"DRIVER driver.json: its frames are of 96x128 pixels, but the picture or video that was named is of 128x96"}},
        PoseMistake{"OfFramesOfAllSizes",
                    {"--no-align"},
                    {"its frames are of 128x128 pixels, but the ones before of 96x128"},
                    json::array({driver()[0], {{"people", json::array()}, {"canvas_width", 128}, {"canvas_height", 128}}})},
        PoseMistake{"OfNobody",
                    {"--no-align"},
                    {"DRIVER = driver.json: nobody is seen in any of its 1 frames"},
                    json::array({{{"people", json::array()}, {"canvas_width", 8}, {"canvas_height", 8}}})},
        PoseMistake{"OnNobody",
                    {"--reference", "reference.json"},
                    {"--reference = reference.json: nobody is seen in it"},
                    std::nullopt,
                    json{{"people", json::array()}, {"canvas_width", 8}, {"canvas_height", 8}}},
        PoseMistake{"OnANeckThatIsHidden", {"--reference", "reference.json"}, {"its person's neck is not seen", "--no-align"}, std::nullopt, turned_away()},
        PoseMistake{"OfNecksThatAreHidden",
                    {"--reference", "reference.json"},
                    {"no frame shows neck and both shoulders", "--no-align draws the poses as they are"},
                    json::array({turned_away()})},
        PoseMistake{"OfANarrowPicture",
                    {"--no-align"},
                    {"its frames of 1x128 pixels are narrower than 1 to 10"},
                    json::array({{{"people", {{{"pose_keypoints_2d", std::vector<double>(54, 0.5)}}}}, {"canvas_width", 1}, {"canvas_height", 128}}})},
        PoseMistake{
            "FromAPicture", {"--no-align"}, {"DRIVER driver.json: the file = \"\": key points come as JSON", "needs a detector of key points first"}, json("")},
        PoseMistake{"FrameThatIsNone", {"--reference", "reference.json", "--align-frame", "12"}, {"--align-frame = 12", "it could be one of frames 0-2, 5-9"}},
        PoseMistake{"FrameThatIsNoNumber", {"--reference", "reference.json", "--align-frame", "first"}, {"--align-frame"}}),
    [](const auto& one) { return std::string(one.param.name); });

}  // namespace weft::test

#include "pose/key_points.hpp"

#include "base/text.hpp"
#include "io/media.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <random>

namespace weft::pose {

using io::test::Folder;
using io::test::write_bytes;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

namespace {

constexpr ImageSize canvas{200, 400};

/// Point i of a part stands at (10 + i, 100 + 2 i) pixels; `shift` tells parts apart.
json points(std::size_t num, std::size_t columns, double shift = 0, double scale = 1) {
    auto rows = json::array();
    for (std::size_t i = 0; i < num; ++i) {
        json row{scale * (10 + static_cast<double>(i) + shift), scale * (100 + 2 * static_cast<double>(i))};
        if (columns == 3) row.push_back(0.9);
        rows.push_back(row);
    }
    return rows;
}

json flat(const json& rows) {
    auto numbers = json::array();
    for (const auto& row : rows)
        for (const auto& number : row) numbers.push_back(number);
    return numbers;
}

json openpose_frame(std::size_t num_body = num_body_points) {
    return {{"people",
             {{{"pose_keypoints_2d", flat(points(num_body, 3))},
               {"hand_left_keypoints_2d", flat(points(num_hand_points, 3, 50))},
               {"hand_right_keypoints_2d", flat(points(num_hand_points, 3, 90))},
               {"face_keypoints_2d", flat(points(70, 3, 20))}}}},
            {"canvas_width", canvas.width},
            {"canvas_height", canvas.height}};
}

/// Two people in shares, hands stacked as DWPose's program stacks them.
json dwpose_frame() {
    const auto rows = [](std::size_t people, std::size_t num, double shift) {
        auto all = json::array();
        for (std::size_t i = 0; i < people; ++i) all.push_back(points(num, 2, shift + 5 * static_cast<double>(i), 0.001));
        return all;
    };
    auto candidate = points(num_body_points, 2, 0, 0.001);
    for (const auto& row : points(num_body_points, 2, 300, 0.001)) candidate.push_back(row);
    auto subset = json::array({json::array(), json::array()});
    for (std::size_t i = 0; i < 2 * num_body_points; ++i) subset[i / num_body_points].push_back(i);
    subset[1][left_ear] = -1;
    return {{"bodies", {{"candidate", candidate}, {"subset", subset}}}, {"hands", rows(4, num_hand_points, 400)}, {"faces", rows(2, num_face_points, 500)}};
}

json mmpose_instance() {
    return {{"keypoints", points(133, 2)}, {"keypoint_scores", std::vector<double>(133, 0.8)}};
}

json coco_file() {
    auto numbers = json::array();
    for (std::size_t i = 0; i < 17; ++i)
        for (const double value : {10.0 + static_cast<double>(i), 20.0, i == 0 ? 0.0 : i == 1 ? 1.0 : 2.0}) numbers.push_back(value);
    return {
        {"images", {{{"id", 7}, {"file_name", "a.jpg"}, {"width", 100}, {"height", 50}}, {{"id", 9}, {"file_name", "b.jpg"}, {"width", 100}, {"height", 50}}}},
        {"annotations",
         {{{"image_id", 9}, {"keypoints", numbers}}, {{"image_id", 9}, {"keypoints", std::vector<int>(51, 0)}}, {{"image_id", 7}, {"bbox", {1, 2, 3, 4}}}}}};
}

KeyPointClip read(const json& root, const ImageSize& given = {}) {
    Mistakes mistakes;
    auto clip = parse_key_points(root.dump(), "body.json", given, "DRIVER", mistakes);
    EXPECT_THAT(mistakes.texts(), IsEmpty());
    return clip;
}

const Person& only_person(const KeyPointClip& clip) {
    EXPECT_THAT(clip.frames, SizeIs(1));
    EXPECT_THAT(clip.frames.at(0).people, SizeIs(1));
    return clip.frames.at(0).people.at(0);
}

std::vector<std::size_t> num_people(const KeyPointClip& clip) {
    std::vector<std::size_t> of_frame;
    std::ranges::transform(clip.frames, std::back_inserter(of_frame), [](const auto& frame) { return frame.people.size(); });
    return of_frame;
}

std::vector<std::string> mistakes_in(const std::string& text) {
    Mistakes mistakes;
    static_cast<void>(parse_key_points(text, "body.json", {}, "DRIVER", mistakes));
    return mistakes.texts();
}

}  // namespace

// ---- OpenPose ----

TEST(OpenPoseForm, IsReadInPixelsOfItsCanvas) {
    const auto clip = read(openpose_frame());
    EXPECT_EQ(clip.form, KeyPointForm::openpose);
    EXPECT_EQ(clip.frames.at(0).size, canvas);
    const auto& person = only_person(clip);
    EXPECT_EQ(person.body[left_wrist], (KeyPoint{17 / 200.0, 114 / 400.0, 0.9}));
    EXPECT_EQ(person.hands[left][2].x, 62 / 200.0);
    EXPECT_EQ(person.hands[right][2].x, 102 / 200.0);
    EXPECT_EQ(person.face[67].x, 97 / 200.0);
}

TEST(OpenPoseForm, IsReadInSharesToo) {
    auto frame = openpose_frame();
    frame["people"][0] = {{"pose_keypoints_2d", flat(points(num_body_points, 3, 0, 0.001))}};
    EXPECT_EQ(only_person(read(frame)).body[neck].x, 0.011);
    frame.erase("canvas_width");
    const auto clip = read(frame);
    EXPECT_TRUE(clip.lacks_size);
    EXPECT_EQ(only_person(read(frame, {300, 200})).body[neck].x, 0.011);
}

TEST(OpenPoseForm, InPixelsWithoutASizeWantsOne) {
    auto frame = openpose_frame();
    frame.erase("canvas_height");
    EXPECT_TRUE(read(frame).lacks_size);
    const auto clip = read(frame, {400, 400});
    EXPECT_FALSE(clip.lacks_size);
    EXPECT_EQ(only_person(clip).body[neck].x, 11 / 400.0);
}

TEST(OpenPoseForm, HasFramesInAnArrayAndPlacesForNobody) {
    auto nobody = openpose_frame();
    nobody["people"] = json::array();
    const auto clip = read({openpose_frame(), nobody, nullptr, openpose_frame()});
    EXPECT_THAT(num_people(clip), ElementsAre(1, 0, 0, 1));
}

TEST(OpenPoseForm, MayLackHandsAndFace) {
    auto frame = openpose_frame();
    auto& person = frame["people"][0];
    person["hand_left_keypoints_2d"] = nullptr;
    person["hand_right_keypoints_2d"] = json::array();
    person.erase("face_keypoints_2d");
    const auto read_person = only_person(read(frame));
    EXPECT_TRUE(read_person.body[nose].seen());
    EXPECT_FALSE(read_person.hands[left][0].seen() || read_person.hands[right][0].seen() || read_person.face[0].seen());
}

TEST(OpenPoseForm, HasNobodyOnTheCorner) {
    auto frame = openpose_frame();
    for (int i = 0; i < 2; ++i) frame["people"][0]["pose_keypoints_2d"][static_cast<std::size_t>(i)] = 0;
    EXPECT_FALSE(only_person(read(frame)).body[nose].seen());
}

TEST(OpenPoseForm, Body25IsMapped) {
    const auto person = only_person(read(openpose_frame(25)));
    const std::array<int, num_body_points> from{0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    for (std::size_t i = 0; i < num_body_points; ++i) EXPECT_EQ(person.body[i].x, (10 + from[i]) / 200.0) << i;
}

TEST(OpenPoseForm, FolderIsReadInNameOrderAndNumbersCount) {
    const Folder folder;
    for (const int number : {10, 2, 1}) {
        auto frame = openpose_frame();
        frame["people"][0]["pose_keypoints_2d"][0] = number;
        write_bytes(folder / cat("dance_", number, "_keypoints.json"), frame.dump());
    }
    write_bytes(folder / "notes.txt", "no frame");
    Mistakes mistakes;
    const auto clip = read_key_points(folder.path(), {}, "DRIVER", mistakes);
    EXPECT_THAT(mistakes.texts(), IsEmpty());
    std::vector<double> x;
    std::ranges::transform(clip.frames, std::back_inserter(x), [](const auto& frame) { return frame.people.at(0).body[nose].x * canvas.width; });
    EXPECT_THAT(x, ElementsAre(1, 2, 10));
    EXPECT_EQ(clip.frames[2].name, "dance_10_keypoints.json");
}

TEST(OpenPoseForm, IsWrittenAndReadBack) {
    auto person = only_person(read(openpose_frame()));
    person.body[left_ear] = {0.5, 0.5, 0.2};
    std::vector<KeyPointFrame> frames(2);
    frames[1].people.push_back(person);
    const auto clip = read(json::parse(to_openpose(frames, {432, 768})));
    ASSERT_THAT(clip.frames, SizeIs(2));
    EXPECT_THAT(clip.frames[0].people, IsEmpty());
    EXPECT_EQ(clip.frames[1].size, (ImageSize{432, 768}));
    const auto& back = clip.frames[1].people.at(0);
    EXPECT_NEAR(back.body[nose].x, person.body[nose].x, 1e-12);
    EXPECT_NEAR(back.hands[right][20].y, person.hands[right][20].y, 1e-12);
    EXPECT_EQ(back.body[left_ear], KeyPoint{});
}

// ---- DWPose ----

TEST(DwposeForm, TakesOnePersonsHandsFromTheStack) {
    const auto clip = read(dwpose_frame());
    EXPECT_EQ(clip.form, KeyPointForm::dwpose);
    EXPECT_TRUE(clip.lacks_size);
    ASSERT_THAT(clip.frames.at(0).people, SizeIs(2));
    const auto &first = clip.frames[0].people[0], &second = clip.frames[0].people[1];
    const auto x = [](double shift) { return 0.001 * (10 + shift); };
    EXPECT_EQ(first.body[nose].x, x(0));
    EXPECT_EQ(second.body[nose].x, x(300));
    EXPECT_EQ(first.hands[left][0].x, x(400));
    EXPECT_EQ(second.hands[left][0].x, x(405));
    EXPECT_EQ(first.hands[right][0].x, x(410)) << "not the second person's left hand";
    EXPECT_EQ(second.hands[right][0].x, x(415));
    EXPECT_EQ(second.face[0].x, x(505));
    EXPECT_TRUE(first.body[left_ear].seen());
    EXPECT_FALSE(second.body[left_ear].seen());
}

TEST(DwposeForm, SubsetPicksCandidates) {
    auto frame = dwpose_frame();
    frame["bodies"]["subset"] = {std::vector<int>(num_body_points, -1)};
    frame["bodies"]["subset"][0][neck] = 20;
    frame["hands"] = json::array();
    frame.erase("faces");
    const auto person = only_person(read(frame));
    EXPECT_EQ(person.body[neck].x, 0.001 * (10 + 2 + 300));
    EXPECT_FALSE(person.body[nose].seen());
}

TEST(DwposeForm, ScoresAndMarksHide) {
    auto frame = dwpose_frame();
    frame["bodies"]["score"] = {std::vector<double>(num_body_points, 0.7), std::vector<double>(num_body_points, 0.7)};
    frame["hands"][0][3] = {-1, -1};
    frame["hands_score"] = json::array();
    for (int i = 0; i < 4; ++i) frame["hands_score"].push_back(std::vector<double>(num_hand_points, 0.6));
    frame["hands_score"][0][4] = 0.1;
    const auto clip = read(frame);
    const auto& person = clip.frames.at(0).people.at(0);
    EXPECT_EQ(person.body[nose].score, 0.7);
    EXPECT_EQ(person.hands[left][2].score, 0.6);
    EXPECT_FALSE(person.hands[left][3].seen());
    EXPECT_FALSE(person.hands[left][4].seen());
}

TEST(DwposeForm, FramesMayComeWithRateAndSize) {
    const auto clip = read({{"frames", {dwpose_frame(), dwpose_frame()}}, {"fps", 25}, {"width", 640}, {"height", 360}});
    EXPECT_THAT(clip.frames, SizeIs(2));
    EXPECT_EQ(clip.fps, 25);
    EXPECT_EQ(clip.frames[1].size, (ImageSize{640, 360}));
}

// ---- 133 points ----

TEST(WholeBodyForm, FramesAreNumbered) {
    const auto clip = read(
        {{"meta_info", {{"dataset_name", "coco_wholebody"}}},
         {"instance_info", {{{"frame_id", 1}, {"instances", {mmpose_instance(), mmpose_instance()}}}, {{"frame_id", 4}, {"instances", {mmpose_instance()}}}}}},
        canvas);
    EXPECT_EQ(clip.form, KeyPointForm::whole_body);
    EXPECT_THAT(num_people(clip), ElementsAre(2, 0, 0, 1));
    EXPECT_EQ(clip.frames[3].people[0].body[nose], (KeyPoint{10 / 200.0, 100 / 400.0, 0.8}));
}

TEST(WholeBodyForm, PicturesAreReadToo) {
    EXPECT_TRUE(only_person(read(json::array({mmpose_instance()}), canvas)).hands[right][20].seen());
    EXPECT_TRUE(only_person(read({{"instance_info", {mmpose_instance()}}}, canvas)).hands[right][20].seen());
}

TEST(WholeBodyForm, PlainArraysAreReadAtAnyDepth) {
    const auto person = points(133, 3);
    EXPECT_TRUE(only_person(read(person, canvas)).body[nose].seen());
    EXPECT_THAT(read(json::array({person, person}), canvas).frames, SizeIs(2));
    const auto people = read(json::array({json::array({person, person}), json::array(), json::array({person})}), canvas);
    ASSERT_THAT(people.frames, SizeIs(3));
    EXPECT_THAT(people.frames[0].people, SizeIs(2));
    EXPECT_THAT(people.frames[1].people, IsEmpty());
}

TEST(WholeBodyForm, IsMappedWithAComputedNeck) {
    std::vector<KeyPoint> all(133);
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = {static_cast<double>(i), 1000 - static_cast<double>(i), 0.9};
    auto person = from_whole_body(all);
    const std::array<double, num_body_points> from{0, 5.5, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3};
    for (std::size_t i = 0; i < num_body_points; ++i) EXPECT_EQ(person.body[i].x, from[i]) << i;
    EXPECT_EQ(person.face[0].x, 23);
    EXPECT_EQ(person.hands[left][0].x, 91);
    EXPECT_EQ(person.hands[right][20].x, 132);
    EXPECT_TRUE(person.body[neck].seen());
    all[6].score = 0.3;
    EXPECT_FALSE(from_whole_body(all).body[neck].seen()) << "wants both shoulders";
}

// ---- COCO ----

TEST(CocoForm, PeopleStandInTheirPictures) {
    const auto clip = read(coco_file());
    EXPECT_EQ(clip.form, KeyPointForm::coco);
    ASSERT_THAT(clip.frames, SizeIs(2));
    EXPECT_THAT(clip.frames[0].people, IsEmpty());
    EXPECT_EQ(clip.frames[1].name, "b.jpg");
    EXPECT_EQ(clip.frames[1].size, (ImageSize{100, 50}));
    ASSERT_THAT(clip.frames[1].people, SizeIs(1)) << "one without any points counts for nobody";
    const auto& body = clip.frames[1].people[0].body;
    EXPECT_FALSE(body[nose].seen());
    EXPECT_EQ(body[left_eye], (KeyPoint{0.11, 0.4, 0.5})) << "covered is seen";
    EXPECT_EQ(body[left_ankle], (KeyPoint{0.25, 0.4, 1}));
    EXPECT_TRUE(body[neck].seen());
}

TEST(CocoForm, OnePictureMayStandAlone) {
    auto file = coco_file();
    file["image"] = file["images"][1];
    file.erase("images");
    const auto clip = read(file);
    ASSERT_THAT(clip.frames, SizeIs(1));
    EXPECT_EQ(clip.frames[0].name, "b.jpg");
}

// ---- mistakes ----

struct BadText {
    const char* name;
    std::string text;
    std::string told;
};
void PrintTo(const BadText& bad, std::ostream* to) {
    *to << bad.name;
}

class BadKeyPoints : public ::testing::TestWithParam<BadText> {};

TEST_P(BadKeyPoints, AreNamed) {
    EXPECT_THAT(mistakes_in(GetParam().text), ::testing::Contains(AllOf(HasSubstr("DRIVER body.json"), HasSubstr(GetParam().told))));
}

std::string with(json root, const std::string& pointer, const json& value) {
    root[json::json_pointer(pointer)] = value;
    return root.dump();
}

INSTANTIATE_TEST_SUITE_P(
    Mistaken, BadKeyPoints,
    ::testing::Values(
        BadText{"Empty", "", "is no JSON"}, BadText{"NotJson", "Dear points,", "a picture or a video needs a detector"},
        BadText{"CutShort", openpose_frame().dump().substr(0, 200), "is no JSON: parse error at line 1, column 201"},
        BadText{"NaN", "{\"people\":[{\"pose_keypoints_2d\":[NaN]}]}", "is no JSON"},
        BadText{"ANumber", "7", "the file = 7: key points come as JSON of OpenPose"}, BadText{"NoFrames", "[]", "holds no frames"},
        BadText{"OtherKeys", "{\"boxes\":[],\"hands_score\":[]}", "holds \"boxes\", \"hands_score\"; key points"},
        BadText{"Numbers", "[1,2,3]", "[0] = 1: is no frame of key points"},
        BadText{"OddLength", with(openpose_frame(), "/people/0/pose_keypoints_2d", std::vector<int>(53)),
                "people[0].pose_keypoints_2d = an array of 53: must hold 54 numbers (18 points) or 75 (BODY_25)"},
        BadText{"NullCoordinate", with(openpose_frame(), "/people/0/pose_keypoints_2d/4", nullptr), "people[0].pose_keypoints_2d[4] = null: must be a number"},
        BadText{"TextCoordinate", with(json::array({openpose_frame()}), "/0/people/0/hand_left_keypoints_2d/4", "left"),
                "[0].people[0].hand_left_keypoints_2d[4] = \"left\": must be a number"},
        BadText{"ShortHand", with(openpose_frame(), "/people/0/hand_right_keypoints_2d", std::vector<int>(60)), "must hold 63 numbers"},
        BadText{"ShortFace", with(openpose_frame(), "/people/0/face_keypoints_2d", std::vector<int>(3)), "must hold 204 numbers (68 points) or 210"},
        BadText{"PeopleAreText", with(openpose_frame(), "/people", "two"), "people = \"two\": must be an array of people"},
        BadText{"PersonIsAList", with(openpose_frame(), "/people/0", json::array()), "people[0] = an array of 0: must be an object"},
        BadText{"CanvasOfNothing", with(openpose_frame(), "/canvas_width", 0), "canvas_width = 0: must be a number of pixels"},
        BadText{"CanvasIsText", with(openpose_frame(), "/canvas_height", "tall"), "canvas_height = \"tall\": must be a number of pixels"},
        BadText{"WrongSize", with(openpose_frame(), "/canvas_width", 1),
                "frame 0: a point lies more than 10 pictures away from one of 1x400 pixels; is the size right?"},
        BadText{"MixedForms", json::array({openpose_frame(), dwpose_frame()}).dump(), "the forms of OpenPose and DWPose"},
        BadText{"NoCandidate", "{\"bodies\":[]}", "bodies = an array of 0: must be an object with \"candidate\" and \"subset\""},
        BadText{"CandidateOfNumbers", with(dwpose_frame(), "/bodies/candidate/3", 5), "bodies.candidate[3] = 5: must be a point"},
        BadText{"SubsetBeyond", with(dwpose_frame(), "/bodies/subset/0/3", 36), "bodies.subset[0][3] = 36: must be -1, or an index into the 36 candidates"},
        BadText{"SubsetHalf", with(dwpose_frame(), "/bodies/subset/1/3", 1.5), "bodies.subset[1][3] = 1.5: must be -1, or an index"},
        BadText{"SubsetShort", with(dwpose_frame(), "/bodies/subset/1", {1, 2}), "bodies.subset[1] = an array of 2: must hold 18 indices"},
        BadText{"HandsOfOne", with(dwpose_frame(), "/hands", json::array({points(21, 2), points(21, 2)})), "hands = an array of 2: must be an array of 4"},
        BadText{"HandOfFewPoints", with(dwpose_frame(), "/hands/2", points(20, 2)), "hands[2] = an array of 20: must hold 21 points"},
        BadText{"NoInstances", "{\"instance_info\":{}}", "instance_info = an object: must be an array of frames"},
        BadText{"FramesBackwards", "{\"instance_info\":[{\"frame_id\":4,\"instances\":[]},{\"frame_id\":4,\"instances\":[]}]}", "[1].frame_id = 4: must rise"},
        BadText{"FramesFarApart", "{\"instance_info\":[{\"frame_id\":0,\"instances\":[]},{\"frame_id\":1e14,\"instances\":[]}]}",
                "frame_id = 100000000000000.0"},
        BadText{"FewPoints", json{{"instance_info", {{{"keypoints", points(26, 2)}}}}}.dump(), "must hold 133 points (COCO-WholeBody) or 17 (COCO)"},
        BadText{"FewScores", with(json::array({mmpose_instance()}), "/0/keypoint_scores", {1, 2}), "'s scores = an array of 2: must be 133 scores"},
        BadText{"DeepArray", "[[[[[1]]]]]", "plain arrays must be points [133][3]"},
        BadText{"NoKeyPoints", "{\"annotations\":[{\"bbox\":[1,2,3,4]}]}", "hold no \"keypoints\""},
        BadText{"FewCocoPoints", with(coco_file(), "/annotations/0/keypoints", {1, 2, 2}), "annotations[0].keypoints = an array of 3: must hold 51 numbers"},
        BadText{"Visibility", with(coco_file(), "/annotations/0/keypoints/2", 3), "a visibility must be 0 (not there), 1 (covered) or 2 (visible)"}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(ManyMistakes, AreToldInPartAndCounted) {
    auto frames = json::array();
    for (int i = 0; i < 1000; ++i) frames.push_back({{"people", {{{"pose_keypoints_2d", {i}}}}}});
    const auto texts = mistakes_in(frames.dump());
    EXPECT_THAT(texts, SizeIs(9));
    EXPECT_EQ(texts.back(), "DRIVER: and 992 more of the kind");
}

TEST(MissingKeyPoints, AreNamed) {
    const Folder folder;
    Mistakes mistakes;
    static_cast<void>(read_key_points(folder / "nobody.json", {}, "--reference", mistakes));
    static_cast<void>(read_key_points(folder.path(), {}, "DRIVER", mistakes));
    ASSERT_THAT(mistakes.texts(), SizeIs(2));
    EXPECT_THAT(mistakes.texts()[0], AllOf(HasSubstr("--reference: "), HasSubstr("nobody.json: cannot be read")));
    EXPECT_THAT(mistakes.texts()[1], AllOf(HasSubstr("DRIVER "), HasSubstr("holds no frames")));
}

TEST(MissingKeyPoints, AFileOfAFolderIsNamed) {
    const Folder folder;
    write_bytes(folder / "1.json", openpose_frame().dump());
    write_bytes(folder / "2.json", "{");
    Mistakes mistakes;
    static_cast<void>(read_key_points(folder.path(), {}, "DRIVER", mistakes));
    ASSERT_THAT(mistakes.texts(), SizeIs(1));
    EXPECT_THAT(mistakes.texts()[0], AllOf(HasSubstr("2.json"), HasSubstr("is no JSON")));
}

// ---- damaged files ----

namespace {

/// One change of the text or of what it says.
std::string mutated(const json& root, std::mt19937& random) {
    const auto below = [&](std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random); };
    if (below(4) == 0) {
        auto text = root.dump();
        const auto begin = below(text.size());
        switch (below(3)) {
            case 0: return text.substr(0, begin);
            case 1: text.erase(begin, 1 + below(30)); break;
            default: text[begin] = static_cast<char>(below(256));
        }
        return text;
    }
    auto changed = root;
    auto* place = &changed;
    while (place->is_structured() && !place->empty() && below(7) != 0) {
        auto child = place->begin();
        std::advance(child, static_cast<std::ptrdiff_t>(below(place->size())));
        place = &*child;
    }
    const json values[] = {nullptr, true, "text", -1, 0, 1e300, -1e300, 0.3, 1'000'000'000'000'000'000, json::array(), json::object(), json::array({1}), root};
    if (place->is_array() && !place->empty() && below(2) == 0)
        place->erase(place->begin() + static_cast<std::ptrdiff_t>(below(place->size())));
    else
        *place = values[below(std::size(values))];
    return changed.dump();
}

}  // namespace

TEST(DamagedKeyPoints, AreReadOrNamedButNeverCrash) {
    std::mt19937 random(1);  // NOLINT: the same files each time
    const json whole[] = {openpose_frame(),
                          json::array({openpose_frame(25), openpose_frame()}),
                          dwpose_frame(),
                          {{"frames", {dwpose_frame(), dwpose_frame()}}, {"fps", 25}, {"width", 640}, {"height", 360}},
                          {{"instance_info", {{{"frame_id", 1}, {"instances", {mmpose_instance()}}}, {{"frame_id", 3}, {"instances", {mmpose_instance()}}}}}},
                          json::array({points(133, 3), points(133, 3)}),
                          coco_file()};
    int num_read = 0;
    for (int i = 0; i < 2000; ++i) {
        auto text = mutated(whole[static_cast<std::size_t>(i) % std::size(whole)], random);
        if (i % 3 == 0)
            if (const auto again = json::parse(text, nullptr, false); !again.is_discarded()) text = mutated(again, random);
        Mistakes mistakes;
        const auto clip = parse_key_points(text, "body.json", {640, 480}, "DRIVER", mistakes);
        if (!mistakes.empty()) continue;
        ++num_read;
        for (const auto& frame : clip.frames)
            for (const auto& person : frame.people)
                for_each_point(person, [](const KeyPoint& point) {
                    ASSERT_TRUE(std::abs(point.x) <= 10 && std::abs(point.y) <= 10 && point.score >= 0 && point.score <= 1);
                });
    }
    EXPECT_GT(num_read, 100);
    EXPECT_LT(num_read, 1900);
}

}  // namespace weft::pose

#include "pose/align.hpp"

#include "pose/follow.hpp"
#include "pose/golden_align.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace weft::pose {

using golden::Scenario;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

namespace {

constexpr double tolerance = 1e-9;
constexpr double single = 1e-6;  // bases are in single precision, as published
constexpr double marker = -1;    // the published program's place of hand points that are not seen

Alignment alignment_of(const Scenario& scenario) {
    return measure(scenario.reference, scenario.reference_size.aspect(), *scenario.drive[0], scenario.video_size.aspect());
}

/// Seen points against recorded x, y; how many were compared. `differs` are known to.
template <std::size_t size>
std::size_t expect_places(const std::array<KeyPoint, size>& points, std::span<const double> wanted, const std::string& what,
                          const std::set<std::size_t>& differs = {}) {
    std::size_t compared = 0;
    for (std::size_t i = 0; i < size; ++i) {
        if (!points[i].seen() || differs.contains(i)) continue;
        EXPECT_NEAR(points[i].x, wanted[2 * i], tolerance) << what << " " << i;
        EXPECT_NEAR(points[i].y, wanted[2 * i + 1], tolerance) << what << " " << i;
        ++compared;
    }
    return compared;
}

template <std::size_t size>
std::size_t num_seen(const std::array<KeyPoint, size>& points) {
    return static_cast<std::size_t>(std::ranges::count_if(points, &KeyPoint::seen));
}

std::size_t num_seen(const Person& person) {
    return num_seen(person.body) + num_seen(person.hands[left]) + num_seen(person.hands[right]) + num_seen(person.face);
}

/// All of a person's points against the tensors KIND.body, .hands, .faces of a frame.
std::size_t expect_person(const Person& person, const Scenario& scenario, const std::string& kind, std::size_t frame) {
    return expect_places(person.body, scenario.part(kind + ".body", frame), kind + ".body") +
           expect_places(person.hands[left], scenario.part(kind + ".hands", 2 * frame, 2 * golden::num_frames), kind + " left hand") +
           expect_places(person.hands[right], scenario.part(kind + ".hands", 2 * frame + 1, 2 * golden::num_frames), kind + " right hand") +
           expect_places(person.face, scenario.part(kind + ".faces", frame), kind + ".faces");
}

void expect_subset(const Person& person, std::span<const double> subset) {
    for (std::size_t i = 0; i < num_body_points; ++i) EXPECT_EQ(person.body[i].seen(), subset[i] >= 0) << "joint " << i;
}

void expect_marked(const HandPoints& hand, std::span<const double> recorded) {
    for (std::size_t i = 0; i < hand.size(); ++i) EXPECT_EQ(hand[i].seen(), recorded[2 * i] != marker || recorded[2 * i + 1] != marker) << "hand point " << i;
}

/// Where the detector's wrapper put each point, and which it hid: weft's mapping of the 133 points.
void expect_mapped(const Person& person, const Scenario& scenario, const std::string& who, std::size_t frame, std::size_t frames) {
    expect_places(person.body, scenario.part(who + ".body", frame, frames), who + " body");
    expect_subset(person, scenario.part(who + ".subset", frame, frames));
    for (const auto side : {left, right}) {
        const auto recorded = scenario.part(who + ".hands", 2 * frame + side, 2 * frames);
        expect_places(person.hands[side], recorded, who + " hand");
        expect_marked(person.hands[side], recorded);
    }
    expect_places(person.face, scenario.part(who + ".faces", frame, frames), who + " face");
}

KeyPoint at(double x, double y) {
    return {x, y, 1};
}

/// Seen from the front, arms hanging, in a square picture.
Person standing() {
    Person person;
    person.body = {at(.5, .2),   at(.5, .3),  at(.42, .3),  at(.4, .42),  at(.38, .52), at(.58, .3),  at(.6, .42),  at(.62, .52), at(.45, .55),
                   at(.45, .72), at(.45, .9), at(.55, .55), at(.55, .72), at(.55, .9),  at(.48, .18), at(.52, .18), at(.46, .19), at(.54, .19)};
    for (const auto side : {left, right}) {
        const auto& wrist = person.body[side == left ? left_wrist : right_wrist];
        for (std::size_t i = 0; i < num_hand_points; ++i)
            person.hands[side][i] = at(wrist.x + 0.002 * static_cast<double>(i % 4), wrist.y + 0.003 * static_cast<double>(i));
    }
    return person;
}

void hide(KeyPoint& point) {
    point = {0.9, 0.1, 0.2};  // a place, as detectors give it, which must not matter
}

/// `person` with every length from the neck on multiplied.
Person larger(Person person, double factor) {
    const auto centre = person.body[neck];
    for_each_point(person, [&](KeyPoint& point) { point = {centre.x + factor * (point.x - centre.x), centre.y + factor * (point.y - centre.y), point.score}; });
    return person;
}

}  // namespace

// ---- against the published program ----

class Published : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Scenarios, Published, ::testing::Values("full", "partial", "degenerate"), [](const auto& one) { return std::string(one.param); });

TEST_P(Published, DetectorsPointsAreMappedAlike) {
    const Scenario scenario(GetParam());
    expect_mapped(scenario.reference, scenario, "ref", 0, 1);
    for (std::size_t i = 0; i < golden::num_frames; ++i) expect_mapped(*scenario.drive[i], scenario, "drive", i, golden::num_frames);
}

TEST_P(Published, OffsetIsEqual) {
    const Scenario scenario(GetParam());
    const auto alignment = alignment_of(scenario);
    EXPECT_NEAR(alignment.dx, scenario["offset"][0], tolerance);
    EXPECT_NEAR(alignment.dy, scenario["offset"][1], tolerance);
}

TEST(PublishedAlignment, OfAWhollySeenPersonIsEqual) {
    const Scenario scenario("full");
    expect_mapped(scenario.reference, scenario, "ref", 0, 1);
    const auto alignment = alignment_of(scenario);
    for (std::size_t i = 0; i < num_factors; ++i) {
        EXPECT_NEAR(alignment.factors[i].value, scenario["scales"][i], tolerance) << name_of(static_cast<Factor>(i));
        EXPECT_TRUE(alignment.factors[i].measured);
    }
    static_cast<void>(scenario["offset"]);  // above
    for (std::size_t i = 0; i < golden::num_frames; ++i) {
        const auto& person = *scenario.drive[i];
        expect_mapped(person, scenario, "drive", i, golden::num_frames);
        ASSERT_EQ(num_seen(person), num_body_points + 2 * num_hand_points + num_face_points);
        const auto in_heights = scaled(person, person.body[neck], alignment);
        const auto in_place = aligned(person, person.body[neck], alignment);
        EXPECT_EQ(expect_person(in_heights, scenario, "scaled", i), num_seen(person));
        EXPECT_EQ(expect_person(in_place, scenario, "aligned", i), num_seen(person));
        expect_subset(in_heights, scenario.part("scaled.subset", i));
    }
    EXPECT_THAT(scenario.unused(), ElementsAre());
}

/// Hidden: in frame 2 the left wrist, in frame 3 both ankles; every second point of the left hand in the reference and frame 2, of the right hand in frame 0.
/// Published, hidden hand points stand at (-1, -1) and are measured from there, which spoils `hand`; weft leaves them out. So of the factors `hand` alone
/// differs, and of the points those of hands, by that factor; the left hand of frame 2 besides hangs on the elbow, and published on the hidden wrist.
TEST(PublishedAlignment, OfAPartlySeenPersonDiffersOnlyByWhatIsHidden) {
    const Scenario scenario("partial");
    const auto alignment = alignment_of(scenario);
    for (std::size_t i = 0; i < num_factors; ++i) {
        const bool is_hand = i == static_cast<std::size_t>(Factor::hand);
        const double off = std::abs(alignment.factors[i].value - scenario["scales"][i]);
        EXPECT_EQ(off > tolerance, is_hand) << name_of(static_cast<Factor>(i)) << " is off by " << off;
        EXPECT_TRUE(alignment.factors[i].measured);
    }
    EXPECT_NEAR(alignment[Factor::hand], 1, 0.5) << "no marker in it";
    for (std::size_t i = 0; i < golden::num_frames; ++i) {
        const auto& person = *scenario.drive[i];
        const auto moved = aligned(person, person.body[neck], alignment);
        EXPECT_EQ(expect_places(moved.body, scenario.part("aligned.body", i), "body"), num_seen(person.body));
        EXPECT_EQ(expect_places(moved.face, scenario.part("aligned.faces", i), "face"), num_seen(person.face));
        for (const auto side : {left, right}) {
            EXPECT_EQ(num_seen(moved.hands[side]), num_seen(person.hands[side]));
            if (!person.body[side == left ? left_wrist : right_wrist].seen()) continue;
            const auto recorded = scenario.part("aligned.hands", 2 * i + side, 2 * golden::num_frames);
            const auto& wrist = moved.body[side == left ? left_wrist : right_wrist];
            const double published = scenario["scales"][static_cast<std::size_t>(Factor::hand)], own = alignment[Factor::hand];
            for (std::size_t k = 0; k < num_hand_points; ++k) {
                const auto& point = moved.hands[side][k];
                if (!point.seen()) continue;
                EXPECT_NEAR((point.x - wrist.x) * published, (recorded[2 * k] - wrist.x) * own, single) << "hand point " << k;
                EXPECT_NEAR((point.y - wrist.y) * published, (recorded[2 * k + 1] - wrist.y) * own, single) << "hand point " << k;
            }
        }
    }
}

/// In frame 0 the left wrist lies on the left elbow and no hand is seen. Published, arm_lower and hand are infinite, and both wrists and hands vanish from
/// every frame; weft takes the right arm's ratio, and the arms' for the hands.
TEST(PublishedAlignment, OfALimbWithoutLengthDiffersOnlyByWhatHangsOnIt) {
    const Scenario scenario("degenerate");
    const auto alignment = alignment_of(scenario);
    const std::set<std::size_t> infinite{static_cast<std::size_t>(Factor::arm_lower), static_cast<std::size_t>(Factor::hand)};
    for (std::size_t i = 0; i < num_factors; ++i) {
        EXPECT_TRUE(std::isfinite(alignment.factors[i].value));
        if (infinite.contains(i))
            EXPECT_TRUE(std::isinf(scenario["scales"][i]));
        else
            EXPECT_NEAR(alignment.factors[i].value, scenario["scales"][i], tolerance) << name_of(static_cast<Factor>(i));
    }
    EXPECT_THAT(alignment.factors[static_cast<std::size_t>(Factor::arm_lower)].from, HasSubstr("right elbow to wrist"));
    EXPECT_NEAR(alignment[Factor::hand], (alignment[Factor::arm_upper] + alignment[Factor::arm_lower]) / 2, tolerance);
    for (std::size_t i = 0; i < golden::num_frames; ++i) {
        const auto& person = *scenario.drive[i];
        const auto moved = aligned(person, person.body[neck], alignment);
        const std::set<std::size_t> wrists{right_wrist, left_wrist};
        EXPECT_EQ(expect_places(moved.body, scenario.part("aligned.body", i), "body", wrists), num_seen(person.body) - wrists.size());
        EXPECT_EQ(expect_places(moved.face, scenario.part("aligned.faces", i), "face"), num_seen(person.face));
        for_each_point(moved, [](const KeyPoint& point) { EXPECT_TRUE(std::isfinite(point.x) && std::isfinite(point.y)); });
        EXPECT_EQ(num_seen(moved), num_seen(person)) << "what was seen stays seen";
    }
}

// ---- what is hidden ----

TEST(Measuring, TakesTheSideThatIsSeen) {
    auto reference = larger(standing(), 1.5);
    hide(reference.body[left_elbow]);
    hide(reference.body[right_hip]);
    const auto alignment = measure(reference, 1, standing(), 1);
    EXPECT_NEAR(alignment[Factor::arm_upper], 1.5, tolerance);
    EXPECT_EQ(alignment.factors[static_cast<std::size_t>(Factor::arm_upper)].from, "right shoulder to elbow, left not seen in both");
    EXPECT_EQ(alignment.factors[static_cast<std::size_t>(Factor::body_len)].from, "left neck to hip, right not seen in both");
    for (const auto& factor : alignment.factors) {
        EXPECT_TRUE(factor.measured);
        EXPECT_NEAR(factor.value, 1.5, tolerance);
    }
}

TEST(Measuring, TakesTheOthersMeanForWhatIsSeenOnNeitherSide) {
    auto driver = standing();
    for (const auto joint : {right_hip, right_knee, right_ankle, left_hip, left_knee, left_ankle}) hide(driver.body[joint]);
    auto reference = larger(standing(), 2);
    reference.body[nose].y = reference.body[neck].y - 0.4;  // four times the driver's
    const auto alignment = measure(reference, 1, driver, 1);
    const double typical = (4 + 2 + 2 + 2 + 2) / 5.0;  // neck, face, shoulder, both parts of the arm
    for (const auto factor : {Factor::body_len, Factor::leg_upper, Factor::leg_lower}) {
        EXPECT_FALSE(alignment.factors[static_cast<std::size_t>(factor)].measured);
        EXPECT_NEAR(alignment[factor], typical, tolerance);
    }
    EXPECT_TRUE(alignment.factors[static_cast<std::size_t>(Factor::neck)].measured);
}

TEST(Measuring, NeverGivesWhatIsNoNumber) {
    Person reference, driver;  // all points of both in one place, then only their necks seen
    for_each_point(reference, [](KeyPoint& point) { point.score = 1; });
    for_each_point(driver, [](KeyPoint& point) { point.score = 1; });
    for (int round = 0; round < 2; ++round) {
        const auto alignment = measure(reference, 0.5, driver, 2);
        for (const auto& factor : alignment.factors) {
            EXPECT_EQ(factor.value, 1);
            EXPECT_FALSE(factor.measured);
        }
        for_each_point(reference, [](KeyPoint& point) { point.score = 0; });
        reference.body[neck].score = 1;
    }
}

TEST(Measuring, WantsNeckAndShoulders) {
    EXPECT_TRUE(is_measurable(standing()));
    for (const auto joint : {neck, right_shoulder, left_shoulder}) {
        auto person = standing();
        hide(person.body[joint]);
        EXPECT_FALSE(is_measurable(person));
    }
}

TEST(Moving, GivesTheReferenceItself) {
    const auto reference = larger(standing(), 1.3);
    const auto driver = standing();
    const auto moved = aligned(driver, driver.body[neck], measure(reference, 1, driver, 1));
    for (std::size_t i = 0; i < num_body_points; ++i) {
        EXPECT_NEAR(moved.body[i].x, reference.body[i].x, single) << i;
        EXPECT_NEAR(moved.body[i].y, reference.body[i].y, single) << i;
    }
    for (const auto side : {left, right})
        for (std::size_t i = 0; i < num_hand_points; ++i) EXPECT_NEAR(moved.hands[side][i].y, reference.hands[side][i].y, single);
}

TEST(Moving, HangsAJointOnTheNearestSeenOne) {
    const auto reference = larger(standing(), 1.3);
    const auto driver = standing();
    const auto alignment = measure(reference, 1, driver, 1);
    auto half = driver;
    for (const auto joint : {nose, right_elbow, right_wrist, left_knee}) hide(half.body[joint]);
    const auto moved = aligned(half, half.body[neck], alignment);
    for (const auto joint : {nose, right_elbow, right_wrist, left_knee}) EXPECT_FALSE(moved.body[joint].seen());
    for (const auto joint : {right_eye, left_ear, left_ankle, right_shoulder}) {
        EXPECT_NEAR(moved.body[joint].x, reference.body[joint].x, single) << joint;
        EXPECT_NEAR(moved.body[joint].y, reference.body[joint].y, single) << joint;
    }
    EXPECT_NEAR(moved.hands[right][8].y, reference.hands[right][8].y, single) << "on its own wrist";
    half.hands[right][0].score = 0;
    EXPECT_NEAR(aligned(half, half.body[neck], alignment).hands[right][8].y, reference.hands[right][8].y, single) << "on the shoulder";
}

TEST(Moving, GoesOnWhereTheNeckIsHidden) {
    const auto driver = standing();
    const auto alignment = measure(larger(driver, 1.3), 1, driver, 1);
    auto headless = driver;
    hide(headless.body[neck]);
    const auto whole = aligned(driver, driver.body[neck], alignment);
    const auto moved = aligned(headless, driver.body[neck], alignment);
    EXPECT_FALSE(moved.body[neck].seen());
    for (std::size_t i = 0; i < num_body_points; ++i) EXPECT_TRUE(i == neck || moved.body[i] == whole.body[i]) << i;
}

TEST(Outside, CountsSeenPointsOfBodyAndHands) {
    Person person;
    person.body[nose] = at(1.2, 0.5);
    person.body[neck] = at(0.2, 0.5);
    person.hands[left][3] = at(0.2, -0.1);
    person.hands[left][4] = at(0.2, 0.1);
    person.body[left_ear] = {7, 7, 0.1};
    EXPECT_EQ(share_outside({&person, 1}), 0.5);
    EXPECT_EQ(share_outside({}), 0);
}

}  // namespace weft::pose

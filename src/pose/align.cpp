#include "pose/align.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace weft::pose {

namespace {

constexpr double shortest = 1e-6;  // heights of the picture, far below a pixel: no length to divide by

constexpr std::array<std::string_view, num_factors> factor_names{"neck", "face",     "shoulder",  "arm_upper", "arm_lower",
                                                                 "hand", "body_len", "leg_upper", "leg_lower"};

Person with_square_pixels(Person person, double aspect) {
    for_each_point(person, [&](KeyPoint& point) { point.x *= aspect; });
    return person;
}

double length(const KeyPoint& a, const KeyPoint& b) {
    return std::sqrt((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y));
}

KeyPoint middle(const KeyPoint& a, const KeyPoint& b) {
    return {(a.x + b.x) / 2, (a.y + b.y) / 2, std::min(a.score, b.score)};
}

using Ratio = std::optional<double>;

double mean(std::span<const double> values) {
    double sum = 0;
    for (const double value : values) sum += value;
    return sum / static_cast<double>(values.size());
}

/// Reference against driver, both with square pixels.
struct Pair {
    const Person& reference;
    const Person& driver;

    [[nodiscard]] static Ratio ratio(const KeyPoint& reference_a, const KeyPoint& reference_b, const KeyPoint& driver_a, const KeyPoint& driver_b) {
        if (!reference_a.seen() || !reference_b.seen() || !driver_a.seen() || !driver_b.seen()) return std::nullopt;
        const double wanted = length(reference_a, reference_b), given = length(driver_a, driver_b);
        if (wanted < shortest || given < shortest) return std::nullopt;
        return wanted / given;
    }

    [[nodiscard]] Ratio between(Joint a, Joint b) const { return ratio(reference.body[a], reference.body[b], driver.body[a], driver.body[b]); }

    [[nodiscard]] Ratio to_hips() const {
        const auto hips = [](const Person& person) { return middle(person.body[right_hip], person.body[left_hip]); };
        return ratio(reference.body[neck], hips(reference), driver.body[neck], hips(driver));
    }

    /// From the wrist to the base of each finger, both hands together.
    [[nodiscard]] std::vector<double> hand_bones() const {
        std::vector<double> ratios;
        for (const auto side : {left, right})
            for (const std::size_t finger : {1U, 5U, 9U, 13U, 17U}) {
                const auto &a = reference.hands[side], &b = driver.hands[side];
                if (const auto one = ratio(a[0], a[finger], b[0], b[finger])) ratios.push_back(*one);
            }
        return ratios;
    }
};

constexpr const char* kNowhere = "not seen in both";

ScaleFactor measured(double value, std::string from) {
    return {value, true, std::move(from)};
}

ScaleFactor one_limb(const Ratio& ratio, const char* joints) {
    if (ratio) return measured(*ratio, joints);
    return {1, false, cat(joints, " ", kNowhere)};
}

/// The mean of both sides, or the one that there is.
ScaleFactor two_sides(const Ratio& right_ratio, const Ratio& left_ratio, const char* joints) {
    if (right_ratio && left_ratio) return measured((*right_ratio + *left_ratio) / 2, cat("both sides' ", joints));
    if (right_ratio) return measured(*right_ratio, cat("right ", joints, ", left ", kNowhere));
    if (left_ratio) return measured(*left_ratio, cat("left ", joints, ", right ", kNowhere));
    return {1, false, cat(joints, " ", kNowhere)};
}

ScaleFactor body_length(const Pair& pair) {
    if (const auto both = pair.to_hips()) return measured(*both, "neck to the middle of the hips");
    return two_sides(pair.between(neck, right_hip), pair.between(neck, left_hip), "neck to hip");
}

void fill_unmeasured(std::array<ScaleFactor, num_factors>& factors) {
    std::vector<double> known;
    for (const auto& factor : factors)
        if (factor.measured) known.push_back(factor.value);
    const double typical = known.empty() ? 1 : mean(known);
    for (auto& factor : factors)
        if (!factor.measured) factor.value = typical;
}

ScaleFactor hand_factor(const Pair& pair, double arm_upper, double arm_lower, bool arms_measured) {
    const auto bones = pair.hand_bones();
    if (!bones.empty()) return measured((mean(bones) + arm_upper + arm_lower) / 3, cat("arms and ", bones.size(), " of 10 bones from wrist to finger"));
    return {(arm_upper + arm_lower) / 2, arms_measured, "arms alone, hands not seen in both"};
}

// ---- moving ----

/// Not inlined: GCC 12.2 at -O2 drops both conversions where it vectorises two of these side by side (PublishedAlignment's tests notice; may go with a later
/// GCC).
[[gnu::noinline]] double in_single_precision(double value) {
    return static_cast<float>(value);
}

struct Bone {
    Joint joint;
    Joint parent;
    Factor factor;
};

/// From the neck outwards.
constexpr std::array<Bone, 17> bones{{{nose, neck, Factor::neck},
                                      {right_eye, nose, Factor::face},
                                      {left_eye, nose, Factor::face},
                                      {right_ear, nose, Factor::face},
                                      {left_ear, nose, Factor::face},
                                      {right_shoulder, neck, Factor::shoulder},
                                      {left_shoulder, neck, Factor::shoulder},
                                      {right_elbow, right_shoulder, Factor::arm_upper},
                                      {right_wrist, right_elbow, Factor::arm_lower},
                                      {left_elbow, left_shoulder, Factor::arm_upper},
                                      {left_wrist, left_elbow, Factor::arm_lower},
                                      {right_hip, neck, Factor::body_len},
                                      {left_hip, neck, Factor::body_len},
                                      {right_knee, right_hip, Factor::leg_upper},
                                      {right_ankle, right_knee, Factor::leg_lower},
                                      {left_knee, left_hip, Factor::leg_upper},
                                      {left_ankle, left_knee, Factor::leg_lower}}};

const Bone& bone_to(Joint joint) {
    return *std::ranges::find(bones, joint, &Bone::joint);
}

/// Moves one frame's points, all with square pixels.
class Mover {
  public:
    Mover(const Person& from, const KeyPoint& neck_place, const Alignment& alignment) : from_{from}, to_{from}, neck_{neck_place}, alignment_{alignment} {}

    Person move() {
        for (const auto& bone : bones) to_.body[bone.joint] = hang(from_.body[bone.joint], bone.parent, bone.factor);
        move_hand(left, left_wrist);
        move_hand(right, right_wrist);
        return to_;
    }

  private:
    /// The point on the nearest seen joint from `parent` on towards the neck, by the mean of the factors on the way.
    [[nodiscard]] KeyPoint hang(const KeyPoint& point, Joint parent, Factor factor) const {
        if (!point.seen()) return {0, 0, point.score};
        double sum = alignment_[factor];
        int num_bones = 1;
        while (parent != neck && !from_.body[parent].seen()) {
            const auto& bone = bone_to(parent);
            sum += alignment_[bone.factor];
            ++num_bones;
            parent = bone.parent;
        }
        if (parent == neck) return scaled_from(neck_, neck_, point, sum / num_bones);
        return scaled_from(from_.body[parent], to_.body[parent], point, sum / num_bones);
    }

    /// The published program has OpenCV scale about the moved base, which OpenCV takes in single precision (1e-5 pixels; kept, so that its maps are met).
    [[nodiscard]] static KeyPoint scaled_from(const KeyPoint& base, const KeyPoint& moved_base, const KeyPoint& point, double factor) {
        const auto place = [factor](double from, double to, double of) { return factor * (to + (of - from)) + (1 - factor) * in_single_precision(to); };
        return {place(base.x, moved_base.x, point.x), place(base.y, moved_base.y, point.y), point.score};
    }

    /// On the body's wrist; where that isn't seen, the hand's own takes its place.
    void move_hand(Side side, Joint wrist) {
        const auto& hand = from_.hands[side];
        const bool stands_in = !from_.body[wrist].seen() && hand[0].seen();
        const auto& bone = bone_to(wrist);
        const auto moved_wrist = stands_in ? hang(hand[0], bone.parent, bone.factor) : KeyPoint{};
        for (std::size_t i = 0; i < num_hand_points; ++i)
            to_.hands[side][i] =
                stands_in && hand[i].seen() ? scaled_from(hand[0], moved_wrist, hand[i], alignment_[Factor::hand]) : hang(hand[i], wrist, Factor::hand);
    }

    const Person& from_;
    Person to_;
    KeyPoint neck_;
    const Alignment& alignment_;
};

}  // namespace

std::string_view name_of(Factor factor) {
    return factor_names[static_cast<std::size_t>(factor)];
}

bool is_measurable(const Person& person) {
    return person.body[neck].seen() && person.body[right_shoulder].seen() && person.body[left_shoulder].seen();
}

Alignment measure(const Person& reference, double reference_aspect, const Person& driver, double driver_aspect) {
    ensure(reference.body[neck].seen() && driver.body[neck].seen(), "an alignment without a neck");
    const auto square_reference = with_square_pixels(reference, reference_aspect), square_driver = with_square_pixels(driver, driver_aspect);
    const Pair pair{square_reference, square_driver};
    Alignment made{.factors = {},
                   .dx = square_reference.body[neck].x - square_driver.body[neck].x,
                   .dy = square_reference.body[neck].y - square_driver.body[neck].y,
                   .driver_aspect = driver_aspect,
                   .reference_aspect = reference_aspect};
    const auto of = [&](Factor factor) -> ScaleFactor& { return made.factors[static_cast<std::size_t>(factor)]; };
    of(Factor::neck) = one_limb(pair.between(neck, nose), "neck to nose");
    of(Factor::face) = one_limb(pair.between(right_ear, left_ear), "ear to ear");
    of(Factor::shoulder) = one_limb(pair.between(right_shoulder, left_shoulder), "shoulder to shoulder");
    of(Factor::arm_upper) = two_sides(pair.between(right_shoulder, right_elbow), pair.between(left_shoulder, left_elbow), "shoulder to elbow");
    of(Factor::arm_lower) = two_sides(pair.between(right_elbow, right_wrist), pair.between(left_elbow, left_wrist), "elbow to wrist");
    of(Factor::body_len) = body_length(pair);
    of(Factor::leg_upper) = two_sides(pair.between(right_hip, right_knee), pair.between(left_hip, left_knee), "hip to knee");
    of(Factor::leg_lower) = two_sides(pair.between(right_knee, right_ankle), pair.between(left_knee, left_ankle), "knee to ankle");
    fill_unmeasured(made.factors);
    const auto &upper = of(Factor::arm_upper), &lower = of(Factor::arm_lower);
    of(Factor::hand) = hand_factor(pair, upper.value, lower.value, upper.measured || lower.measured);
    return made;
}

Person scaled(const Person& person, const KeyPoint& neck, const Alignment& alignment) {
    const KeyPoint square_neck{neck.x * alignment.driver_aspect, neck.y, neck.score};
    const auto square = with_square_pixels(person, alignment.driver_aspect);
    return Mover(square, square_neck, alignment).move();
}

Person aligned(const Person& person, const KeyPoint& neck, const Alignment& alignment) {
    auto moved = scaled(person, neck, alignment);
    for_each_point(moved, [&](KeyPoint& point) {
        if (!point.seen()) return;
        point.x = (point.x + alignment.dx) / alignment.reference_aspect;
        point.y += alignment.dy;
    });
    return moved;
}

double share_outside(std::span<const Person> people) {
    std::int64_t seen = 0;
    std::int64_t outside = 0;
    const auto count = [&](const KeyPoint& point) {
        if (!point.seen()) return;
        ++seen;
        if (point.x < 0 || point.x > 1 || point.y < 0 || point.y > 1) ++outside;
    };
    for (const auto& person : people) {
        std::ranges::for_each(person.body, count);
        for (const auto& hand : person.hands) std::ranges::for_each(hand, count);
    }
    return seen == 0 ? 0 : static_cast<double>(outside) / static_cast<double>(seen);
}

}  // namespace weft::pose

#pragma once
#include <array>
#include <cstddef>
#include <vector>

namespace weft::pose {

/// A place in a picture, in shares of its width and height, and how sure the detector is (0 to 1).
struct KeyPoint {
    double x = 0;
    double y = 0;
    double score = 0;

    /// The published programs' threshold. What is not seen has a place that means nothing.
    [[nodiscard]] bool seen() const { return score > 0.3; }
    [[nodiscard]] bool operator==(const KeyPoint&) const = default;
};

inline constexpr std::size_t num_body_points = 18;
inline constexpr std::size_t num_hand_points = 21;  ///< wrist, then four of each finger from the thumb
inline constexpr std::size_t num_face_points = 68;

/// The body points in OpenPose's order; left and right are the person's own.
enum Joint : std::size_t {
    nose,
    neck,
    right_shoulder,
    right_elbow,
    right_wrist,
    left_shoulder,
    left_elbow,
    left_wrist,
    right_hip,
    right_knee,
    right_ankle,
    left_hip,
    left_knee,
    left_ankle,
    right_eye,
    left_eye,
    right_ear,
    left_ear,
};

enum Side : std::size_t { left, right };

using BodyPoints = std::array<KeyPoint, num_body_points>;
using HandPoints = std::array<KeyPoint, num_hand_points>;
using FacePoints = std::array<KeyPoint, num_face_points>;

struct Person {
    BodyPoints body;
    std::array<HandPoints, 2> hands;  ///< by Side
    FacePoints face;

    [[nodiscard]] bool operator==(const Person&) const = default;
};

/// Calls `work` with each point in turn, body, hands, face.
template <class SomePerson, class Work>
void for_each_point(SomePerson& person, const Work& work) {
    for (auto& point : person.body) work(point);
    for (auto& hand : person.hands)
        for (auto& point : hand) work(point);
    for (auto& point : person.face) work(point);
}

/// Pixels of a picture or of the frames of a clip; 0: not known.
struct ImageSize {
    int width = 0;
    int height = 0;

    [[nodiscard]] bool known() const { return width > 0 && height > 0; }
    [[nodiscard]] double aspect() const { return static_cast<double>(width) / static_cast<double>(height); }
    [[nodiscard]] bool operator==(const ImageSize&) const = default;
};

}  // namespace weft::pose

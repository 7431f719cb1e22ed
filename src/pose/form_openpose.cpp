#include "base/error.hpp"
#include "base/text.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace weft::pose {

namespace forms {

namespace {

Person person_of(const json& object, const std::string& place, Trouble& trouble) {
    Person person;
    const auto take = [&](const char* name, std::string_view allowed, std::initializer_list<std::size_t> sizes) {
        const auto* const value = member(object, name);
        if (value == nullptr || (value->is_array() && value->empty())) return Points{};
        auto points = triples(*value, place + name, allowed, sizes, trouble).value_or(Points{});
        for (auto& point : points)
            if (point.x == 0 && point.y == 0) point.score = 0;  // nobody stands on the very corner: some programs write scores of 1 there
        return points;
    };
    const auto body = take("pose_keypoints_2d", "must hold 54 numbers (18 points) or 75 (BODY_25): x, y, score", {3 * num_body_points, 3 * num_body_25_points});
    if (body.size() == num_body_25_points)
        person.body = from_body_25(body);
    else
        std::ranges::copy(body, person.body.begin());
    constexpr auto hand = "must hold 63 numbers: x, y, score of 21 points";
    std::ranges::copy(take("hand_left_keypoints_2d", hand, {3 * num_hand_points}), person.hands[left].begin());
    std::ranges::copy(take("hand_right_keypoints_2d", hand, {3 * num_hand_points}), person.hands[right].begin());
    const auto face =
        take("face_keypoints_2d", "must hold 204 numbers (68 points) or 210 (with the pupils): x, y, score", {3 * num_face_points, 3 * num_face_points + 6});
    std::copy_n(face.begin(), std::min(face.size(), num_face_points), person.face.begin());
    return person;
}

}  // namespace

std::vector<Person> people_of_openpose(const json& frame, const std::string& place, Trouble& trouble) {
    std::vector<Person> found;
    const auto& people = frame["people"];
    if (people.is_null()) return found;
    if (!people.is_array()) {
        trouble.add(place + "people", people, "must be an array of people");
        return found;
    }
    for (std::size_t i = 0; i < people.size(); ++i) {
        const auto person_place = cat(place, "people[", i, "]");
        if (people[i].is_null()) continue;
        if (!people[i].is_object())
            trouble.add(person_place, people[i], "must be an object with \"pose_keypoints_2d\"");
        else
            found.push_back(person_of(people[i], person_place + ".", trouble));
    }
    return found;
}

}  // namespace forms

BodyPoints from_body_25(std::span<const KeyPoint> points) {
    ensure(points.size() == forms::num_body_25_points, "key points that are not BODY_25's");
    constexpr std::array<std::size_t, num_body_points> from{0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    BodyPoints body;
    for (std::size_t i = 0; i < num_body_points; ++i) body[i] = points[from[i]];
    return body;
}

std::string to_openpose(std::span<const KeyPointFrame> frames, const ImageSize& size) {
    const auto numbers = [&](const auto& points) {
        auto flat = nlohmann::json::array();
        for (const auto& point : points)
            for (const double value : {point.x * size.width, point.y * size.height, point.score}) flat.push_back(point.seen() ? value : 0.0);
        return flat;
    };
    auto all = nlohmann::json::array();
    for (const auto& frame : frames) {
        auto people = nlohmann::json::array();
        for (const auto& person : frame.people)
            people.push_back({{"pose_keypoints_2d", numbers(person.body)},
                              {"hand_left_keypoints_2d", numbers(person.hands[left])},
                              {"hand_right_keypoints_2d", numbers(person.hands[right])},
                              {"face_keypoints_2d", numbers(person.face)}});
        all.push_back({{"people", people}, {"canvas_width", size.width}, {"canvas_height", size.height}});
    }
    return all.dump() + "\n";
}

}  // namespace weft::pose

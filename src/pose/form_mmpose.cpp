#include "base/error.hpp"
#include "base/text.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace weft::pose {

namespace forms {

namespace {

/// COCO-WholeBody's points, or COCO's; nobody where they are none.
void add_person(std::vector<Person>& people, const json& value, const json* score_value, const std::string& place, Trouble& trouble) {
    auto points = rows(value, place, trouble);
    if (!points) return;
    if (points->size() != num_whole_body_points && points->size() != num_coco_points) {
        trouble.add(place, value, "must hold 133 points (COCO-WholeBody) or 17 (COCO)");
        return;
    }
    if (score_value != nullptr) {
        const auto given = scores(*score_value, points->size(), place + "'s scores", trouble);
        if (!given) return;
        for (std::size_t i = 0; i < points->size(); ++i) (*points)[i].score = (*given)[i];
    }
    people.push_back(from_whole_body(*points));
}

}  // namespace

std::vector<Person> people_of_instances(const json& instances, const std::string& place, Trouble& trouble) {
    std::vector<Person> people;
    if (!instances.is_array()) {
        trouble.add(place, instances, "must be an array of people");
        return people;
    }
    for (std::size_t i = 0; i < instances.size(); ++i) {
        const auto* const points = member(instances[i], "keypoints");
        if (points == nullptr)
            trouble.add(cat(place, "[", i, "]"), instances[i], "must be an object with \"keypoints\"");
        else
            add_person(people, *points, member(instances[i], "keypoint_scores"), cat(place, "[", i, "].keypoints"), trouble);
    }
    return people;
}

std::size_t depth_of(const json& root) {
    std::size_t depth = 0;
    for (const auto* part = &root; depth < 5 && part->is_array() && !part->empty(); part = &part->front()) ++depth;
    return depth;
}

std::vector<KeyPointFrame> frames_of_plain(const json& root, std::size_t depth, const std::string& name, Trouble& trouble) {
    std::vector<KeyPointFrame> frames;
    const auto add_frame = [&]() -> std::vector<Person>& { return frames.emplace_back(KeyPointFrame{.people = {}, .size = {}, .name = name}).people; };
    if (depth == 2) {
        add_person(add_frame(), root, nullptr, "the array", trouble);
        return frames;
    }
    for (std::size_t i = 0; i < root.size(); ++i) {
        const auto place = cat("[", i, "]");
        auto& people = add_frame();
        if (!root[i].is_array())
            trouble.add(place, root[i], "must be an array, as the ones before");
        else if (depth == 3)
            add_person(people, root[i], nullptr, place, trouble);
        else
            for (std::size_t j = 0; j < root[i].size(); ++j) add_person(people, root[i][j], nullptr, cat(place, "[", j, "]"), trouble);
    }
    return frames;
}

}  // namespace forms

Person from_whole_body(std::span<const KeyPoint> points) {
    ensure(points.size() == forms::num_coco_points || points.size() == forms::num_whole_body_points, "key points that are neither COCO's nor COCO-WholeBody's");
    constexpr std::array<std::size_t, num_body_points> from{0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3};
    Person person;
    for (std::size_t i = 0; i < num_body_points; ++i) person.body[i] = points[from[i]];
    const auto &l = points[5], &r = points[6];
    person.body[neck] = {(l.x + r.x) / 2, (l.y + r.y) / 2, l.seen() && r.seen() ? std::min(l.score, r.score) : 0};
    if (points.size() == forms::num_coco_points) return person;
    constexpr std::size_t face = 23;  // behind 17 of the body and 6 of the feet
    std::ranges::copy(points.subspan(face, num_face_points), person.face.begin());
    std::ranges::copy(points.subspan(face + num_face_points, num_hand_points), person.hands[left].begin());
    std::ranges::copy(points.subspan(face + num_face_points + num_hand_points, num_hand_points), person.hands[right].begin());
    return person;
}

}  // namespace weft::pose

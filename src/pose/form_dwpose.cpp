#include "base/text.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>

namespace weft::pose::forms {

namespace {

// ---- bodies ----

std::optional<BodyPoints> body_of(const json& row, const Points& candidate, const std::string& place, Trouble& trouble) {
    if (!row.is_array() || row.size() < num_body_points) {
        trouble.add(place, row, "must hold 18 indices into \"candidate\", or -1 for what is not seen");
        return std::nullopt;
    }
    BodyPoints body;
    for (std::size_t i = 0; i < num_body_points; ++i) {
        const bool number = is_finite(row[i]);
        const double index = number ? row[i].get<double>() : 0;
        if (number && index < 0) continue;
        if (!number || index != std::floor(index) || index >= static_cast<double>(candidate.size())) {
            trouble.add(cat(place, "[", i, "]"), row[i], cat("must be -1, or an index into the ", candidate.size(), " candidates"));
            return std::nullopt;
        }
        body[i] = candidate[static_cast<std::size_t>(index)];
        if (!body[i].seen()) body[i].score = 1;  // the subset decides what is seen
    }
    return body;
}

void weigh(BodyPoints& body, const json& row) {
    if (!row.is_array() || row.size() < num_body_points) return;
    for (std::size_t i = 0; i < num_body_points; ++i)
        if (body[i].seen() && is_finite(row[i]) && row[i].get<double>() > 0.3) body[i].score = row[i].get<double>();
}

std::optional<std::vector<BodyPoints>> all_of(const Points& candidate, const json& bodies, const std::string& place, Trouble& trouble) {
    if (candidate.size() % num_body_points != 0) {
        trouble.add(place + "bodies.candidate", bodies["candidate"], "must hold 18 points for each person, or come with a \"subset\"");
        return std::nullopt;
    }
    std::vector<BodyPoints> found(candidate.size() / num_body_points);
    for (std::size_t i = 0; i < candidate.size(); ++i) found[i / num_body_points][i % num_body_points] = candidate[i];
    return found;
}

/// The bodies that the subset's rows pick from the candidates; without a subset each 18 of them.
std::optional<std::vector<BodyPoints>> subset_of(const json& bodies, const Points& candidate, const std::string& place, Trouble& trouble) {
    const auto* subset = member(bodies, "subset");
    json one_row;
    if (subset != nullptr && subset->is_array() && !subset->empty() && subset->front().is_number()) {
        one_row = json::array({*subset});
        subset = &one_row;
    }
    if (subset == nullptr) return all_of(candidate, bodies, place, trouble);
    if (!subset->is_array()) {
        trouble.add(place + "bodies.subset", *subset, "must be an array of a row for each person");
        return std::nullopt;
    }
    const auto* score = member(bodies, "score");
    if (score != nullptr && (!score->is_array() || score->size() != subset->size())) score = nullptr;
    std::vector<BodyPoints> found;
    for (std::size_t i = 0; i < subset->size(); ++i) {
        const auto row_place = cat(place, "bodies.subset[", i, "]");
        auto body = body_of((*subset)[i], candidate, row_place, trouble);
        if (!body) return std::nullopt;
        if (score != nullptr) weigh(*body, (*score)[i]);
        found.push_back(*body);
    }
    return found;
}

// ---- hands and faces ----

/// One person's points of a part of a frame, taken before anything is stacked: hands hold all left ones, then all right ones.
struct Part {
    const char* name;
    std::size_t num_points;
    const json* points = nullptr;
    const json* scores = nullptr;
};

Part part_of(const json& object, const char* name, const char* score_name, std::size_t num_points, std::size_t num_rows, const std::string& place,
             Trouble& trouble) {
    Part part{name, num_points, member(object, name), member(object, score_name)};
    const auto fits = [&](const json*& value, const char* what) {
        if (value == nullptr || (value->is_array() && value->empty())) {
            value = nullptr;
        } else if (!value->is_array() || value->size() != num_rows) {
            trouble.add(place + what, *value, cat("must be an array of ", num_rows, ", as many people as in the subset want"));
            value = nullptr;
        }
    };
    fits(part.points, name);
    fits(part.scores, score_name);
    return part;
}

template <std::size_t size>
void take_part(const Part& part, std::size_t row, std::array<KeyPoint, size>& to, const std::string& place, Trouble& trouble) {
    if (part.points == nullptr) return;
    auto points = rows((*part.points)[row], cat(place, part.name, "[", row, "]"), trouble);
    if (!points) return;
    if (points->size() != size) {
        trouble.add(cat(place, part.name, "[", row, "]"), (*part.points)[row], cat("must hold ", size, " points"));
        return;
    }
    if (part.scores != nullptr) {
        const auto given = scores((*part.scores)[row], size, cat(place, part.name, "_score[", row, "]"), trouble);
        if (!given) return;
        for (std::size_t i = 0; i < size; ++i) (*points)[i].score = (*given)[i];
    }
    for (auto& point : *points)
        if (point.x == -1 && point.y == -1) point.score = 0;  // the program's mark for "not seen"
    std::ranges::copy(*points, to.begin());
}

}  // namespace

std::vector<Person> people_of_dwpose(const json& frame, const std::string& place, Trouble& trouble) {
    std::vector<Person> found;
    const auto& bodies = frame["bodies"];
    const auto* const candidate_value = member(bodies, "candidate");
    if (candidate_value == nullptr) {
        trouble.add(place + "bodies", bodies, "must be an object with \"candidate\" and \"subset\", as DWPose's program returns it");
        return found;
    }
    const auto candidate = rows(*candidate_value, place + "bodies.candidate", trouble);
    if (!candidate) return found;
    const auto bodies_of_frame = subset_of(bodies, *candidate, place, trouble);
    if (!bodies_of_frame) return found;
    const auto num_people = bodies_of_frame->size();
    const auto hands = part_of(frame, "hands", "hands_score", num_hand_points, 2 * num_people, place, trouble);
    const auto faces = part_of(frame, "faces", "faces_score", num_face_points, num_people, place, trouble);
    for (std::size_t i = 0; i < num_people; ++i) {
        auto& person = found.emplace_back();
        person.body = (*bodies_of_frame)[i];
        take_part(hands, i, person.hands[left], place, trouble);
        take_part(hands, num_people + i, person.hands[right], place, trouble);
        take_part(faces, i, person.face, place, trouble);
    }
    return found;
}

}  // namespace weft::pose::forms

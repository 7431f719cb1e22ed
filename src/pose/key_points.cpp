#include "pose/key_points.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <initializer_list>
#include <map>
#include <optional>
#include <utility>

namespace weft::pose {

namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Points = std::vector<KeyPoint>;

constexpr std::size_t num_coco_points = 17;
constexpr std::size_t num_whole_body_points = 133;
constexpr std::size_t num_body_25_points = 25;
constexpr std::int64_t most_frames = 1'000'000;
constexpr double farthest = 10;  // from the picture, in its sides: beyond, the size must be wrong
constexpr int largest_side = 1 << 20;

constexpr std::string_view kForms =
    "key points come as JSON of OpenPose (\"people\"), DWPose (\"bodies\"), mmpose (\"instance_info\", or plain [133][3]) or COCO (\"annotations\"); "
    "a picture or a video needs a detector of key points first, e.g. DWPose";

/// Notes what is wrong with one input, the first few in full and the rest as a number: a clip has thousands of places for the same mistake.
class Trouble {
  public:
    Trouble(std::string_view key, const std::string& file, Mistakes& mistakes) : key_{key}, mistakes_{mistakes} { of(file); }
    Trouble(const Trouble&) = delete;
    Trouble& operator=(const Trouble&) = delete;
    ~Trouble() {
        if (count_ > most_told) mistakes_.add(cat(key_, ": and ", count_ - most_told, " more of the kind"));
    }

    /// What is added from now on is about this file.
    void of(const std::string& file) { begin_ = cat(key_, " ", file, ": "); }

    void add(const std::string& text) {
        if (++count_ <= most_told) mistakes_.add(begin_ + text);
    }
    void add(const std::string& place, const json& value, std::string_view allowed) {
        if (++count_ <= most_told) mistakes_.add(begin_ + place, brief(value), allowed);
    }
    [[nodiscard]] bool any() const { return count_ > 0; }

  private:
    static std::string brief(const json& value) {
        if (value.is_array()) return cat("an array of ", value.size());
        if (value.is_object()) return "an object";
        auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);
        if (text.size() > 40) text = text.substr(0, 37) + "...";
        return text;
    }

    static constexpr std::size_t most_told = 8;
    std::string key_;
    std::string begin_;
    Mistakes& mistakes_;
    std::size_t count_ = 0;
};

/// The member, unless it is missing or null: editors write null for hands that nobody drew.
const json* member(const json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_finite(const json& value) {
    return value.is_number() && std::isfinite(value.get<double>());
}

ImageSize size_of(const json& object, std::initializer_list<std::pair<const char*, const char*>> names, const std::string& place, Trouble& trouble) {
    ImageSize size;
    const auto read = [&](const char* name, int& side) {
        const auto* const value = member(object, name);
        if (value == nullptr) return;
        if (is_finite(*value) && value->get<double>() >= 1 && value->get<double>() <= largest_side)
            side = static_cast<int>(value->get<double>());
        else
            trouble.add(cat(place, name), *value, cat("must be a number of pixels from 1 to ", largest_side));
    };
    for (const auto& [width, height] : names) {
        if (size.known()) break;
        read(width, size.width);
        read(height, size.height);
    }
    return size.known() ? size : ImageSize{};
}

/// Reads one file's JSON into frames, points as they are written there.
class Reader {
  public:
    Reader(KeyPointClip& clip, Trouble& trouble) : clip_{clip}, trouble_{trouble} {}

    void read(const json& root, const std::string& name) {
        name_ = name;
        if (root.is_array())
            read_array(root);
        else if (root.is_object())
            read_object(root);
        else
            trouble_.add("the file", root, kForms);
    }

  private:
    // ---- what kind of file ----

    void read_object(const json& root) {
        if (const auto* const fps = member(root, "fps")) {
            if (is_finite(*fps) && fps->get<double>() > 0 && fps->get<double>() <= 1000)
                clip_.fps = fps->get<double>();
            else
                trouble_.add("fps", *fps, "must be above 0 and at most 1000 frames a second");
        }
        const auto* const frames = member(root, "frames");
        const auto* const info = member(root, "instance_info");
        if (frames != nullptr && frames->is_array())
            read_frames(*frames, "frames", size_of(root, {{"width", "height"}, {"canvas_width", "canvas_height"}}, "", trouble_));
        else if (info != nullptr)
            info->is_array() ? read_array(*info) : trouble_.add("instance_info", *info, "must be an array of frames, as mmpose writes it");
        else if (member(root, "annotations") != nullptr)
            read_coco(root);
        else if (is_frame(root))
            add_frame(root, "", {});
        else
            trouble_.add(cat("holds ", root.empty() ? "nothing" : keys_of(root), "; ", kForms));
    }

    static bool is_frame(const json& object) {
        return std::ranges::any_of(std::array{"people", "bodies", "instances"}, [&](const char* name) { return object.contains(name); });
    }

    static std::string keys_of(const json& object) {
        std::vector<std::string> keys;
        for (const auto& [key, value] : object.items()) {
            if (keys.size() == 6) return cat(join(keys), " ...");
            keys.push_back(in_quotes(key.substr(0, 40)));
        }
        return join(keys);
    }

    void read_array(const json& root) {
        if (root.empty()) return;
        const auto& first = root.front();
        if (first.is_object() && first.contains("keypoints") && !is_frame(first)) {  // mmpose's answer for one picture
            set_form(KeyPointForm::whole_body);
            add_instances(root, "");
        } else if (first.is_array()) {
            read_plain(root);
        } else {
            read_frames(root, "", {});
        }
    }

    void read_frames(const json& frames, const std::string& place, const ImageSize& size) {
        if (static_cast<std::int64_t>(frames.size()) > most_frames) {
            trouble_.add(place + "the clip", frames, cat("at most ", most_frames, " frames are read; cut it"));
            return;
        }
        for (std::size_t i = 0; i < frames.size(); ++i) add_frame(frames[i], cat(place, "[", i, "]."), size);
    }

    /// [133][3], an array of those (frames), or of arrays of those (people of frames).
    void read_plain(const json& root) {
        std::size_t depth = 0;
        for (const auto* part = &root; depth < 5 && part->is_array() && !part->empty(); part = &part->front()) ++depth;
        if (depth < 2 || depth > 4) {
            trouble_.add("the array", root, cat("plain arrays must be points [133][3], frames of them, or people in frames; ", kForms));
            return;
        }
        set_form(KeyPointForm::whole_body);
        if (depth == 2) {
            add_empty_frame();
            add_whole_body(root, nullptr, "the array");
            return;
        }
        for (std::size_t i = 0; i < root.size(); ++i) {
            const auto place = cat("[", i, "]");
            add_empty_frame();
            if (!root[i].is_array())
                trouble_.add(place, root[i], "must be an array, as the ones before");
            else if (depth == 3)
                add_whole_body(root[i], nullptr, place);
            else
                for (std::size_t j = 0; j < root[i].size(); ++j) add_whole_body(root[i][j], nullptr, cat(place, "[", j, "]"));
        }
    }

    // ---- frames ----

    KeyPointFrame& add_empty_frame() {
        clip_.frames.push_back({.people = {}, .size = {}, .name = name_});
        return clip_.frames.back();
    }

    void set_form(KeyPointForm form) {
        if (form_ && *form_ != form)
            trouble_.add(cat("holds frames in the forms of ", name_of(*form_), " and ", name_of(form), ", which do not belong together"));
        form_ = clip_.form = form;
    }

    /// An object of one frame; null: nobody.
    void add_frame(const json& object, const std::string& place, const ImageSize& clip_size) {
        if (object.is_null()) {
            add_empty_frame().size = clip_size;
            return;
        }
        if (!object.is_object() || !is_frame(object)) {
            trouble_.add(place.empty() ? "the frame" : place.substr(0, place.size() - 1), object, "is no frame of key points");
            return;
        }
        auto size = size_of(object, {{"canvas_width", "canvas_height"}, {"width", "height"}}, place, trouble_);
        if (!size.known()) size = clip_size;
        if (object.contains("people")) {
            set_form(KeyPointForm::openpose);
            add_empty_frame();
            add_openpose(object, place);
        } else if (object.contains("bodies")) {
            set_form(KeyPointForm::dwpose);
            add_empty_frame();
            add_dwpose(object, place);
        } else {
            set_form(KeyPointForm::whole_body);
            add_numbered(object, place);
        }
        if (!clip_.frames.empty()) clip_.frames.back().size = size;
    }

    Person& add_person() { return clip_.frames.back().people.emplace_back(); }

    // ---- points ----

    /// Rows of x, y and perhaps a score; without one they count as seen. Nothing where some are none.
    std::optional<Points> rows(const json& value, const std::string& place) {
        if (!value.is_array()) {
            trouble_.add(place, value, "must be an array of points");
            return std::nullopt;
        }
        Points points;
        points.reserve(value.size());
        for (std::size_t i = 0; i < value.size(); ++i) {
            const auto& row = value[i];
            const auto row_place = [&] { return cat(place, "[", i, "]"); };
            if (!row.is_array() || row.size() < 2) {
                trouble_.add(row_place(), row, "must be a point: x, y and perhaps a score");
                return std::nullopt;
            }
            for (std::size_t j = 0; j < std::min<std::size_t>(row.size(), 3); ++j)
                if (!is_finite(row[j])) {
                    trouble_.add(row_place() + cat("[", j, "]"), row[j], "must be a number");
                    return std::nullopt;
                }
            points.push_back({row[0].get<double>(), row[1].get<double>(), row.size() > 2 ? row[2].get<double>() : 1.0});
        }
        return points;
    }

    /// Numbers one behind the other: x, y, score.
    std::optional<Points> triples(const json& value, const std::string& place, std::string_view allowed, std::initializer_list<std::size_t> sizes) {
        if (!value.is_array() || std::ranges::find(sizes, value.size()) == sizes.end()) {
            trouble_.add(place, value, allowed);
            return std::nullopt;
        }
        for (std::size_t i = 0; i < value.size(); ++i)
            if (!is_finite(value[i])) {
                trouble_.add(cat(place, "[", i, "]"), value[i], "must be a number");
                return std::nullopt;
            }
        Points points(value.size() / 3);
        for (std::size_t i = 0; i < points.size(); ++i)
            points[i] = {value[3 * i].get<double>(), value[3 * i + 1].get<double>(), value[3 * i + 2].get<double>()};
        return points;
    }

    std::optional<std::vector<double>> scores(const json& value, std::size_t size, const std::string& place) {
        if (!value.is_array() || value.size() != size) {
            trouble_.add(place, value, cat("must be ", size, " scores, one a point"));
            return std::nullopt;
        }
        std::vector<double> numbers;
        for (const auto& one : value) {
            if (!is_finite(one)) {
                trouble_.add(place, one, "must be a number");
                return std::nullopt;
            }
            numbers.push_back(one.get<double>());
        }
        return numbers;
    }

    // ---- OpenPose ----

    void add_openpose(const json& object, const std::string& place) {
        const auto& people = object["people"];
        if (people.is_null()) return;
        if (!people.is_array()) {
            trouble_.add(place + "people", people, "must be an array of people");
            return;
        }
        for (std::size_t i = 0; i < people.size(); ++i) {
            const auto person_place = cat(place, "people[", i, "]");
            if (people[i].is_null()) continue;
            if (!people[i].is_object())
                trouble_.add(person_place, people[i], "must be an object with \"pose_keypoints_2d\"");
            else
                add_openpose_person(people[i], person_place + ".");
        }
    }

    void add_openpose_person(const json& object, const std::string& place) {
        auto& person = add_person();
        const auto take = [&](const char* name, std::string_view allowed, std::initializer_list<std::size_t> sizes) {
            const auto* const value = member(object, name);
            if (value == nullptr || (value->is_array() && value->empty())) return Points{};
            auto points = triples(*value, place + name, allowed, sizes).value_or(Points{});
            for (auto& point : points)
                if (point.x == 0 && point.y == 0) point.score = 0;  // nobody stands on the very corner: some programs write scores of 1 there
            return points;
        };
        const auto body =
            take("pose_keypoints_2d", "must hold 54 numbers (18 points) or 75 (BODY_25): x, y, score", {3 * num_body_points, 3 * num_body_25_points});
        if (body.size() == num_body_25_points)
            person.body = from_body_25(body);
        else
            std::ranges::copy(body, person.body.begin());
        constexpr auto hand = "must hold 63 numbers: x, y, score of 21 points";
        std::ranges::copy(take("hand_left_keypoints_2d", hand, {3 * num_hand_points}), person.hands[left].begin());
        std::ranges::copy(take("hand_right_keypoints_2d", hand, {3 * num_hand_points}), person.hands[right].begin());
        const auto face = take("face_keypoints_2d", "must hold 204 numbers (68 points) or 210 (with the pupils): x, y, score",
                               {3 * num_face_points, 3 * num_face_points + 6});
        std::copy_n(face.begin(), std::min(face.size(), num_face_points), person.face.begin());
    }

    // ---- DWPose ----

    /// One person's points of a part of a frame, taken before anything is stacked: hands hold all left ones, then all right ones.
    struct Part {
        const char* name;
        std::size_t num_points;
        const json* points = nullptr;
        const json* scores = nullptr;
    };

    Part part_of(const json& object, const char* name, const char* score_name, std::size_t num_points, std::size_t num_rows, const std::string& place) {
        Part part{name, num_points, member(object, name), member(object, score_name)};
        const auto fits = [&](const json*& value, const char* what) {
            if (value == nullptr || (value->is_array() && value->empty())) {
                value = nullptr;
            } else if (!value->is_array() || value->size() != num_rows) {
                trouble_.add(place + what, *value, cat("must be an array of ", num_rows, ", as many people as in the subset want"));
                value = nullptr;
            }
        };
        fits(part.points, name);
        fits(part.scores, score_name);
        return part;
    }

    template <std::size_t size>
    void take_part(const Part& part, std::size_t row, std::array<KeyPoint, size>& to, const std::string& place) {
        if (part.points == nullptr) return;
        auto points = rows((*part.points)[row], cat(place, part.name, "[", row, "]"));
        if (!points) return;
        if (points->size() != size) {
            trouble_.add(cat(place, part.name, "[", row, "]"), (*part.points)[row], cat("must hold ", size, " points"));
            return;
        }
        if (part.scores != nullptr) {
            const auto given = scores((*part.scores)[row], size, cat(place, part.name, "_score[", row, "]"));
            if (!given) return;
            for (std::size_t i = 0; i < size; ++i) (*points)[i].score = (*given)[i];
        }
        for (auto& point : *points)
            if (point.x == -1 && point.y == -1) point.score = 0;  // the program's mark for "not seen"
        std::ranges::copy(*points, to.begin());
    }

    void add_dwpose(const json& object, const std::string& place) {
        const auto& bodies = object["bodies"];
        const auto* const candidate_value = member(bodies, "candidate");
        if (candidate_value == nullptr) {
            trouble_.add(place + "bodies", bodies, "must be an object with \"candidate\" and \"subset\", as DWPose's program returns it");
            return;
        }
        const auto candidate = rows(*candidate_value, place + "bodies.candidate");
        if (!candidate) return;
        const auto bodies_of_frame = subset_of(bodies, *candidate, place);
        if (!bodies_of_frame) return;
        const auto num_people = bodies_of_frame->size();
        const auto hands = part_of(object, "hands", "hands_score", num_hand_points, 2 * num_people, place);
        const auto faces = part_of(object, "faces", "faces_score", num_face_points, num_people, place);
        for (std::size_t i = 0; i < num_people; ++i) {
            auto& person = add_person();
            person.body = (*bodies_of_frame)[i];
            take_part(hands, i, person.hands[left], place);
            take_part(hands, num_people + i, person.hands[right], place);
            take_part(faces, i, person.face, place);
        }
    }

    /// The bodies that the subset's rows pick from the candidates; without a subset each 18 of them.
    std::optional<std::vector<BodyPoints>> subset_of(const json& bodies, const Points& candidate, const std::string& place) {
        const auto* subset = member(bodies, "subset");
        json one_row;
        if (subset != nullptr && subset->is_array() && !subset->empty() && subset->front().is_number()) {
            one_row = json::array({*subset});
            subset = &one_row;
        }
        if (subset == nullptr) return all_of(candidate, bodies, place);
        if (!subset->is_array()) {
            trouble_.add(place + "bodies.subset", *subset, "must be an array of a row for each person");
            return std::nullopt;
        }
        const auto* score = member(bodies, "score");
        if (score != nullptr && (!score->is_array() || score->size() != subset->size())) score = nullptr;
        std::vector<BodyPoints> found;
        for (std::size_t i = 0; i < subset->size(); ++i) {
            const auto row_place = cat(place, "bodies.subset[", i, "]");
            auto body = body_of((*subset)[i], candidate, row_place);
            if (!body) return std::nullopt;
            if (score != nullptr) weigh(*body, (*score)[i]);
            found.push_back(*body);
        }
        return found;
    }

    std::optional<std::vector<BodyPoints>> all_of(const Points& candidate, const json& bodies, const std::string& place) {
        if (candidate.size() % num_body_points != 0) {
            trouble_.add(place + "bodies.candidate", bodies["candidate"], "must hold 18 points for each person, or come with a \"subset\"");
            return std::nullopt;
        }
        std::vector<BodyPoints> found(candidate.size() / num_body_points);
        for (std::size_t i = 0; i < candidate.size(); ++i) found[i / num_body_points][i % num_body_points] = candidate[i];
        return found;
    }

    std::optional<BodyPoints> body_of(const json& row, const Points& candidate, const std::string& place) {
        if (!row.is_array() || row.size() < num_body_points) {
            trouble_.add(place, row, "must hold 18 indices into \"candidate\", or -1 for what is not seen");
            return std::nullopt;
        }
        BodyPoints body;
        for (std::size_t i = 0; i < num_body_points; ++i) {
            const bool number = is_finite(row[i]);
            const double index = number ? row[i].get<double>() : 0;
            if (number && index < 0) continue;
            if (!number || index != std::floor(index) || index >= static_cast<double>(candidate.size())) {
                trouble_.add(cat(place, "[", i, "]"), row[i], cat("must be -1, or an index into the ", candidate.size(), " candidates"));
                return std::nullopt;
            }
            body[i] = candidate[static_cast<std::size_t>(index)];
            if (!body[i].seen()) body[i].score = 1;  // the subset decides what is seen
        }
        return body;
    }

    static void weigh(BodyPoints& body, const json& row) {
        if (!row.is_array() || row.size() < num_body_points) return;
        for (std::size_t i = 0; i < num_body_points; ++i)
            if (body[i].seen() && is_finite(row[i]) && row[i].get<double>() > 0.3) body[i].score = row[i].get<double>();
    }

    // ---- mmpose ----

    /// A frame with a number; those that are missing in between showed nobody.
    void add_numbered(const json& object, const std::string& place) {
        if (const auto* const value = member(object, "frame_id")) {
            const bool number = is_finite(*value) && std::abs(value->get<double>()) < 1e15;
            const auto id = number ? static_cast<std::int64_t>(value->get<double>()) : 0;
            if (!number || (last_id_ && (id <= *last_id_ || id - *last_id_ > most_frames - std::ssize(clip_.frames)))) {
                trouble_.add(place + "frame_id", *value, "must rise from frame to frame");
                return;
            }
            for (auto missing = last_id_ ? id - *last_id_ - 1 : 0; missing > 0; --missing) add_empty_frame();
            last_id_ = id;
        }
        if (object["instances"].is_null())
            add_empty_frame();
        else
            add_instances(object["instances"], place + "instances");
    }

    void add_instances(const json& instances, const std::string& place) {
        add_empty_frame();
        if (!instances.is_array()) {
            trouble_.add(place, instances, "must be an array of people");
            return;
        }
        for (std::size_t i = 0; i < instances.size(); ++i) {
            const auto* const points = member(instances[i], "keypoints");
            if (points == nullptr)
                trouble_.add(cat(place, "[", i, "]"), instances[i], "must be an object with \"keypoints\"");
            else
                add_whole_body(*points, member(instances[i], "keypoint_scores"), cat(place, "[", i, "].keypoints"));
        }
    }

    void add_whole_body(const json& value, const json* score_value, const std::string& place) {
        auto points = rows(value, place);
        if (!points) return;
        if (points->size() != num_whole_body_points && points->size() != num_coco_points) {
            trouble_.add(place, value, "must hold 133 points (COCO-WholeBody) or 17 (COCO)");
            return;
        }
        if (score_value != nullptr) {
            const auto given = scores(*score_value, points->size(), place + "'s scores");
            if (!given) return;
            for (std::size_t i = 0; i < points->size(); ++i) (*points)[i].score = (*given)[i];
        }
        add_person() = from_whole_body(*points);
    }

    // ---- COCO ----

    void read_coco(const json& root) {
        set_form(KeyPointForm::coco);
        std::map<std::string, std::size_t> frame_of;  // by image_id as JSON text
        const auto add_image = [&](const json& image, const std::string& place) {
            auto& frame = add_empty_frame();
            frame.size = size_of(image, {{"width", "height"}}, place, trouble_);
            if (const auto* const name = member(image, "file_name"); name != nullptr && name->is_string()) frame.name = name->get<std::string>();
            if (const auto* const id = member(image, "id"); id != nullptr) frame_of.emplace(text_of_id(*id), clip_.frames.size() - 1);
        };
        if (const auto* const images = member(root, "images"); images != nullptr && images->is_array())
            for (std::size_t i = 0; i < images->size(); ++i) add_image((*images)[i], cat("images[", i, "]."));
        else if (const auto* const image = member(root, "image"); image != nullptr)
            add_image(*image, "image.");
        const auto& annotations = root["annotations"];
        if (!annotations.is_array()) {
            trouble_.add("annotations", annotations, "must be an array");
            return;
        }
        bool any = false;
        for (std::size_t i = 0; i < annotations.size(); ++i) {
            const auto* const value = member(annotations[i], "keypoints");
            if (value == nullptr) continue;  // of a thing, or of a crowd
            any = true;
            const auto* const id = member(annotations[i], "image_id");
            const auto [frame, is_new] = frame_of.emplace(id != nullptr ? text_of_id(*id) : "", clip_.frames.size());
            if (is_new) add_empty_frame();
            add_annotation(*value, clip_.frames[frame->second], cat("annotations[", i, "].keypoints"));
        }
        if (!any) trouble_.add("annotations", annotations, "hold no \"keypoints\"; COCO's files of people's key points do");
    }

    static std::string text_of_id(const json& id) { return id.is_primitive() ? id.dump(-1, ' ', true, json::error_handler_t::replace) : ""; }

    void add_annotation(const json& value, KeyPointFrame& frame, const std::string& place) {
        auto points = triples(value, place, "must hold 51 numbers: x, y, visibility of 17 points", {3 * num_coco_points});
        if (!points) return;
        if (std::ranges::all_of(*points, [](const KeyPoint& point) { return point.score == 0; })) return;  // too small to annotate
        for (auto& point : *points) {
            if (point.score != 0 && point.score != 1 && point.score != 2) {
                trouble_.add(place, json(point.score), "a visibility must be 0 (not there), 1 (covered) or 2 (visible)");
                return;
            }
            point.score /= 2;
        }
        frame.people.push_back(from_whole_body(*points));
    }

    KeyPointClip& clip_;
    Trouble& trouble_;
    std::string name_;
    std::optional<KeyPointForm> form_;
    std::optional<std::int64_t> last_id_;
};

// ---- pixels to shares ----

/// Whether the points are shares already. Single ones may lie outside the picture, but most of a person in pixels is beyond pixel 2.
bool are_shares(const KeyPointClip& clip) {
    std::int64_t inside = 0;
    std::int64_t outside = 0;
    const auto within = [](double share) { return share >= -1 && share <= 2; };
    for (const auto& frame : clip.frames)
        for (const auto& person : frame.people)
            for_each_point(person, [&](const KeyPoint& point) {
                if (point.seen()) ++(within(point.x) && within(point.y) ? inside : outside);
            });
    return inside >= outside;
}

/// Places of what is not seen mean nothing: kept where they are plausible, since a map of a person is drawn from seen ones alone.
void to_shares(KeyPointFrame& frame, bool pixels, std::size_t number, Trouble& trouble) {
    const double width = pixels ? frame.size.width : 1;
    const double height = pixels ? frame.size.height : 1;
    bool far = false;
    for (auto& person : frame.people)
        for_each_point(person, [&](KeyPoint& point) {
            point.x /= width;
            point.y /= height;
            point.score = std::clamp(point.score, 0.0, 1.0);
            if (std::abs(point.x) <= farthest && std::abs(point.y) <= farthest) return;
            far = far || point.seen();
            point = {};
        });
    if (far)
        trouble.add(
            cat("frame ", number, ": a point lies more than ", farthest, " pictures away",
                pixels ? cat(" from one of ", frame.size.width, "x", frame.size.height, " pixels; is the size right?") : "; points are taken as shares"));
}

void to_shares(KeyPointClip& clip, const ImageSize& given, Trouble& trouble) {
    const bool pixels = !are_shares(clip);
    for (std::size_t i = 0; i < clip.frames.size(); ++i) {
        auto& frame = clip.frames[i];
        if (!frame.size.known()) frame.size = given;
        clip.lacks_size = clip.lacks_size || (!frame.size.known() && !frame.people.empty());
        if (!pixels || frame.size.known()) to_shares(frame, pixels, i, trouble);
    }
}

/// Whole numbers inside names by value, so that 2 stands before 10.
bool comes_before(const std::string& a, const std::string& b) {
    const auto is_digit = [](char letter) { return std::isdigit(static_cast<unsigned char>(letter)) != 0; };
    const auto number = [&](const std::string& text, std::size_t& at) {
        while (at < text.size() && text[at] == '0') ++at;
        const auto begin = at;
        while (at < text.size() && is_digit(text[at])) ++at;
        return std::string_view(text).substr(begin, at - begin);
    };
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < a.size() && j < b.size()) {
        if (is_digit(a[i]) && is_digit(b[j])) {
            const auto left_number = number(a, i), right_number = number(b, j);
            if (left_number.size() != right_number.size()) return left_number.size() < right_number.size();
            if (left_number != right_number) return left_number < right_number;
        } else {
            if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
            ++i;
            ++j;
        }
    }
    return a.size() - i != b.size() - j ? a.size() - i < b.size() - j : a < b;
}

std::vector<fs::path> json_files_in(const fs::path& folder) {
    std::vector<fs::path> files;
    std::error_code error;
    for (fs::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error)) {
        std::error_code ignored;
        if (entry->path().extension() == ".json" && entry->is_regular_file(ignored)) files.push_back(entry->path());
    }
    if (error) refuse(cat(folder.string(), ": cannot be read: ", error.message()));
    std::ranges::sort(files, [](const fs::path& a, const fs::path& b) { return comes_before(a.filename().string(), b.filename().string()); });
    return files;
}

std::optional<json> parse(std::string_view text, Trouble& trouble) {
    try {
        return json::parse(text);
    } catch (const json::exception& error) {
        std::string_view why = error.what();
        if (const auto bracket = why.find("] "); bracket != std::string_view::npos) why.remove_prefix(bracket + 2);
        trouble.add(cat("is no JSON: ", why.substr(0, 160), "; ", kForms));
        return std::nullopt;
    }
}

void finish(KeyPointClip& clip, const ImageSize& given, std::string_view key, const std::string& name, Mistakes& mistakes) {
    Trouble trouble(key, name, mistakes);
    if (clip.frames.empty()) trouble.add(cat("holds no frames; ", kForms));
    to_shares(clip, given, trouble);
}

}  // namespace

std::string_view name_of(KeyPointForm form) {
    switch (form) {
        case KeyPointForm::openpose: return "OpenPose";
        case KeyPointForm::dwpose: return "DWPose";
        case KeyPointForm::whole_body: return "mmpose";
        case KeyPointForm::coco: return "COCO";
    }
    return "?";
}

Person from_whole_body(std::span<const KeyPoint> points) {
    ensure(points.size() == num_coco_points || points.size() == num_whole_body_points, "key points that are neither COCO's nor COCO-WholeBody's");
    constexpr std::array<std::size_t, num_body_points> from{0, 0, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3};
    Person person;
    for (std::size_t i = 0; i < num_body_points; ++i) person.body[i] = points[from[i]];
    const auto &l = points[5], &r = points[6];
    person.body[neck] = {(l.x + r.x) / 2, (l.y + r.y) / 2, l.seen() && r.seen() ? std::min(l.score, r.score) : 0};
    if (points.size() == num_coco_points) return person;
    constexpr std::size_t face = 23;  // behind 17 of the body and 6 of the feet
    std::ranges::copy(points.subspan(face, num_face_points), person.face.begin());
    std::ranges::copy(points.subspan(face + num_face_points, num_hand_points), person.hands[left].begin());
    std::ranges::copy(points.subspan(face + num_face_points + num_hand_points, num_hand_points), person.hands[right].begin());
    return person;
}

BodyPoints from_body_25(std::span<const KeyPoint> points) {
    ensure(points.size() == num_body_25_points, "key points that are not BODY_25's");
    constexpr std::array<std::size_t, num_body_points> from{0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18};
    BodyPoints body;
    for (std::size_t i = 0; i < num_body_points; ++i) body[i] = points[from[i]];
    return body;
}

KeyPointClip parse_key_points(std::string_view text, const std::string& name, const ImageSize& given, std::string_view key, Mistakes& mistakes) {
    KeyPointClip clip;
    {
        Trouble trouble(key, name, mistakes);
        const auto root = parse(text, trouble);
        if (root) Reader(clip, trouble).read(*root, name);
        if (trouble.any()) return clip;
    }
    finish(clip, given, key, name, mistakes);
    return clip;
}

KeyPointClip read_key_points(const fs::path& path, const ImageSize& given, std::string_view key, Mistakes& mistakes) {
    KeyPointClip clip;
    try {
        if (std::error_code error; !fs::is_directory(path, error)) return parse_key_points(read_text(path), path.string(), given, key, mistakes);
        Trouble trouble(key, path.string(), mistakes);
        Reader reader(clip, trouble);
        for (const auto& file : json_files_in(path)) {
            trouble.of(file.string());
            const auto root = parse(read_text(file), trouble);
            if (root) reader.read(*root, file.filename().string());
        }
        if (trouble.any()) return clip;
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        mistakes.add(cat(key, ": ", error.what()));
        return clip;
    }
    finish(clip, given, key, path.string(), mistakes);
    return clip;
}

std::string to_openpose(std::span<const KeyPointFrame> frames, const ImageSize& size) {
    const auto numbers = [&](const auto& points) {
        auto flat = json::array();
        for (const auto& point : points)
            for (const double value : {point.x * size.width, point.y * size.height, point.score}) flat.push_back(point.seen() ? value : 0.0);
        return flat;
    };
    auto all = json::array();
    for (const auto& frame : frames) {
        auto people = json::array();
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

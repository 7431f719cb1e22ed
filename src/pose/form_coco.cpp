#include "base/text.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace weft::pose::forms {

namespace {

std::string text_of_id(const json& id) {
    return id.is_primitive() ? id.dump(-1, ' ', true, json::error_handler_t::replace) : "";
}

void add_annotation(const json& value, KeyPointFrame& frame, const std::string& place, Trouble& trouble) {
    auto points = triples(value, place, "must hold 51 numbers: x, y, visibility of 17 points", {3 * num_coco_points}, trouble);
    if (!points) return;
    if (std::ranges::all_of(*points, [](const KeyPoint& point) { return point.score == 0; })) return;  // too small to annotate
    for (auto& point : *points) {
        if (point.score != 0 && point.score != 1 && point.score != 2) {
            trouble.add(place, json(point.score), "a visibility must be 0 (not there), 1 (covered) or 2 (visible)");
            return;
        }
        point.score /= 2;
    }
    frame.people.push_back(from_whole_body(*points));
}

}  // namespace

std::vector<KeyPointFrame> frames_of_coco(const json& root, const std::string& name, Trouble& trouble) {
    std::vector<KeyPointFrame> frames;
    std::map<std::string, std::size_t> frame_of;  // by image_id as JSON text
    const auto add_frame = [&]() -> KeyPointFrame& { return frames.emplace_back(KeyPointFrame{.people = {}, .size = {}, .name = name}); };
    const auto add_image = [&](const json& image, const std::string& place) {
        auto& frame = add_frame();
        frame.size = size_of(image, {{"width", "height"}}, place, trouble);
        if (const auto* const file = member(image, "file_name"); file != nullptr && file->is_string()) frame.name = file->get<std::string>();
        if (const auto* const id = member(image, "id"); id != nullptr) frame_of.emplace(text_of_id(*id), frames.size() - 1);
    };
    if (const auto* const images = member(root, "images"); images != nullptr && images->is_array())
        for (std::size_t i = 0; i < images->size(); ++i) add_image((*images)[i], cat("images[", i, "]."));
    else if (const auto* const image = member(root, "image"); image != nullptr)
        add_image(*image, "image.");
    const auto& annotations = root["annotations"];
    if (!annotations.is_array()) {
        trouble.add("annotations", annotations, "must be an array");
        return frames;
    }
    bool any = false;
    for (std::size_t i = 0; i < annotations.size(); ++i) {
        const auto* const value = member(annotations[i], "keypoints");
        if (value == nullptr) continue;  // of a thing, or of a crowd
        any = true;
        const auto* const id = member(annotations[i], "image_id");
        const auto [frame, is_new] = frame_of.emplace(id != nullptr ? text_of_id(*id) : "", frames.size());
        if (is_new) add_frame();
        add_annotation(*value, frames[frame->second], cat("annotations[", i, "].keypoints"), trouble);
    }
    if (!any) trouble.add("annotations", annotations, "hold no \"keypoints\"; COCO's files of people's key points do");
    return frames;
}

}  // namespace weft::pose::forms

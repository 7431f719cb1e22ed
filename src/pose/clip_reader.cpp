#include "pose/clip_reader.hpp"

#include "base/text.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <utility>

namespace weft::pose {

using forms::is_finite;
using forms::kForms;
using forms::member;
using forms::size_of;
using nlohmann::json;

namespace {

constexpr std::int64_t most_frames = 1'000'000;

bool is_frame(const json& object) {
    return std::ranges::any_of(std::array{"people", "bodies", "instances"}, [&](const char* name) { return object.contains(name); });
}

std::string keys_of(const json& object) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) {
        if (keys.size() == 6) return cat(join(keys), " ...");
        keys.push_back(in_quotes(key.substr(0, 40)));
    }
    return join(keys);
}

}  // namespace

void ClipReader::read(const json& root, const std::string& name) {
    name_ = name;
    if (root.is_array())
        read_array(root);
    else if (root.is_object())
        read_object(root);
    else
        trouble_.add("the file", root, kForms);
}

void ClipReader::read_object(const json& root) {
    if (const auto* const fps = member(root, "fps")) {
        if (is_finite(*fps) && fps->get<double>() > 0 && fps->get<double>() <= 1000)
            clip_.fps = fps->get<double>();
        else
            trouble_.add("fps", *fps, "must be above 0 and at most 1000 frames a second");
    }
    const auto* const frames = member(root, "frames");
    const auto* const info = member(root, "instance_info");
    if (frames != nullptr && frames->is_array()) {
        read_frames(*frames, "frames", size_of(root, {{"width", "height"}, {"canvas_width", "canvas_height"}}, "", trouble_));
    } else if (info != nullptr) {
        info->is_array() ? read_array(*info) : trouble_.add("instance_info", *info, "must be an array of frames, as mmpose writes it");
    } else if (member(root, "annotations") != nullptr) {
        set_form(KeyPointForm::coco);
        append(forms::frames_of_coco(root, name_, trouble_));
    } else if (is_frame(root)) {
        add_frame(root, "", {});
    } else {
        trouble_.add(cat("holds ", root.empty() ? "nothing" : keys_of(root), "; ", kForms));
    }
}

void ClipReader::read_array(const json& root) {
    if (root.empty()) return;
    const auto& first = root.front();
    if (first.is_object() && first.contains("keypoints") && !is_frame(first)) {  // mmpose's answer for one picture
        set_form(KeyPointForm::whole_body);
        add_empty_frame().people = forms::people_of_instances(root, "", trouble_);
    } else if (first.is_array()) {
        read_plain(root);
    } else {
        read_frames(root, "", {});
    }
}

void ClipReader::read_frames(const json& frames, const std::string& place, const ImageSize& size) {
    if (static_cast<std::int64_t>(frames.size()) > most_frames) {
        trouble_.add(place + "the clip", frames, cat("at most ", most_frames, " frames are read; cut it"));
        return;
    }
    for (std::size_t i = 0; i < frames.size(); ++i) add_frame(frames[i], cat(place, "[", i, "]."), size);
}

void ClipReader::read_plain(const json& root) {
    const auto depth = forms::depth_of(root);
    if (depth < 2 || depth > 4) {
        trouble_.add("the array", root, cat("plain arrays must be points [133][3], frames of them, or people in frames; ", kForms));
        return;
    }
    set_form(KeyPointForm::whole_body);
    append(forms::frames_of_plain(root, depth, name_, trouble_));
}

void ClipReader::set_form(KeyPointForm form) {
    if (form_ && *form_ != form) trouble_.add(cat("holds frames in the forms of ", name_of(*form_), " and ", name_of(form), ", which do not belong together"));
    form_ = clip_.form = form;
}

KeyPointFrame& ClipReader::add_empty_frame() {
    clip_.frames.push_back({.people = {}, .size = {}, .name = name_});
    return clip_.frames.back();
}

void ClipReader::append(std::vector<KeyPointFrame> frames) {
    std::ranges::move(frames, std::back_inserter(clip_.frames));
}

void ClipReader::add_frame(const json& object, const std::string& place, const ImageSize& clip_size) {
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
        add_empty_frame().people = forms::people_of_openpose(object, place, trouble_);
    } else if (object.contains("bodies")) {
        set_form(KeyPointForm::dwpose);
        add_empty_frame().people = forms::people_of_dwpose(object, place, trouble_);
    } else {
        set_form(KeyPointForm::whole_body);
        add_numbered(object, place);
    }
    if (!clip_.frames.empty()) clip_.frames.back().size = size;
}

void ClipReader::add_numbered(const json& object, const std::string& place) {
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
    auto& frame = add_empty_frame();
    if (const auto* const instances = member(object, "instances")) frame.people = forms::people_of_instances(*instances, place + "instances", trouble_);
}

}  // namespace weft::pose

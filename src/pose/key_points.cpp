#include "pose/key_points.hpp"

#include "base/file.hpp"
#include "base/text.hpp"
#include "pose/clip_reader.hpp"
#include "pose/forms.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <optional>

namespace weft::pose {

namespace {

namespace fs = std::filesystem;
using forms::kForms;
using forms::Trouble;
using nlohmann::json;

constexpr double farthest = 10;  // from the picture, in its sides: beyond, the size must be wrong

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

KeyPointClip parse_key_points(std::string_view text, const std::string& name, const ImageSize& given, std::string_view key, Mistakes& mistakes) {
    KeyPointClip clip;
    {
        Trouble trouble(key, name, mistakes);
        const auto root = parse(text, trouble);
        if (root) ClipReader(clip, trouble).read(*root, name);
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
        ClipReader reader(clip, trouble);
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

}  // namespace weft::pose

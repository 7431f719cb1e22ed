#include "quality/case.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "io/picture.hpp"
#include "io/video_reader.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace weft::quality {

namespace fs = std::filesystem;

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kPartsForm = R"({"parts": [{"name": "hair", "label": 2, "figure": true}, ...], "mixed": 255} is wanted)";

std::uint8_t label_of(const Json& json, const std::string& name) {
    if (!json.is_number_integer() || json < 0 || json > 255) refuse(cat(name, ": ", json.dump(), " is no label; whole numbers from 0 to 255 are"));
    return json.get<std::uint8_t>();
}

/// Frames of one of the things that go side by side.
struct Source {
    std::string name;
    io::VideoReader reader;
    std::optional<io::Picture> frame = {};

    explicit Source(const fs::path& path) : name{path.string()}, reader{path} {}

    [[nodiscard]] bool advance() {
        frame = reader.next();
        return frame.has_value();
    }
    /// Number of frames, of which `passed` were judged and `frame` is the next.
    [[nodiscard]] std::int64_t count(std::int64_t passed) {
        if (!frame) return passed;
        for (++passed; reader.skip();) ++passed;
        return passed;
    }
};

void require_size(Mistakes& mistakes, const std::string& name, int width, int height, const io::VideoInfo& truth) {
    if (width != truth.width || height != truth.height)
        mistakes.add(cat(name, ": has ", width, " x ", height, " pixels, the truth ", truth.width, " x ", truth.height));
}

/// Red, green and blue of a picture of labels are the label.
std::vector<std::uint8_t> labels_of(const io::Picture& picture, const std::string& name, std::int64_t frame) {
    std::vector<std::uint8_t> labels(picture.rgb.size() / 3);
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto* pixel = &picture.rgb[i * 3];
        if (pixel[0] != pixel[1] || pixel[0] != pixel[2])
            refuse(cat(name, ": frame ", frame, " (counted from 0) is not grey at (", i % std::size_t(picture.width), ", ", i / std::size_t(picture.width),
                       "); the grey values of its pixels are their labels"));
        labels[i] = pixel[0];
    }
    return labels;
}

/// `action`, its refusals headed by the name of the file that they are about.
template <class Action>
auto about(const std::string& name, const Action& action) {
    try {
        return action();
    } catch (const Error& error) {
        throw Error(error.code(), cat(name, ": ", error.what()));
    }
}

}  // namespace

Parts parse_parts(std::string_view text, const std::string& name) {
    const auto json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) refuse(cat(name, ": is no JSON; ", kPartsForm));
    if (!json.is_object() || !json.contains("parts") || !json["parts"].is_array() || json["parts"].empty()) refuse(cat(name, ": lists no parts; ", kPartsForm));
    Parts parts;
    if (json.contains("mixed")) parts.mixed = label_of(json["mixed"], name);
    for (const auto& part : json["parts"]) {
        if (!part.is_object() || !part.contains("name") || !part["name"].is_string() || !part.contains("label") || !part.contains("figure") ||
            !part["figure"].is_boolean())
            refuse(cat(name, ": ", part.dump(), " is no part; ", kPartsForm));
        parts.parts.push_back({part["name"].get<std::string>(), label_of(part["label"], name), part["figure"].get<bool>()});
    }
    return parts;
}

Verdict judge(const fs::path& film_path, const fs::path& folder, std::int64_t frames) {
    if (!fs::is_directory(folder)) refuse(cat(folder.string(), ": is no folder; a case with truth/, parts/, parts.json and background.png is wanted"));
    Mistakes missing;
    for (const auto* const name : {"truth", "parts"})
        if (!fs::is_directory(folder / name)) missing.add(cat(name, ": is no folder"));
    for (const auto* const name : {"parts.json", "background.png"})
        if (!fs::is_regular_file(folder / name)) missing.add(cat(name, ": is no file"));
    missing.throw_if_any(cat(folder.string(), ": the case is not whole"));

    const auto parts_name = (folder / "parts.json").string();
    const auto parts = parse_parts(read_text(parts_name), parts_name);
    const auto background = io::read_picture(folder / "background.png");
    Source film{film_path};
    Source truth{folder / "truth"};
    Source labels{folder / "parts"};

    const auto& size = truth.reader.info();
    Mistakes sizes;
    require_size(sizes, film.name, film.reader.info().width, film.reader.info().height, size);
    require_size(sizes, labels.name, labels.reader.info().width, labels.reader.info().height, size);
    require_size(sizes, (folder / "background.png").string(), background.width, background.height, size);
    sizes.throw_if_any("film and case do not fit together");

    auto judge = about(parts_name, [&] { return Judge{size.width, size.height, background.rgb, parts}; });
    for (std::int64_t frame = 0; frames == 0 || frame < frames; ++frame) {
        const int sources_left = int(film.advance()) + int(truth.advance()) + int(labels.advance());
        if (sources_left == 0 && frames == 0) break;
        if (sources_left != 3)
            refuse(cat(frames == 0 ? "equally many frames are wanted" : cat(frames, " frames are to be judged"), ", but ", film.name, " has ",
                       film.count(frame), ", ", truth.name, " ", truth.count(frame), ", ", labels.name, " ", labels.count(frame)));
        const auto label = labels_of(*labels.frame, labels.name, frame);
        about(labels.name, [&] { judge.add(film.frame->rgb, truth.frame->rgb, label); });
    }
    return judge.verdict();
}

std::string to_json(const Verdict& verdict, Layout layout, std::optional<double> seam) {
    const auto number = [](double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); };
    Json parts = Json::object();
    for (const auto& [name, value] : verdict.colour_parts) parts[name] = number(value);
    Json json{{"frames", verdict.frames},
              {"overlap", number(verdict.overlap)},
              {"overlap_worst", number(verdict.overlap_worst)},
              {"colour", number(verdict.colour)},
              {"colour_worst", number(verdict.colour_worst)},
              {"colour_parts", parts},
              {"colour_background", number(verdict.colour_background)},
              {"flicker", number(verdict.flicker)},
              {"flicker_worst", number(verdict.flicker_worst)},
              {"psnr", number(std::isinf(verdict.psnr) ? 999 : verdict.psnr)}};
    if (seam) json["seam"] = number(*seam);
    return json.dump(layout == Layout::indented ? 1 : -1);
}

}  // namespace weft::quality

#include "app/pose_inputs.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "pose/follow.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <span>
#include <string_view>
#include <tuple>
#include <utility>

namespace weft::app {

namespace {

namespace fs = std::filesystem;
using pose::ImageSize;

constexpr double copy_tolerance = 0.05;  // of aspects: detectors resize to multiples of 64
constexpr double longest_aspect = 10;    // beyond, nobody fits into the picture

// ---- what the command line says ----

/// Two whole numbers with `separator` between them.
std::optional<std::pair<std::int64_t, std::int64_t>> two_numbers(const std::string& text, char separator) {
    const auto parts = split(text, separator);
    if (parts.size() != 2) return std::nullopt;
    std::int64_t numbers[2];
    for (std::size_t i = 0; i < 2; ++i) {
        const auto* const end = parts[i].data() + parts[i].size();
        const auto [stop, error] = std::from_chars(parts[i].data(), end, numbers[i]);
        if (error != std::errc{} || stop != end) return std::nullopt;
    }
    return std::pair{numbers[0], numbers[1]};
}

ImageSize parse_size(const std::string& text, Mistakes& mistakes) {
    const auto sides = two_numbers(text, 'x');
    const auto fits = [](std::int64_t side) { return side >= 1 && side <= 100'000; };
    if (sides && fits(sides->first) && fits(sides->second)) return {static_cast<int>(sides->first), static_cast<int>(sides->second)};
    mistakes.add("--size", in_quotes(text), "must be WIDTHxHEIGHT in pixels, of the frames that the key points were found in", "for example --size 1280x720");
    return {};
}

void choose_frames(const std::string& text, PoseInputs& inputs, Mistakes& mistakes) {
    const auto num_frames = std::ssize(inputs.driver.frames);
    inputs.end = num_frames;
    if (text.empty() || num_frames == 0) return;
    const auto ends = two_numbers(text, ',');
    if (ends && ends->first >= 0 && ends->first < ends->second && ends->second <= num_frames) {
        std::tie(inputs.begin, inputs.end) = *ends;
        return;
    }
    mistakes.add("--frames", in_quotes(text), cat("must be BEGIN,END with 0 <= BEGIN < END <= ", num_frames, ", the driver's frames; END is left out"),
                 cat("try --frames 0,", num_frames));
}

/// Places that can be written, are of the right kind, and do not hold what is read.
void check_outputs(const PoseArguments& arguments, Mistakes& mistakes) {
    const auto check = [&](const char* key, const fs::path& path, const char* ending) {
        if (path.empty()) return;
        if (ending != nullptr && path.extension() != ending) mistakes.add(key, path.string(), cat("must end in ", ending));
        if (const auto why = why_not_writable(path.parent_path()); ending != nullptr && !why.empty())
            mistakes.add(key, path.string(), cat("cannot be written: ", why), "name a place that can be written");
        for (const auto& input : {arguments.driver, arguments.reference, arguments.image, arguments.video}) {
            std::error_code ignored;
            if (!input.empty() && fs::equivalent(path, input, ignored)) mistakes.add(key, path.string(), "would replace what is read", "name another place");
        }
    };
    check("--output", arguments.output, nullptr);
    check("--preview", preview_path(arguments), ".png");
    check("--image-pose", arguments.image_pose, ".png");
    check("--json", arguments.json, ".json");
}

// ---- what is read ----

void gather(Mistakes& mistakes, std::string_view key, const auto& work) {
    try {
        work();
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        mistakes.add(cat(key, ": ", error.what()));
    }
}

bool alike(const ImageSize& a, const ImageSize& b) {
    return std::abs(a.aspect() / b.aspect() - 1) <= copy_tolerance;
}

/// The size of the frames: what was given, else what the file says. Shares hold for the one as for the other where the other is a smaller copy.
ImageSize size_of(std::span<const pose::KeyPointFrame> frames, const ImageSize& given, const std::string& key, Mistakes& mistakes) {
    ImageSize size = given;
    for (const auto& frame : frames) {
        if (!frame.size.known()) continue;
        if (!size.known()) size = frame.size;
        if (alike(size, frame.size)) continue;
        mistakes.add(cat(key, ": its frames are of ", text_of(frame.size), " pixels, but ",
                         given.known() ? "the picture or video that was named is of " : "the ones before of ", text_of(size),
                         "; both must show the same, so their aspects must agree"));
        break;
    }
    if (size.known() && (size.aspect() > longest_aspect || size.aspect() < 1 / longest_aspect))
        mistakes.add(cat(key, ": its frames of ", text_of(size), " pixels are narrower than 1 to ", longest_aspect, ", which no map is drawn for"));
    return size;
}

/// The frame that belongs to the picture by name, else the first that shows anyone.
const pose::KeyPointFrame* frame_for(const pose::KeyPointClip& clip, const std::string& image, std::string& remark) {
    if (clip.frames.size() == 1) return clip.frames.data();
    const auto named = std::ranges::find_if(
        clip.frames, [&](const auto& frame) { return !frame.name.empty() && fs::path(frame.name).filename() == fs::path(image).filename(); });
    if (named != clip.frames.end()) return &*named;
    if (clip.form == pose::KeyPointForm::coco) return nullptr;
    const auto first = std::ranges::find_if(clip.frames, [](const auto& frame) { return pose::surest(frame.people).has_value(); });
    const auto& frame = first == clip.frames.end() ? clip.frames.front() : *first;
    remark = cat(", frame ", &frame - clip.frames.data(), " of ", clip.frames.size());
    return &frame;
}

std::optional<PoseReference> read_reference(const PoseArguments& arguments, const std::optional<io::Picture>& image, Mistakes& mistakes) {
    const auto mistakes_before = mistakes.texts().size();
    const auto given = image ? ImageSize{image->width, image->height} : ImageSize{};
    const auto clip = pose::read_key_points(arguments.reference, given, "--reference", mistakes);
    if (mistakes.texts().size() > mistakes_before) return std::nullopt;
    PoseReference reference{.form = clip.form};
    const auto* const frame = frame_for(clip, arguments.image, reference.remark);
    if (frame == nullptr) {
        mistakes.add("--reference", arguments.reference, cat("holds ", clip.frames.size(), " pictures, none of them called as --image is"),
                     "name the picture by its file name there, or cut the file");
        return std::nullopt;
    }
    const auto person = pose::surest(frame->people);
    if (!person) {
        mistakes.add("--reference", arguments.reference, cat("nobody is seen in it", reference.remark),
                     "find the key points of a picture that shows the person");
        return std::nullopt;
    }
    if (!frame->size.known()) {
        if (arguments.image.empty())  // else the picture could not be read, which is told
            mistakes.add(cat("--image: is missing, and ", arguments.reference, " does not say its picture's size; name the picture"));
        return std::nullopt;
    }
    reference.person = *person;
    reference.num_people = frame->people.size();
    reference.size = size_of({frame, 1}, given, cat("--reference ", arguments.reference), mistakes);
    if (!arguments.no_align && !person->body[pose::neck].seen())
        mistakes.add("--reference", arguments.reference, "its person's neck is not seen, or not both shoulders, which it lies between",
                     "alignment needs it; --no-align draws the driver's poses as they are");
    return reference;
}

void read_driver(const PoseArguments& arguments, PoseInputs& inputs, Mistakes& mistakes) {
    ImageSize given;
    if (!arguments.size.empty()) given = parse_size(arguments.size, mistakes);
    if (!arguments.video.empty())
        gather(mistakes, "--video", [&] {
            inputs.video = io::VideoReader(arguments.video).info();
            const ImageSize shown{inputs.video->width, inputs.video->height};
            if (given.known() && !alike(given, shown))
                mistakes.add("--size", arguments.size, cat("the video is of ", text_of(shown)), "leave --size out");
            else
                given = shown;
        });
    const auto mistakes_before = mistakes.texts().size();
    inputs.driver = pose::read_key_points(arguments.driver, given, "DRIVER", mistakes);
    if (mistakes.texts().size() > mistakes_before) return;
    inputs.driver_size = size_of(inputs.driver.frames, given, cat("DRIVER ", arguments.driver), mistakes);
    const bool any = std::ranges::any_of(inputs.driver.frames, [](const auto& frame) { return pose::surest(frame.people).has_value(); });
    if (!any)
        mistakes.add("DRIVER", arguments.driver, cat("nobody is seen in any of its ", inputs.driver.frames.size(), " frames"),
                     "find the key points of a clip that shows somebody");
    else if (inputs.driver.lacks_size && arguments.size.empty() && arguments.video.empty())
        mistakes.add(cat("--size: is missing, and ", arguments.driver, " does not say its frames' size; name it, --size 1280x720, or the video, --video FILE"));
}

void choose_fps(const PoseArguments& arguments, PoseInputs& inputs, Mistakes& mistakes) {
    if (arguments.fps) {
        inputs.fps = *arguments.fps;
        inputs.fps_from = "as given";
        if (!(inputs.fps > 0 && inputs.fps <= 1000)) mistakes.add("--fps", cat(inputs.fps), "must be above 0 and at most 1000", "try --fps 30");
    } else if (inputs.video && inputs.video->fps > 0) {
        inputs.fps = inputs.video->fps;
        inputs.fps_from = "the video's";
    } else if (inputs.driver.fps > 0) {
        inputs.fps = inputs.driver.fps;
        inputs.fps_from = "the driver's";
    } else {
        inputs.fps_from = "assumed; --fps or --video says better";
    }
}

}  // namespace

PoseInputs read_pose_inputs(const PoseArguments& arguments) {
    Mistakes mistakes;
    check_outputs(arguments, mistakes);
    PoseInputs inputs;
    if (!arguments.image.empty()) gather(mistakes, "--image", [&] { inputs.image = io::read_picture(arguments.image); });
    if (!arguments.reference.empty())
        inputs.reference = read_reference(arguments, inputs.image, mistakes);
    else if (!arguments.no_align)
        mistakes.add("--reference: is missing: key points of the picture that the poses are to fit; --no-align draws them as they are");
    else if (!arguments.image_pose.empty())
        mistakes.add("--image-pose", arguments.image_pose, "wants key points of the picture", "name them by --reference");
    read_driver(arguments, inputs, mistakes);
    choose_fps(arguments, inputs, mistakes);
    if (arguments.fill < 0) mistakes.add("--fill", cat(arguments.fill), "must be at least 0 frames", "try --fill 5");
    choose_frames(arguments.frames, inputs, mistakes);
    mistakes.throw_if_any("no poses were drawn:");
    return inputs;
}

fs::path preview_path(const PoseArguments& arguments) {
    if (!arguments.preview.empty()) return arguments.preview;
    const fs::path output{arguments.output};
    const auto film = output.has_filename() ? output : output.parent_path();
    return film.parent_path() / (film.stem().string() + ".preview.png");
}

std::string text_of(const ImageSize& size) {
    return cat(size.width, "x", size.height);
}

}  // namespace weft::app

#include "app/command.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "io/video_reader.hpp"
#include "io/video_writer.hpp"
#include "pose/align.hpp"
#include "pose/draw_map.hpp"
#include "pose/follow.hpp"
#include "pose/key_points.hpp"
#include "pose/preview.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>

namespace weft::app {

namespace {

namespace fs = std::filesystem;
using pose::ImageSize;
using pose::Person;

constexpr double assumed_fps = 30;       // most drivers are films, and key points do not say
constexpr double copy_tolerance = 0.05;  // of aspects: detectors resize to multiples of 64
constexpr double longest_aspect = 10;    // beyond, nobody fits into the picture
constexpr double unusual_factor = 2.5;   // a turned head or a folded arm, rather than another build
constexpr int num_preview_rows = 4;

struct Arguments {
    std::string driver;
    std::string reference;
    std::string image;
    std::string video;
    std::string size;
    std::string output = "poses.mp4";
    std::optional<double> fps;
    std::optional<std::int64_t> align_frame;
    std::string frames;
    std::int64_t fill = 5;
    bool no_align = false;
    std::string preview;
    std::string image_pose;
    std::string json;
};

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

/// Frames [begin, end) of the driver.
struct Range {
    std::int64_t begin = 0;
    std::int64_t end = 0;
};

Range parse_frames(const std::string& text, std::int64_t num_frames, Mistakes& mistakes) {
    if (text.empty()) return {0, num_frames};
    const auto ends = two_numbers(text, ',');
    if (ends && ends->first >= 0 && ends->first < ends->second && ends->second <= num_frames) return {ends->first, ends->second};
    mistakes.add("--frames", in_quotes(text), cat("must be BEGIN,END with 0 <= BEGIN < END <= ", num_frames, ", the driver's frames; END is left out"),
                 cat("try --frames 0,", num_frames));
    return {0, num_frames};
}

void gather(Mistakes& mistakes, std::string_view key, const auto& work) {
    try {
        work();
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        mistakes.add(cat(key, ": ", error.what()));
    }
}

fs::path preview_path(const Arguments& arguments) {
    if (!arguments.preview.empty()) return arguments.preview;
    const fs::path output{arguments.output};
    const auto film = output.has_filename() ? output : output.parent_path();
    return film.parent_path() / (film.stem().string() + ".preview.png");
}

/// Places that can be written, are of the right kind, and do not hold what is read.
void check_outputs(const Arguments& arguments, Mistakes& mistakes) {
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

std::string text_of(const ImageSize& size) {
    return cat(size.width, "x", size.height);
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

struct Reference {
    Person person;
    std::size_t num_people = 0;
    ImageSize size;
    pose::KeyPointForm form = pose::KeyPointForm::openpose;
    std::string remark;  ///< which frame of several
};

struct Inputs {
    pose::KeyPointClip driver;
    ImageSize driver_size;
    std::optional<Reference> reference;
    std::optional<io::Picture> image;
    std::optional<io::VideoInfo> video;
    double fps = assumed_fps;
    std::string fps_from;
};

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

std::optional<Reference> read_reference(const Arguments& arguments, const std::optional<io::Picture>& image, Mistakes& mistakes) {
    const auto mistakes_before = mistakes.texts().size();
    const auto given = image ? ImageSize{image->width, image->height} : ImageSize{};
    const auto clip = pose::read_key_points(arguments.reference, given, "--reference", mistakes);
    if (mistakes.texts().size() > mistakes_before) return std::nullopt;
    Reference reference{.form = clip.form};
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

void read_driver(const Arguments& arguments, Inputs& inputs, Mistakes& mistakes) {
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

void choose_fps(const Arguments& arguments, Inputs& inputs, Mistakes& mistakes) {
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

Inputs read_inputs(const Arguments& arguments, Mistakes& mistakes) {
    Inputs inputs;
    if (!arguments.image.empty()) gather(mistakes, "--image", [&] { inputs.image = io::read_picture(arguments.image); });
    if (!arguments.reference.empty())
        inputs.reference = read_reference(arguments, inputs.image, mistakes);
    else if (!arguments.no_align)
        mistakes.add("--reference: is missing: key points of the picture that the poses are to fit; --no-align draws them as they are");
    else if (!arguments.image_pose.empty())
        mistakes.add("--image-pose", arguments.image_pose, "wants key points of the picture", "name them by --reference");
    read_driver(arguments, inputs, mistakes);
    choose_fps(arguments, inputs, mistakes);
    return inputs;
}

// ---- what is told ----

void tell(const char* label, const std::string& text) {
    std::string line{label};
    line.resize(10, ' ');
    log::info(line + text);
}

void tell_frames(const pose::FrameNumbers& frames, const std::string& what) {
    if (!frames.empty()) tell("people", cat(pose::frames_text(frames), ": ", what));
}

void tell_inputs(const Arguments& arguments, const Inputs& inputs) {
    if (inputs.reference)
        tell("reference", cat(arguments.reference, ": ", name_of(inputs.reference->form), inputs.reference->remark, ", ", text_of(inputs.reference->size),
                              inputs.reference->num_people > 1 ? cat(", the surest of ", inputs.reference->num_people, " people") : ""));
    tell("driver", cat(arguments.driver, ": ", name_of(inputs.driver.form), ", ", inputs.driver.frames.size(), " frames of ", text_of(inputs.driver_size), ", ",
                       fixed(inputs.fps, 2), " frames a second (", inputs.fps_from, ")"));
    const auto num_frames = std::ssize(inputs.driver.frames);
    if (inputs.video && inputs.video->frames_expected > 0 && inputs.video->frames_expected != num_frames)
        log::warn(
            cat(arguments.video, " holds ", inputs.video->frames_expected, " frames, but ", arguments.driver, " ", num_frames, ": do they belong together?"));
}

/// Frames where somebody is seen, but some of `joints` are not.
pose::FrameNumbers frames_lacking(const pose::Track& track, std::initializer_list<pose::Joint> joints) {
    pose::FrameNumbers frames;
    for (std::int64_t number = 0; number < std::ssize(track.frames); ++number) {
        const auto& person = track.frames[static_cast<std::size_t>(number)];
        if (person && !std::ranges::all_of(joints, [&](pose::Joint joint) { return person->body[joint].seen(); })) frames.push_back(number);
    }
    return frames;
}

void tell_track(const pose::Track& track, const pose::FrameNumbers& filled) {
    pose::FrameNumbers empty;
    std::ranges::set_difference(track.nobody, filled, std::back_inserter(empty));
    tell_frames(empty, "nobody seen, drawn empty");
    tell_frames(filled, "nobody seen, filled in between");
    tell_frames(track.several, "several people; the one nearest to the frame before is followed");
    using namespace pose;
    tell_frames(frames_lacking(track, {neck}), "neck not seen");
    tell_frames(frames_lacking(track, {nose}), "head not seen");
    tell_frames(frames_lacking(track, {right_shoulder, right_elbow, right_wrist, left_shoulder, left_elbow, left_wrist}), "arms not seen, or not whole");
    tell_frames(frames_lacking(track, {right_hip, right_knee, right_ankle, left_hip, left_knee, left_ankle}), "legs not seen, or not whole");
    const auto shows_hands = [](const std::optional<Person>& person) {
        return person && std::ranges::any_of(person->hands, [](const HandPoints& hand) { return std::ranges::any_of(hand, &KeyPoint::seen); });
    };
    if (std::ranges::none_of(track.frames, shows_hands)) tell("hands", "not seen in any frame");
    if (!track.leaps.empty())
        log::warn(
            cat(frames_text(track.leaps), ": the nearest person is far from where the followed one was; if it is another one, keep one person's key points"));
}

void tell_alignment(const pose::Alignment& alignment) {
    for (std::size_t i = 0; i < pose::num_factors; ++i) {
        const auto& factor = alignment.factors[i];
        auto name = std::string(name_of(static_cast<pose::Factor>(i)));
        name.resize(11, ' ');
        tell(i == 0 ? "factors" : "", cat(name, fixed(factor.value, 3), "  ", factor.measured ? "" : "NOT MEASURED, the others' mean: ", factor.from));
    }
    const auto way = [](double length, const char* forth, const char* back) { return cat(fixed(std::abs(length), 3), length < 0 ? back : forth); };
    tell("offset",
         cat("the neck moves ", way(alignment.dx, " to the right", " to the left"), " and ", way(alignment.dy, " down", " up"), ", in heights of the picture"));
    std::vector<std::string> unusual;
    for (std::size_t i = 0; i < pose::num_factors; ++i)
        if (const double value = alignment.factors[i].value; value > unusual_factor || value < 1 / unusual_factor)
            unusual.push_back(cat(name_of(static_cast<pose::Factor>(i)), " ", fixed(value, 2)));
    if (!unusual.empty())
        log::warn(cat("unusual factors: ", join(unusual),
                      "; a limb is turned away in one of the two. Look at the preview, or take a frame that stands as the reference does by --align-frame"));
}

/// Single quotes where a shell would take the text apart.
std::string shell(const std::string& text) {
    const bool plain = std::ranges::all_of(text, [](char letter) {
        return std::isalnum(static_cast<unsigned char>(letter)) != 0 || std::string_view("._-/+=:,").find(letter) != std::string_view::npos;
    });
    return plain ? text : cat("'", text, "'");
}

/// The film's size that keeps the maps' aspect: multiples of 8 with MusePose's 768 as the longer side.
ImageSize film_size(const ImageSize& map) {
    constexpr int side = 768;
    const auto shorter = [&](double share) { return std::max(8, 8 * static_cast<int>(std::lround(side * share / 8))); };
    return map.width < map.height ? ImageSize{shorter(map.aspect()), side} : ImageSize{side, shorter(1 / map.aspect())};
}

void tell_next(const Arguments& arguments, const pose::MapSize& size) {
    const auto film = film_size(size.map);
    if (film.width != film.height)
        tell("size",
             cat("MusePose squashes picture and poses to video.width x video.height: ", text_of(film), " keeps their aspect, its preset of 768x768 does not"));
    if (fs::is_directory(arguments.output)) tell("rate", "a folder has none, and weft generate takes 15 frames a second for it: set output.fps");
    auto command = cat("weft generate configs/musepose.toml --set model.path=MODELS");
    const auto set = [&](const std::string& key, const fs::path& value) { command += cat(" --set ", shell(cat(key, "=", value.string()))); };
    set("input.image", arguments.image.empty() ? fs::path("PICTURE") : fs::absolute(arguments.image));
    set("input.pose", fs::absolute(arguments.output));
    if (!arguments.image_pose.empty()) set("input.image_pose", fs::absolute(arguments.image_pose));
    command += cat(" --set video.width=", film.width, " --set video.height=", film.height);
    tell("next", command);
}

// ---- the work ----

/// The frame that the driver is measured in.
std::int64_t choose_align_frame(const Arguments& arguments, const pose::Track& track) {
    const auto num_frames = std::ssize(track.frames);
    const auto fits = [&](std::int64_t number) {
        const auto& person = track.frames[static_cast<std::size_t>(number)];
        return person && pose::is_measurable(*person);
    };
    pose::FrameNumbers fitting;
    for (std::int64_t number = 0; number < num_frames; ++number)
        if (fits(number)) fitting.push_back(number);
    constexpr auto needs = "alignment measures the driver in one frame, which must show neck and both shoulders";
    if (fitting.empty())
        refuse(cat("DRIVER ", arguments.driver, ": no frame shows neck and both shoulders; ", needs, "; --no-align draws the poses as they are"));
    if (arguments.align_frame) {
        const auto wished = *arguments.align_frame;
        if (wished < 0 || wished >= num_frames || !fits(wished))
            refuse(cat("--align-frame = ", wished, ": ", needs, "; it could be one of ", pose::frames_text(fitting)));
        return wished;
    }
    if (fitting.front() > 0) tell("align", cat("by frame ", fitting.front(), ", the first to show neck and both shoulders"));
    return fitting.front();
}

class PoseJob {
  public:
    explicit PoseJob(const Arguments& arguments) : arguments_{arguments} {}

    int run() {
        Mistakes mistakes;
        check_outputs(arguments_, mistakes);
        inputs_ = read_inputs(arguments_, mistakes);
        if (arguments_.fill < 0) mistakes.add("--fill", cat(arguments_.fill), "must be at least 0 frames", "try --fill 5");
        if (!inputs_.driver.frames.empty()) range_ = parse_frames(arguments_.frames, std::ssize(inputs_.driver.frames), mistakes);
        mistakes.throw_if_any("no poses were drawn:");
        const auto& own = inputs_.driver_size;
        size_ = pose::map_size(own, arguments_.no_align ? own : inputs_.reference->size);
        io::VideoWriter film(arguments_.output, {.width = size_.map.width, .height = size_.map.height, .fps = inputs_.fps});

        tell_inputs(arguments_, inputs_);
        track_ = pose::follow(inputs_.driver, own.aspect());
        make_poses();
        tell_outside();
        draw_film(film);
        write_rest();
        tell_next(arguments_, size_);
        return 0;
    }

  private:
    void make_poses() {
        auto driver = track_.frames;
        const auto filled = pose::fill_gaps(driver, arguments_.fill);
        tell_track(track_, filled);
        if (arguments_.no_align) {
            shown_frame_ = range_.begin;
            poses_ = std::move(driver);
            return;
        }
        shown_frame_ = choose_align_frame(arguments_, track_);
        const auto& reference = *inputs_.reference;
        const auto alignment =
            pose::measure(reference.person, reference.size.aspect(), *track_.frames[static_cast<std::size_t>(shown_frame_)], inputs_.driver_size.aspect());
        tell_alignment(alignment);
        const auto necks = pose::necks_of(driver);
        for (std::size_t i = 0; i < driver.size(); ++i)
            poses_.push_back(driver[i] ? std::optional(pose::aligned(*driver[i], necks[i], alignment)) : std::nullopt);
    }

    void tell_outside() const {
        std::vector<Person> people;
        pose::FrameNumbers frames;
        for (auto number = range_.begin; number < range_.end; ++number) {
            const auto& person = poses_[static_cast<std::size_t>(number)];
            if (!person) continue;
            people.push_back(*person);
            if (pose::share_outside({&*person, 1}) > 0) frames.push_back(number);
        }
        if (frames.empty())
            tell("outside", "no point leaves the picture");
        else
            tell("outside", cat(fixed(100 * pose::share_outside(people), 1), " % of the points leave the picture, in ", pose::frames_text(frames)));
    }

    void draw_film(io::VideoWriter& film) {
        for (auto number = range_.begin; number < range_.end; ++number) {
            film.write(pose::draw_map(poses_[static_cast<std::size_t>(number)], size_));
            log::progress(cat("draw      frame ", number - range_.begin + 1, "/", range_.end - range_.begin));
        }
        const auto num_frames = film.finish();
        log::progress("");
        tell("poses", cat(arguments_.output, ": ", num_frames, " frames of ", text_of(size_.map), ", drawn on ", text_of(size_.canvas), ", ",
                          human_seconds(static_cast<double>(num_frames) / inputs_.fps)));
    }

    void write_rest() {
        if (!arguments_.image_pose.empty()) {
            io::write_png(arguments_.image_pose, pose::draw_map(inputs_.reference->person, size_));
            tell("pose", cat(arguments_.image_pose, ": the reference's own"));
        }
        if (!arguments_.json.empty()) {
            std::vector<pose::KeyPointFrame> frames;
            for (auto number = range_.begin; number < range_.end; ++number) {
                auto& frame = frames.emplace_back();
                if (const auto& person = poses_[static_cast<std::size_t>(number)]) frame.people.push_back(*person);
            }
            write_atomically(arguments_.json, pose::to_openpose(frames, size_.map));
            tell("points", cat(arguments_.json, ": OpenPose, in pixels of the maps"));
        }
        io::write_png(preview_path(arguments_), preview());
        tell("preview", cat(preview_path(arguments_).string(), ": reference, driver, result; look whether they fit before hours of work"));
    }

    /// The frame that was measured, and more spread over the clip; where nobody is seen, the nearest that shows somebody.
    [[nodiscard]] std::vector<std::int64_t> preview_frames() const {
        std::vector<std::int64_t> seen;
        for (auto number = range_.begin; number < range_.end; ++number)
            if (poses_[static_cast<std::size_t>(number)]) seen.push_back(number);
        std::vector<std::int64_t> frames{shown_frame_};
        for (std::int64_t i = 1; i < num_preview_rows && !seen.empty(); ++i) {
            const auto wished = range_.begin + i * (range_.end - range_.begin) / num_preview_rows;
            const auto frame = *std::ranges::min_element(seen, {}, [&](std::int64_t number) { return std::abs(number - wished); });
            if (std::ranges::find(frames, frame) == frames.end()) frames.push_back(frame);
        }
        return frames;
    }

    [[nodiscard]] std::map<std::int64_t, io::Picture> video_frames(const std::vector<std::int64_t>& wanted) const {
        std::map<std::int64_t, io::Picture> pictures;
        if (!inputs_.video) return pictures;
        io::VideoReader reader(arguments_.video);
        std::int64_t at = 0;
        for (const auto number : std::set(wanted.begin(), wanted.end())) {
            for (; at < number; ++at)
                if (!reader.skip()) return pictures;
            auto picture = reader.next();
            if (!picture) return pictures;
            pictures.emplace(number, *std::move(picture));
            ++at;
        }
        return pictures;
    }

    [[nodiscard]] io::Picture preview() const {
        const auto frames = preview_frames();
        auto pictures = video_frames(frames);
        const auto& own = inputs_.driver_size;
        const auto driver_size = pose::map_size(own, own);
        const auto& reference = inputs_.reference;
        const auto reference_size = reference ? pose::map_size(reference->size, reference->size) : size_;
        std::vector<std::array<pose::PreviewPanel, 3>> rows;
        for (const auto frame : frames) {
            const auto i = static_cast<std::size_t>(frame);
            auto& [first, second, third] = rows.emplace_back();
            first = {reference ? "reference" : "no reference", inputs_.image,
                     pose::draw_map(reference ? std::optional(reference->person) : std::nullopt, reference_size)};
            second = {cat("driver ", frame), std::nullopt, pose::draw_map(track_.frames[i], driver_size)};
            if (const auto picture = pictures.find(frame); picture != pictures.end()) second.picture = std::move(picture->second);
            third = {arguments_.no_align     ? "as it is"
                     : frame == shown_frame_ ? "aligned here"
                                             : "aligned",
                     arguments_.no_align ? std::nullopt : inputs_.image, pose::draw_map(poses_[i], size_)};
        }
        return pose::draw_preview(rows);
    }

    const Arguments& arguments_;
    Inputs inputs_;
    Range range_;
    pose::MapSize size_;
    pose::Track track_;
    std::vector<std::optional<Person>> poses_;  ///< as they are drawn, of all frames
    std::int64_t shown_frame_ = 0;              ///< that was measured; without alignment the first
};

}  // namespace

void add_pose(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("pose", "draws pose maps from key points, fitted to the person of a reference picture");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("DRIVER", arguments->driver, "key points of the movement: a JSON file, or a folder of one a frame")->required();
    command->add_option("--reference", arguments->reference, "key points of the reference picture, JSON");
    command->add_option("--image", arguments->image, "the reference picture: its size, and what the preview lies over");
    command->add_option("--video", arguments->video, "the driver's video: its size and frame rate, and for the preview");
    command->add_option("--size", arguments->size, "WIDTHxHEIGHT of the driver's frames, where neither the key points nor a video say it");
    command->add_option("--output", arguments->output, "the maps: .mp4, .mkv (lossless) or a folder of PNGs")->capture_default_str();
    command->add_option("--fps", arguments->fps, "frames a second; else the video's");
    command->add_option("--align-frame", arguments->align_frame,
                        "frame of the driver to measure: standing as the reference does is best; else the first that will do");
    command->add_option("--frames", arguments->frames, "BEGIN,END: draw these frames only, END left out");
    command->add_option("--fill", arguments->fill, "fill in at most so many frames without anyone between two poses")->capture_default_str();
    command->add_flag("--no-align", arguments->no_align, "draw the driver's poses as they are");
    command->add_option("--preview", arguments->preview, "PNG to look at; else beside the output, .preview.png");
    command->add_option("--image-pose", arguments->image_pose, "PNG: the reference's own pose, for input.image_pose");
    command->add_option("--json", arguments->json, "the drawn key points, in OpenPose's form");
    actions[command] = [arguments] { return PoseJob(*arguments).run(); };
}

}  // namespace weft::app

#include "app/pose_report.hpp"

#include "base/log.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <vector>

namespace weft::app {

namespace {

namespace fs = std::filesystem;
using pose::ImageSize;
using pose::Person;

constexpr double unusual_factor = 2.5;  // a turned head or a folded arm, rather than another build

void tell_frames(const pose::FrameNumbers& frames, const std::string& what) {
    if (!frames.empty()) tell_pose("people", cat(pose::frames_text(frames), ": ", what));
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

}  // namespace

void tell_pose(const char* label, const std::string& text) {
    std::string line{label};
    line.resize(10, ' ');
    log::info(line + text);
}

void tell_inputs(const PoseArguments& arguments, const PoseInputs& inputs) {
    if (inputs.reference)
        tell_pose("reference", cat(arguments.reference, ": ", name_of(inputs.reference->form), inputs.reference->remark, ", ", text_of(inputs.reference->size),
                                   inputs.reference->num_people > 1 ? cat(", the surest of ", inputs.reference->num_people, " people") : ""));
    tell_pose("driver", cat(arguments.driver, ": ", name_of(inputs.driver.form), ", ", inputs.driver.frames.size(), " frames of ", text_of(inputs.driver_size),
                            ", ", fixed(inputs.fps, 2), " frames a second (", inputs.fps_from, ")"));
    const auto num_frames = std::ssize(inputs.driver.frames);
    if (inputs.video && inputs.video->frames_expected > 0 && inputs.video->frames_expected != num_frames)
        log::warn(
            cat(arguments.video, " holds ", inputs.video->frames_expected, " frames, but ", arguments.driver, " ", num_frames, ": do they belong together?"));
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
    if (std::ranges::none_of(track.frames, shows_hands)) tell_pose("hands", "not seen in any frame");
    if (!track.leaps.empty())
        log::warn(
            cat(frames_text(track.leaps), ": the nearest person is far from where the followed one was; if it is another one, keep one person's key points"));
}

void tell_alignment(const pose::Alignment& alignment) {
    for (std::size_t i = 0; i < pose::num_factors; ++i) {
        const auto& factor = alignment.factors[i];
        auto name = std::string(name_of(static_cast<pose::Factor>(i)));
        name.resize(11, ' ');
        tell_pose(i == 0 ? "factors" : "", cat(name, fixed(factor.value, 3), "  ", factor.measured ? "" : "NOT MEASURED, the others' mean: ", factor.from));
    }
    const auto way = [](double length, const char* forth, const char* back) { return cat(fixed(std::abs(length), 3), length < 0 ? back : forth); };
    tell_pose("offset", cat("the neck moves ", way(alignment.dx, " to the right", " to the left"), " and ", way(alignment.dy, " down", " up"),
                            ", in heights of the picture"));
    std::vector<std::string> unusual;
    for (std::size_t i = 0; i < pose::num_factors; ++i)
        if (const double value = alignment.factors[i].value; value > unusual_factor || value < 1 / unusual_factor)
            unusual.push_back(cat(name_of(static_cast<pose::Factor>(i)), " ", fixed(value, 2)));
    if (!unusual.empty())
        log::warn(cat("unusual factors: ", join(unusual),
                      "; a limb is turned away in one of the two. Look at the preview, or take a frame that stands as the reference does by --align-frame"));
}

void tell_outside(std::span<const std::optional<Person>> poses, std::int64_t begin, std::int64_t end) {
    std::vector<Person> people;
    pose::FrameNumbers frames;
    for (auto number = begin; number < end; ++number) {
        const auto& person = poses[static_cast<std::size_t>(number)];
        if (!person) continue;
        people.push_back(*person);
        if (pose::share_outside({&*person, 1}) > 0) frames.push_back(number);
    }
    if (frames.empty())
        tell_pose("outside", "no point leaves the picture");
    else
        tell_pose("outside", cat(fixed(100 * pose::share_outside(people), 1), " % of the points leave the picture, in ", pose::frames_text(frames)));
}

void tell_next(const PoseArguments& arguments, const pose::MapSize& size) {
    const auto film = film_size(size.map);
    if (film.width != film.height)
        tell_pose("size", cat("MusePose squashes picture and poses to video.width x video.height: ", text_of(film),
                              " keeps their aspect, its preset of 768x768 does not"));
    if (fs::is_directory(arguments.output)) tell_pose("rate", "a folder has none, and weft generate takes 15 frames a second for it: set output.fps");
    auto command = cat("weft generate configs/musepose.toml --set model.path=MODELS");
    const auto set = [&](const std::string& key, const fs::path& value) { command += cat(" --set ", shell(cat(key, "=", value.string()))); };
    set("input.image", arguments.image.empty() ? fs::path("PICTURE") : fs::absolute(arguments.image));
    set("input.pose", fs::absolute(arguments.output));
    command += cat(" --set video.width=", film.width, " --set video.height=", film.height);
    tell_pose("next", command);
}

}  // namespace weft::app

#include "app/command.hpp"
#include "app/pose_inputs.hpp"
#include "app/pose_report.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/stop.hpp"
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
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

namespace weft::app {

namespace {

using pose::Person;

constexpr int num_preview_rows = 4;

/// The frame that the driver is measured in.
std::int64_t choose_align_frame(const PoseArguments& arguments, const pose::Track& track) {
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
    if (fitting.front() > 0) tell_pose("align", cat("by frame ", fitting.front(), ", the first to show neck and both shoulders"));
    return fitting.front();
}

class PoseJob {
  public:
    explicit PoseJob(const PoseArguments& arguments) : arguments_{arguments}, inputs_{read_pose_inputs(arguments)} {}

    int run() {
        stop::watch_signals();
        const auto& own = inputs_.driver_size;
        size_ = pose::map_size(own, arguments_.no_align ? own : inputs_.reference->size);
        io::VideoWriter film(arguments_.output, {.width = size_.map.width, .height = size_.map.height, .fps = inputs_.fps});

        tell_inputs(arguments_, inputs_);
        track_ = pose::follow(inputs_.driver, own.aspect());
        make_poses();
        tell_outside(poses_, inputs_.begin, inputs_.end);
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
            shown_frame_ = inputs_.begin;
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

    void draw_film(io::VideoWriter& film) {
        for (auto number = inputs_.begin; number < inputs_.end; ++number) {
            film.write(pose::draw_map(poses_[static_cast<std::size_t>(number)], size_));
            if (stop::requested()) throw Error(ExitCode::stopped, "stopped on a signal; nothing is kept, the same command begins anew");
            log::progress(cat("draw      frame ", number - inputs_.begin + 1, "/", inputs_.end - inputs_.begin));
        }
        const auto num_frames = film.finish();
        log::progress("");
        tell_pose("poses", cat(arguments_.output, ": ", num_frames, " frames of ", text_of(size_.map), ", drawn on ", text_of(size_.canvas), ", ",
                               human_seconds(static_cast<double>(num_frames) / inputs_.fps)));
    }

    void write_rest() {
        if (!arguments_.image_pose.empty()) {
            io::write_png(arguments_.image_pose, pose::draw_map(inputs_.reference->person, size_));
            tell_pose("pose", cat(arguments_.image_pose, ": the reference's own, for MimicMotion's input.image_pose"));
        }
        if (!arguments_.json.empty()) {
            std::vector<pose::KeyPointFrame> frames;
            for (auto number = inputs_.begin; number < inputs_.end; ++number) {
                auto& frame = frames.emplace_back();
                if (const auto& person = poses_[static_cast<std::size_t>(number)]) frame.people.push_back(*person);
            }
            write_atomically(arguments_.json, pose::to_openpose(frames, size_.map));
            tell_pose("points", cat(arguments_.json, ": OpenPose, in pixels of the maps"));
        }
        io::write_png(preview_path(arguments_), preview());
        tell_pose("preview", cat(preview_path(arguments_).string(), ": reference, driver, result; look whether they fit before hours of work"));
    }

    /// The frame that was measured, and more spread over the clip; where nobody is seen, the nearest that shows somebody.
    [[nodiscard]] std::vector<std::int64_t> preview_frames() const {
        std::vector<std::int64_t> seen;
        for (auto number = inputs_.begin; number < inputs_.end; ++number)
            if (poses_[static_cast<std::size_t>(number)]) seen.push_back(number);
        std::vector<std::int64_t> frames{shown_frame_};
        for (std::int64_t i = 1; i < num_preview_rows && !seen.empty(); ++i) {
            const auto wished = inputs_.begin + i * (inputs_.end - inputs_.begin) / num_preview_rows;
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

    const PoseArguments& arguments_;
    PoseInputs inputs_;
    pose::MapSize size_;
    pose::Track track_;
    std::vector<std::optional<Person>> poses_;  ///< as they are drawn, of all frames
    std::int64_t shown_frame_ = 0;              ///< that was measured; without alignment the first
};

}  // namespace

void add_pose(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("pose", "draws pose maps from key points, fitted to the person of a reference picture");
    const auto arguments = std::make_shared<PoseArguments>();
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
    command->add_option("--image-pose", arguments->image_pose, "PNG: the reference's own pose, for MimicMotion's input.image_pose");
    command->add_option("--json", arguments->json, "the drawn key points, in OpenPose's form");
    actions[command] = [arguments] { return PoseJob(*arguments).run(); };
}

}  // namespace weft::app

#include "pipeline/inputs.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"
#include "io/resample.hpp"
#include "io/video_reader.hpp"
#include "pose/drawn.hpp"

#include <algorithm>
#include <bit>
#include <filesystem>
#include <optional>

namespace weft::pipeline {

namespace {

constexpr double folder_fps = 15;  // a folder of pictures has no rate of its own; MimicMotion's published output rate

/// Looking at every pose frame would double the decoding time: the first few and every 16th tell.
bool is_looked_at(std::int64_t frame) {
    return frame % 16 == 0 || std::has_single_bit(static_cast<std::uint64_t>(frame));
}

/// A fade or a gap: counts as drawn, and says nothing about the rest.
bool is_black(const io::Picture& frame) {
    return std::ranges::all_of(frame.rgb, [](std::uint8_t value) { return value <= 32; });
}

/// Where the scratch file goes: beside the run file, where a job's disk is; on hosts that do not share it, where scratch files go.
std::filesystem::path scratch_folder(const Settings& settings) {
    const auto folder = std::filesystem::path(settings.output.run_file).parent_path();
    if (!why_not_writable(folder).empty()) return std::filesystem::temp_directory_path();
    return folder.empty() ? "." : folder;
}

/// Notes what `work` refuses as a mistake of `key`; the system's failures pass.
void gather(Mistakes& mistakes, const char* key, const auto& work) {
    try {
        work();
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        mistakes.add(cat(key, ": ", error.what()));
    }
}

}  // namespace

void check_inputs(const Settings& settings, Mistakes& mistakes) {
    const auto path_of = [&](const std::string& value) { return settings.input_path(value); };
    const auto refuse_unless_drawn = [&](const std::string& value, const io::Picture& frame) {
        if (const auto why = pose::why_not_drawn(frame); !why.empty()) refuse(cat(path_of(value).string(), ": ", why));
    };
    const auto& input = settings.input;
    if (!input.image.empty()) gather(mistakes, "input.image", [&] { static_cast<void>(io::read_picture(path_of(input.image))); });
    if (!input.image_pose.empty())
        gather(mistakes, "input.image_pose", [&] { refuse_unless_drawn(input.image_pose, io::read_picture(path_of(input.image_pose))); });
    if (!input.pose.empty())
        gather(mistakes, "input.pose", [&] {
            const auto first = io::VideoReader(path_of(input.pose)).next();
            if (!first) refuse(cat(path_of(input.pose).string(), ": holds no frames"));
            refuse_unless_drawn(input.pose, *first);
        });
    const auto& audio = settings.output.audio;
    if (audio != "auto" && audio != "none")
        gather(mistakes, "output.audio", [&] {
            if (!std::filesystem::exists(path_of(audio))) refuse(cat(path_of(audio).string(), ": does not exist; name an audio file, \"auto\" or \"none\""));
        });
}

std::int64_t count_pixels(const Settings& settings) {
    const auto picture = io::read_picture(settings.input_path(settings.input.image));
    return std::int64_t{picture.width} * picture.height;
}

std::int64_t count_poses(const Settings& settings, std::int64_t most) {
    if (settings.input.frames > 0) most = std::min(most, settings.input.frames);
    io::VideoReader reader(settings.input_path(settings.input.pose));
    std::int64_t frames = 0, poses = 0;
    for (; poses < most && reader.skip(); ++frames)
        if (frames % settings.input.stride == 0) ++poses;
    if (frames == 0) refuse(cat("input.pose: ", settings.input_path(settings.input.pose).string(), ": holds no frames"));
    return poses;
}

Inputs read_inputs(const Settings& settings, const std::function<bool(std::int64_t frame)>& keep) {
    Inputs inputs;
    const int width = static_cast<int>(settings.video.width);
    const int height = static_cast<int>(settings.video.height);
    inputs.reference = io::read_picture(settings.input_path(settings.input.image));
    inputs.maps = std::make_unique<io::FrameStore>(scratch_folder(settings), width, height);

    const bool mimicmotion = settings.model.family == FamilyName::mimicmotion;
    const auto map_of = [&](const io::Picture& frame) {
        return mimicmotion ? io::cover(frame, width, height) : io::resample(frame, width, height, io::Filter::lanczos);
    };
    std::optional<io::Picture> reference_pose;
    if (!settings.input.image_pose.empty()) reference_pose = map_of(io::read_picture(settings.input_path(settings.input.image_pose)));

    const auto store = [&](const io::Picture& map) {
        inputs.maps->append(map, keep(inputs.maps->size()) ? io::FrameStore::Keep::yes : io::FrameStore::Keep::no);
    };

    io::VideoReader reader(settings.input_path(settings.input.pose));
    std::int64_t looked = 0;
    std::int64_t plain = 0;
    std::string why_plain;
    for (std::int64_t wanted = settings.input.frames; wanted == 0 || inputs.num_poses < wanted;) {
        const auto frame = reader.next();
        if (!frame) break;
        if (inputs.num_poses == 0) {
            inputs.pose_width = frame->width;
            inputs.pose_height = frame->height;
        }
        stop::here_if_requested();
        if (is_looked_at(inputs.num_poses) && !is_black(*frame)) {
            ++looked;
            if (auto why = pose::why_not_drawn(*frame); !why.empty()) {
                ++plain;
                why_plain = std::move(why);
            }
        }
        const auto map = map_of(*frame);
        if (mimicmotion && inputs.maps->size() == 0) store(reference_pose ? *reference_pose : map);
        store(map);
        ++inputs.num_poses;
        bool more = true;
        for (std::int64_t i = 1; i < settings.input.stride && more; ++i) more = reader.skip();
        if (!more) break;
    }
    const auto pose_path = settings.input_path(settings.input.pose).string();
    if (inputs.num_poses == 0) refuse(cat("input.pose: ", pose_path, ": holds no frames"));
    if (2 * plain > looked)
        refuse(cat("input.pose: ", pose_path, ": ", plain, " of ", looked, " frames looked at are no drawn poses, the last of them: ", why_plain));

    const double pose_fps = reader.info().fps > 0 ? reader.info().fps : folder_fps;
    inputs.film_fps = settings.output.fps > 0 ? settings.output.fps : pose_fps / static_cast<double>(settings.input.stride);
    inputs.pose_has_audio = reader.info().has_audio;
    inputs.digest = Digest{}
                        .add(cat(inputs.reference.width, "x", inputs.reference.height))
                        .add(std::as_bytes(std::span{inputs.reference.rgb}))
                        .add(inputs.maps->digest())
                        .hex();
    return inputs;
}

}  // namespace weft::pipeline

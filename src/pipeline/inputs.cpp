#include "pipeline/inputs.hpp"

#include "base/digest.hpp"
#include "base/text.hpp"
#include "io/video_reader.hpp"
#include "pose/drawn.hpp"

#include <filesystem>
#include <optional>

namespace weft::pipeline {

namespace {

constexpr double folder_fps = 15;          // a folder of pictures has no rate of its own; MimicMotion's published output rate
constexpr std::int64_t drawn_check_every = 16;  // pose frames; looking at all of them would double the decoding time

/// Where the scratch file goes: beside the run file, where a job's disk is.
std::filesystem::path scratch_folder(const Settings& settings) {
    const auto folder = std::filesystem::path(settings.output.run_file).parent_path();
    return folder.empty() ? "." : folder;
}

[[noreturn]] void refuse_plain(const std::string& key, const std::string& value, const std::string& why) {
    refuse(cat(key, " = ", in_quotes(value), ": ", why));
}

void gather(Mistakes& mistakes, const auto& work) {
    try {
        work();
    } catch (const Error& error) {
        mistakes.add(error.what());
    }
}

}  // namespace

void check_inputs(const Settings& settings, Mistakes& mistakes) {
    gather(mistakes, [&] { static_cast<void>(io::read_picture(settings.input_path(settings.input.image))); });
    if (!settings.input.image_pose.empty())
        gather(mistakes, [&] {
            if (const auto why = pose::why_not_drawn(io::read_picture(settings.input_path(settings.input.image_pose))); !why.empty())
                refuse_plain("input.image_pose", settings.input.image_pose, why);
        });
    gather(mistakes, [&] {
        io::VideoReader reader(settings.input_path(settings.input.pose));
        const auto first = reader.next();
        if (!first) refuse(cat("input.pose = ", in_quotes(settings.input.pose), ": holds no frames"));
        if (const auto why = pose::why_not_drawn(*first); !why.empty()) refuse_plain("input.pose", settings.input.pose, why);
    });
    const auto& audio = settings.output.audio;
    if (audio != "auto" && audio != "none" && !std::filesystem::exists(settings.input_path(audio)))
        mistakes.add("output.audio", in_quotes(audio), "is no such file", "name an audio file, \"auto\" or \"none\"");
}

Inputs read_inputs(const Settings& settings) {
    Inputs inputs;
    const int width = static_cast<int>(settings.video.width);
    const int height = static_cast<int>(settings.video.height);
    inputs.reference = io::read_picture(settings.input_path(settings.input.image));
    inputs.maps = std::make_unique<io::FrameStore>(scratch_folder(settings), width, height);

    std::optional<io::Picture> reference_pose;
    if (!settings.input.image_pose.empty()) reference_pose = io::cover(io::read_picture(settings.input_path(settings.input.image_pose)), width, height);

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
        if (inputs.num_poses % drawn_check_every == 0) {
            ++looked;
            if (auto why = pose::why_not_drawn(*frame); !why.empty()) {
                ++plain;
                why_plain = std::move(why);
            }
        }
        auto map = io::cover(*frame, width, height);
        if (inputs.maps->size() == 0) inputs.maps->append(reference_pose ? *reference_pose : map);
        inputs.maps->append(map);
        ++inputs.num_poses;
        bool more = true;
        for (std::int64_t i = 1; i < settings.input.stride && more; ++i) more = reader.skip();
        if (!more) break;
    }
    if (inputs.num_poses == 0) refuse(cat("input.pose = ", in_quotes(settings.input.pose), ": holds no frames"));
    if (2 * plain > looked) refuse_plain("input.pose", settings.input.pose, why_plain);

    const double pose_fps = reader.info().fps > 0 ? reader.info().fps : folder_fps;
    inputs.film_fps = settings.output.fps > 0 ? settings.output.fps : pose_fps / static_cast<double>(settings.input.stride);
    inputs.pose_has_audio = reader.info().has_audio;
    inputs.digest = Digest{}.add(cat(inputs.reference.width, "x", inputs.reference.height)).add(std::as_bytes(std::span{inputs.reference.rgb})).add(inputs.maps->digest()).hex();
    return inputs;
}

}  // namespace weft::pipeline

#include "pipeline/preview.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/video_reader.hpp"
#include "model/model.hpp"
#include "plan/plan.hpp"

namespace weft::pipeline {

namespace {
/// Pose frames after stride and limit, counted by decoding: containers may be wrong.
std::int64_t count_poses(const Settings& settings) {
    io::VideoReader reader(settings.input_path(settings.input.pose));
    std::int64_t frames = 0;
    while (reader.skip()) ++frames;
    const auto poses = (frames + settings.input.stride - 1) / settings.input.stride;
    return settings.input.frames > 0 ? std::min(poses, settings.input.frames) : poses;
}
}  // namespace

std::string preview(const Settings& settings) {
    Mistakes mistakes;
    const auto sizes = model::sizes_of(settings, mistakes);
    mistakes.throw_if_any("weft plan cannot go on:");
    const auto poses = count_poses(settings);
    if (poses == 0) refuse(cat("input.pose = ", in_quotes(settings.input.pose), ": holds no frames"));
    const auto plan = plan::make_plan(settings, poses, sizes.shape);
    std::string text = plan::describe(plan);
    const auto weights = [&](const char* phase, std::int64_t elements) {
        return cat(" ", phase, " ", human_bytes(2 * elements), " (fp16) or ", human_bytes(4 * elements), " (fp32)");
    };
    text += cat("weights  ", weights("encode", sizes.encode_elements), ",", weights("denoise", sizes.denoise_elements), ",",
                weights("decode", sizes.decode_elements), "\n");
    return text;
}

}  // namespace weft::pipeline

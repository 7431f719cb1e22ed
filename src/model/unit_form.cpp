#include "model/unit_form.hpp"

namespace weft::model {

std::int64_t UnitForm::flops(Branch branch, std::int64_t frames, std::int64_t pixels) const {
    const auto each = work.pixel + pixels * work.pixel_pair.at(static_cast<std::size_t>(branch)) + frames * work.frame_pair;
    return 2 * frames * pixels * each;
}

namespace forms {

UnitForm conv_in(std::int64_t in, std::int64_t out) {
    return {.channels = out, .pushes = true, .work = {.pixel = conv_work(in, out)}};
}

UnitForm spatial_resnet(std::int64_t in, std::int64_t out, bool pops, bool pushes, std::int64_t upsampled) {
    const auto shortcut = in == out ? 0 : conv_work(in, out, 1);
    return {.channels = out,
            .resize = upsampled > 0 ? Resize::to_skip : Resize::none,
            .pops = pops,
            .pushes = pushes,
            .cuttable = true,
            .work = {.pixel = conv_work(upsampled, upsampled) + conv_work(in, out) + conv_work(out, out) + shortcut}};
}

UnitForm downsample(std::int64_t channels) {
    return {.channels = channels, .resize = Resize::halve, .pushes = true, .work = {.pixel = conv_work(channels, channels)}};
}

UnitForm conv_out(std::int64_t in, std::int64_t out) {
    return {.channels = out, .work = {.pixel = conv_work(in, out)}};
}

}  // namespace forms

}  // namespace weft::model

#include "pipeline/decode.hpp"

#include "base/stop.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/pictures.hpp"

#include <chrono>
#include <cstring>

namespace weft::pipeline {

std::int64_t decode_clip(model::Family& family, const plan::Plan& plan, const at::Tensor& latents, io::VideoWriter& writer, int width, int height,
                         Events& events, Progress& progress) {
    std::int64_t written = 0;
    for (std::size_t i = 0; i < plan.decode.size(); ++i) {
        stop::here_if_requested();
        const auto start = std::chrono::steady_clock::now();
        const auto chunk = plan.decode[i];
        const auto frames = model::to_bytes(family.decode(latents.narrow(0, chunk.begin, chunk.size()))).to(c10::kCPU).contiguous();
        for (std::int64_t frame = 0; frame < chunk.size(); ++frame) {
            if (chunk.begin + frame < family.hidden_frames()) continue;
            const auto pixels = frames[frame];
            io::Picture picture{
                .width = static_cast<int>(pixels.size(1)), .height = static_cast<int>(pixels.size(0)), .rgb = std::vector<std::uint8_t>(pixels.nbytes())};
            std::memcpy(picture.rgb.data(), pixels.const_data_ptr(), picture.rgb.size());
            writer.write(picture.width == width && picture.height == height ? picture : io::scale(picture, width, height));
            ++written;
        }
        events.emit(
            "chunk",
            {{"first", chunk.begin}, {"frames", chunk.size()}, {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()}});
        progress.show(static_cast<std::int64_t>(i) + 1, cat("frame ", written, "/", plan.num_frames - family.hidden_frames()));
    }
    return written;
}

}  // namespace weft::pipeline

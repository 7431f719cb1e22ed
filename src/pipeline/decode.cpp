#include "pipeline/decode.hpp"

#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/pictures.hpp"
#include "pipeline/kinds.hpp"
#include "pipeline/once_more.hpp"
#include "pipeline/staging.hpp"

#include <cstring>
#include <deque>

namespace weft::pipeline {

namespace {
constexpr std::size_t unsent_chunks = 2;
constexpr std::size_t chunks_ahead = 2;  // whose latents are asked for

/// Where a chunk's latents come from: the writer's own, or a message.
class ChunkLatents {
  public:
    ChunkLatents(const plan::Plan& plan, HostLatents latents, comm::Transport& transport, c10::Device device)
        : plan_{plan}, latents_{std::move(latents)}, transport_{transport}, device_{device} {
        for (std::size_t chunk = 0; chunk < plan.decode.size(); ++chunk)
            if (plan.decoder[chunk] == transport.who().rank) mine_.push_back(static_cast<std::int64_t>(chunk));
        if (!latents_) return;
        for (std::size_t chunk = 0; chunk < plan.decode.size(); ++chunk)
            if (plan.decoder[chunk] != plan::writer)  // not waited for: the chunk's frames come back, or the job ends
                transport.send(plan.decoder[chunk], tag_of(static_cast<std::int64_t>(chunk)), bytes_of(plan.decode[chunk]),
                               cat("latents of chunk ", chunk + 1));
    }

    [[nodiscard]] const std::vector<std::int64_t>& mine() const { return mine_; }

    /// [frames, channels, h, w] fp32 on the device, of this rank's next chunk.
    [[nodiscard]] at::Tensor next() {
        const auto range = plan_.decode[static_cast<std::size_t>(mine_.at(next_))];
        if (latents_) {
            ++next_;
            const auto bytes = bytes_of(range);
            auto room = room_for(sizes(range), c10::kFloat, device_);
            std::memcpy(room.bytes.data(), bytes.bytes.data(), bytes.bytes.size());
            return from_host(room, device_);
        }
        for (; asked_ < mine_.size() && asked_ < next_ + chunks_ahead; ++asked_) {
            auto room = room_for(sizes(plan_.decode[static_cast<std::size_t>(mine_[asked_])]), c10::kFloat, device_);
            auto arrived = transport_.receive(plan::writer, tag_of(mine_[asked_]), room, cat("latents of chunk ", mine_[asked_] + 1));
            coming_.push_back({std::move(room), std::move(arrived)});
        }
        transport_.pulse().waiting(cat("latents of chunk ", mine_[next_] + 1));
        coming_.front().arrived.wait();
        auto tensor = from_host(coming_.front().room, device_);
        coming_.pop_front();
        ++next_;
        return tensor;
    }

  private:
    struct Coming {
        comm::Buffer room;
        comm::Future arrived;
    };

    [[nodiscard]] static comm::Tag tag_of(std::int64_t chunk) { return tag(Kind::decode_latents, chunk); }
    [[nodiscard]] std::array<std::int64_t, 4> sizes(plan::FrameRange range) const {
        return {range.size(), plan_.latent_channels, plan_.latent_height, plan_.latent_width};
    }
    /// A part of the writer's latents, which nobody changes.
    [[nodiscard]] comm::Buffer bytes_of(plan::FrameRange range) const {
        auto& all = const_cast<std::vector<float>&>(*latents_);  // a buffer may be received into; this one is only sent
        const auto elements = static_cast<std::size_t>(plan_.frame_elements());
        const auto part = std::span(all).subspan(static_cast<std::size_t>(range.begin) * elements, static_cast<std::size_t>(range.size()) * elements);
        comm::Buffer buffer;
        buffer.bytes = std::as_writable_bytes(part);
        buffer.keeper = std::const_pointer_cast<std::vector<float>>(latents_);
        return buffer;
    }

    const plan::Plan& plan_;
    HostLatents latents_;
    comm::Transport& transport_;
    c10::Device device_;
    std::vector<std::int64_t> mine_;
    std::size_t next_ = 0;
    std::size_t asked_ = 0;
    std::deque<Coming> coming_;
};

/// [frames, height, width, 3] uint8 of the frames that are shown, in the film's size.
comm::Buffer shown_frames(const at::Tensor& decoded, plan::FrameRange chunk, const FilmShape& shape) {
    const OwnedBy owner(Owner::frames);
    const auto shown = shape.shown(chunk);
    auto buffer = comm::make_buffer(shape.bytes(chunk));
    auto* into = buffer.bytes.data();
    for (auto frame = chunk.size() - shown; frame < chunk.size(); ++frame) {  // one by one: the film's may be much larger than the network's
        const auto bytes = model::to_bytes(model::scaled_bilinear(decoded.narrow(0, frame, 1), shape.height, shape.width)).to(c10::kCPU).contiguous();
        std::memcpy(into, bytes.const_data_ptr(), bytes.nbytes());
        into += bytes.nbytes();
    }
    return buffer;
}
}  // namespace

void decode_chunks(model::Family& family, const plan::Plan& plan, const FilmShape& shape, const HostLatents& latents, Film* film, comm::Transport& transport,
                   c10::Device device) {
    ChunkLatents chunks(plan, latents, transport, device);
    std::deque<comm::Future> unsent;
    double expected_s = 0;  // of the first nobody knows
    for (const auto chunk : chunks.mine()) {
        stop::here_if_requested();
        const auto range = plan.decode[static_cast<std::size_t>(chunk)];
        const auto input = chunks.next();
        transport.pulse().working(cat("decoding chunk ", chunk + 1, " of ", plan.decode.size()), expected_s);
        const Stopwatch watch;
        auto frames = once_more(
            cat("decoding chunk ", chunk + 1), [&family] { family.relieve(); }, [&] { return shown_frames(family.decode(input), range, shape); });
        expected_s = watch.seconds();
        transport.pulse().idle();  // encoder and disk take the time that they take
        if (film != nullptr) {
            film->add(chunk, std::move(frames));
            continue;
        }
        while (unsent.size() >= unsent_chunks) {
            transport.pulse().waiting("rank 0 to take frames");
            unsent.front().wait();
            unsent.pop_front();
        }
        unsent.push_back(transport.send(plan::writer, tag(Kind::frames, chunk), std::move(frames), cat("frames of chunk ", chunk + 1)));
    }
    if (!unsent.empty()) transport.pulse().waiting("rank 0 to take frames");
    for (const auto& send : unsent) send.wait();
    transport.pulse().idle();
}

}  // namespace weft::pipeline

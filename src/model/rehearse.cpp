#include "model/rehearse.hpp"

#include "device/rehearsal.hpp"

#include <algorithm>
#include <numeric>

namespace weft::model {

namespace {

class Rehearsed {
  public:
    explicit Rehearsed(Rehearsal& rehearsal) : rehearsal_{rehearsal}, before_{rehearsal.now()} { rehearsal.reset_peak(); }
    /// More than before.
    [[nodiscard]] std::int64_t peak() const { return rehearsal_.peak() - before_; }
    [[nodiscard]] std::int64_t kept() const { return rehearsal_.now() - before_; }

  private:
    Rehearsal& rehearsal_;
    std::int64_t before_;
};

/// Bytes of each unit, apart and released.
void rehearse_weights(Rehearsal& rehearsal, Family& family, plan::PassShape& shape) {
    const auto count = family.units().size();
    for (std::size_t unit = 0; unit < count; ++unit) {
        std::vector<bool> wanted(count, false);
        wanted[unit] = true;
        const Rehearsed loaded(rehearsal);
        family.load_denoiser(wanted);
        const auto all = loaded.kept();
        shape.units[unit].bind_bytes = loaded.peak() - all;
        family.units()[unit]->release();
        shape.units[unit].weight_bytes = all - loaded.kept();
        shape.units[unit].kept_bytes = loaded.kept();
        family.drop_denoiser();
    }
    shape.shared_weight_bytes = shape.units.back().kept_bytes;  // the last unit's own is nothing: it knows no context
    for (auto& unit : shape.units) unit.kept_bytes -= shape.shared_weight_bytes;
}

}  // namespace

void rehearse(const std::function<std::unique_ptr<Family>(const ComputeDevice& device, PoseMaps maps)>& make, c10::DeviceType kind, const RehearsalSize& size,
              plan::ModelShape& shape) {
    Rehearsal rehearsal(kind);
    const auto meta = at::TensorOptions{}.device(c10::kMeta);
    const auto family = make(rehearsal_device(kind), [&](const std::vector<std::int64_t>& frames) {
        return at::empty({static_cast<std::int64_t>(frames.size()), 8 * size.height, 8 * size.width, 3}, meta.dtype(c10::kByte));
    });
    const auto latents = [&](std::int64_t frames) { return at::empty({frames, size.latent_channels, size.height, size.width}, meta); };
    auto& pass = shape.pass;
    {
        const Rehearsed encode(rehearsal);
        family->encode({});
        shape.encode = encode.peak();
        pass.conditioning_bytes = encode.kept();
    }
    rehearse_weights(rehearsal, *family, pass);
    family->load_denoiser(std::vector<bool>(family->units().size(), true), {.remake_first_skip = size.choice.remake_first_skip});
    pass.remakes_first_skip = size.choice.remake_first_skip;
    std::vector<std::int64_t> frames(static_cast<std::size_t>(size.num_slots));
    std::iota(frames.begin(), frames.end(), 0);
    for (const auto branch : {Branch::unconditional, Branch::conditional}) {
        const auto b = static_cast<std::size_t>(branch);
        const Rehearsed begin(rehearsal);
        auto state = family->begin({.branch = branch}, latents(size.num_slots), frames);
        pass.begin[b] = begin.peak();
        pass.begun[b] = begin.kept();
        pass.sees_pose[b] = static_cast<bool>(state.pose);
        pass.pose_bytes = pass.skips.front().slot_bytes * size.num_slots;  // what is added behind the first convolution is as large as its result
        for (auto& piece : pass.pieces) {
            const Rehearsed running(rehearsal);
            family->units()[static_cast<std::size_t>(piece.unit)]->run(state, piece.slots);
            piece.working[b] = running.peak();
        }
        const Rehearsed finishing(rehearsal);
        static_cast<void>(family->finish(state));
        pass.pieces.back().working[b] = std::max(pass.pieces.back().working[b], finishing.peak());
    }
    if (size.side_by_side) {
        const auto peak_of = [&](int passes) {
            const Rehearsed running(rehearsal);
            std::vector<PassState> states;
            for (int i = 0; i < passes; ++i) states.push_back(family->begin({.branch = Branch::conditional}, latents(size.num_slots), frames));
            auto state = side_by_side(std::move(states));
            run_all(family->units(), state);
            static_cast<void>(family->finish(state));
            return running.peak();
        };
        pass.more_bytes = peak_of(2) - peak_of(1);
    }
    family->drop_denoiser();
    const auto decode = [&](std::int64_t count, bool remakes) {
        const Rehearsed decoding(rehearsal);
        family->load_decoder({.remake_in_decoder = remakes});
        static_cast<void>(family->decode(latents(count)));
        family->drop_decoder();
        return decoding.peak();
    };
    const auto last = size.last_chunk > 0 ? size.last_chunk : size.decode_chunk;
    shape.decode = {.kept = decode(size.decode_chunk, false), .remade = decode(size.decode_chunk, true)};
    shape.decode_last = {.kept = decode(last, false), .remade = decode(last, true)};
    shape.memory = size.choice;
}

}  // namespace weft::model

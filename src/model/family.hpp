#pragma once
#include "model/pass_layout.hpp"
#include "model/unit.hpp"
#include "model/weight_stream.hpp"
#include "plan/memory_choice.hpp"
#include "plan/pass.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

namespace weft::model {

/// Reads drawn pose maps of some frames of the clip: [frames, height, width, 3] uint8 on the CPU.
using PoseMaps = std::function<at::Tensor(const std::vector<std::int64_t>& frames)>;

/// One model family on one device, for one clip. Knows nothing of ranks, files or other slices.
/// Each network's weights are present from its load to its drop only.
class Family {
  public:
    virtual ~Family() = default;

    /// Runs the encoders on the reference picture as it was read, [height, width, 3] uint8 of any size, and keeps what the passes need; loads and drops their
    /// weights.
    virtual void encode(const at::Tensor& reference) = 0;

    /// Where the networks compute.
    [[nodiscard]] virtual c10::Device device() const = 0;

    /// Some latent frames before the first step, [frames, channels, h, w] fp32 on the CPU. Depends on seed and sizes alone.
    [[nodiscard]] virtual at::Tensor initial_latents(const std::vector<std::int64_t>& frames) = 0;

    /// Makes the units with true ready (by index; one entry a unit), and what every rank needs that runs any of them. Weights are streamed where `windows` has
    /// a chosen one; without any, relieve() streams none. The picture must be encoded.
    virtual void load_denoiser(const std::vector<bool>& wanted, const plan::MemoryChoice& choice = {}, const plan::WeightWindows& windows = {}) = 0;
    void load_denoiser() { load_denoiser(std::vector<bool>(units().size(), true)); }
    virtual void drop_denoiser() = 0;

    /// Runs a unit on some frames of the slice (Unit::run), when its weights are there.
    virtual void run(std::size_t unit, PassState& state, plan::FrameRange slots) = 0;

    /// Holds less from now on, with the same bits: forgets what is cached and streams weights through the least window, whatever the choice was.
    virtual void relieve() = 0;

    /// From now on takes half as many rows at once as before, with other bits; only for passes that are not cut. False: no fewer are possible.
    [[nodiscard]] virtual bool take_smaller_chunks() { return false; }

    /// What weights that are streamed have cost since they were loaded; none where they stay.
    [[nodiscard]] virtual std::optional<StreamTimes> stream_times() const { return std::nullopt; }
    /// What the stream has done since the last call.
    [[nodiscard]] virtual std::vector<StreamStretch> take_stream_stretches() { return {}; }
    [[nodiscard]] virtual const Units& units() const = 0;

    /// Pieces of a pass over one slice, and the sizes of what waits between them. Known before anything is loaded.
    [[nodiscard]] virtual const PassLayout& layout() const = 0;

    /// State for a part of a pass that begins behind the first unit: all but the tensors, which come from where the part before it ran.
    [[nodiscard]] virtual PassState resume(const plan::Pass& pass) = 0;

    /// State in front of the first unit, which must be loaded. `latents` [frames of the slice, channels, h, w] fp32, in slot order, on the device or
    /// on the CPU.
    [[nodiscard]] virtual PassState begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) = 0;

    /// Prediction behind the last unit, [frames of the slice, channels, h, w] in the network's type: the form in which it travels between ranks.
    [[nodiscard]] virtual at::Tensor finish(PassState& state) = 0;
    [[nodiscard]] virtual c10::ScalarType prediction_type() const = 0;

    /// Guided prediction to next latents; elementwise, all fp32 [n, channels, h, w], where they lie.
    [[nodiscard]] virtual at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const = 0;

    virtual void load_decoder(const plan::MemoryChoice& choice) = 0;
    void load_decoder() { load_decoder({}); }
    virtual void drop_decoder() = 0;

    /// One chunk of latents [n, channels, h, w] to frames [n, height, width, 3] fp32 in [0, 1].
    [[nodiscard]] virtual at::Tensor decode(const at::Tensor& latents) = 0;
};

}  // namespace weft::model

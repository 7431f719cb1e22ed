#pragma once
#include "device/device.hpp"
#include "model/family.hpp"
#include "model/networks/pose_features.hpp"
#include "model/networks/vae.hpp"
#include "model/weights.hpp"

#include <memory>
#include <optional>

namespace weft::model {

/// What of a job every family must know.
struct ClipForm {
    std::int64_t height = 0, width = 0;  ///< pixels
    std::int64_t slice_length = 0;       ///< frames of a slice
    std::int64_t steps = 0;
    std::int64_t seed = 0;
    c10::ScalarType dtype = c10::kFloat;
    c10::ScalarType decode_dtype = c10::kFloat;
    Chunks chunks;
    double flops_per_second = 50e9;  ///< by which layout() weighs the pieces of a pass

    [[nodiscard]] PassSize pass_size() const {
        return {.frames = slice_length, .height = height / 8, .width = width / 8, .element_bytes = static_cast<std::int64_t>(c10::elementSize(dtype))};
    }
};

/// The half of a family that all with a UNet of units, a pose network in front of it and a VAE share: loading, dropping, and the way of a pass's tensors.
class UNetFamily : public Family {
  public:
    void load_denoiser(const std::vector<bool>& wanted) final;
    void drop_denoiser() final;
    const Units& units() const final { return units_; }
    const PassLayout& layout() const final { return layout_; }
    PassState resume(const plan::Pass& pass) final;
    at::Tensor finish(PassState& state) final;
    c10::ScalarType prediction_type() const final { return form_.dtype; }
    void load_decoder() final;
    void drop_decoder() final { decoder_.reset(); }
    at::Tensor decode(const at::Tensor& latents) final;

  protected:
    UNetFamily(const ClipForm& form, const ComputeDevice& device, PoseMaps maps, PassLayout layout, Units units)
        : form_{form}, device_{device.torch}, maps_{std::move(maps)}, layout_{std::move(layout)}, units_{std::move(units)} {}

    /// The units anew, without weights.
    [[nodiscard]] virtual Units make_units() const = 0;
    [[nodiscard]] virtual std::unique_ptr<WeightSource> denoiser_source() const = 0;
    /// What the encoders left for the units; the picture must be encoded.
    [[nodiscard]] virtual Context context() const = 0;
    virtual void bind_embedding(const Weights& root) = 0;
    virtual void load_pose_network() = 0;
    virtual void drop_pose_network() = 0;
    /// SiLU of the embedding of a step, [1, embedding].
    [[nodiscard]] virtual at::Tensor silu_embedding(std::int64_t step) const = 0;
    /// Of the VAE, bound; and what latents are divided by in front of it.
    [[nodiscard]] virtual VaeDecoder bound_decoder() const = 0;
    [[nodiscard]] virtual double scaling_factor() const = 0;

    [[nodiscard]] at::Tensor on_device(const at::Tensor& x) const { return x.to(device_, form_.dtype); }
    /// Maps of some frames on the device, [frames, height, width, 3] fp32, 0 to 255.
    [[nodiscard]] at::Tensor maps_on_device(const std::vector<std::int64_t>& frames) const { return maps_(frames).to(device_).to(c10::kFloat); }

    ClipForm form_;
    c10::Device device_;
    PoseFeatures pose_features_;

  private:
    PoseMaps maps_;
    PassLayout layout_;
    Units units_;
    std::optional<VaeDecoder> decoder_;
};

/// lay_out() for such a family: the pose network counts to the first unit, the embedding to every rank.
[[nodiscard]] PassLayout lay_out_unet(const Units& units, std::int64_t pose_network_bytes, std::int64_t embedding_bytes, const PassSize& size,
                                      const Chunks& chunks, double flops_per_second);

/// Bytes that a network's weights take while it is loaded.
template <class Network>
[[nodiscard]] std::int64_t bytes_of_network(Network network, std::int64_t element_bytes) {
    KeyLister lister;
    network.bind(Weights{lister});
    return held_bytes(lister.take(), element_bytes);
}

}  // namespace weft::model

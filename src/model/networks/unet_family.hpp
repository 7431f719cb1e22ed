#pragma once
#include "device/device.hpp"
#include "model/family.hpp"
#include "model/networks/model_folder.hpp"

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

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

/// All that families with a UNet of units, a pose network in front of it, CLIP and a VAE share: loading, dropping, and the way of a pass's tensors. What is
/// left to a family is what goes into the encoders and the first unit, what the units are told, the noise and the sampler.
class UNetFamily : public Family {
  public:
    c10::Device device() const final { return device_; }
    void encode(const at::Tensor& reference) final;
    void load_denoiser(const std::vector<bool>& wanted, const plan::MemoryChoice& choice, const plan::WeightWindows& windows) final;
    using Family::load_denoiser;
    void drop_denoiser() final;
    const Units& units() const final { return units_; }
    void run(std::size_t unit, PassState& state, plan::FrameRange slots) final;
    void relieve() final;
    bool take_smaller_chunks() final;
    std::optional<StreamTimes> stream_times() const final;
    std::vector<StreamStretch> take_stream_stretches() final;
    const PassLayout& layout() const final { return layout_; }
    PassState resume(const plan::Pass& pass) final;
    PassState begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) final;
    at::Tensor finish(PassState& state) final;
    c10::ScalarType prediction_type() const final { return form_.dtype; }
    void load_decoder(const plan::MemoryChoice& choice) final;
    using Family::load_decoder;
    void drop_decoder() final { decoder_.reset(); }
    at::Tensor decode(const at::Tensor& latents) final;

  protected:
    UNetFamily(const ModelFolder& folder, const ClipForm& form, const ComputeDevice& device, PoseMaps maps);

    /// The reference as the encoders take it: `clip` [1, image, image, 3] normalised, `vae` [1, height, width, 3] in [-1, 1], both fp32 on the CPU.
    struct Pixels {
        at::Tensor clip, vae;
    };
    [[nodiscard]] virtual Pixels pixels_of(const at::Tensor& reference) const = 0;
    /// Keeps what passes need of the encoded picture: the VAE's mean latents [1, h, w, channels], not scaled, and CLIP's embedding [1, projection].
    virtual void keep(const at::Tensor& latents, const at::Tensor& embedding) = 0;

    /// The hidden state in front of the first unit, [frames, h, w, in_channels] in the model's type; `latents` as Family::begin has them.
    [[nodiscard]] virtual at::Tensor input_of(const plan::Pass& pass, const at::Tensor& latents) const = 0;
    /// Pose maps [frames, height, width, 3] fp32, 0 to 255, as the pose network takes them.
    [[nodiscard]] virtual at::Tensor pose_input(const at::Tensor& maps) const = 0;
    [[nodiscard]] virtual bool sees_pose(Branch branch) const = 0;
    /// What the units are told of a step.
    [[nodiscard]] virtual double timestep(std::int64_t step) const = 0;
    [[nodiscard]] virtual std::vector<double> ids() const { return {}; }

    ClipForm form_;
    c10::Device device_;
    std::map<std::string, at::Tensor> bank_;  ///< Context::bank, of families that have one

  private:
    [[nodiscard]] Context context() const;
    void bind(Unit& unit) const;
    void stream_weights(const plan::WeightWindow& window);
    void end_stream();
    void bind_decoder(c10::ScalarType dtype);
    /// Features of the frames in some slots of a slice, whose frames `frames` names in slot order: [slots, h, w, channels].
    [[nodiscard]] at::Tensor pose_features(std::int64_t slice, const std::vector<std::int64_t>& frames, plan::FrameRange slots);

    const ModelFolder& folder_;
    PoseMaps maps_;
    PassLayout layout_;
    plan::MemoryChoice choice_;
    plan::WeightWindows windows_;
    Units units_;
    std::unique_ptr<WeightSource> weights_;  ///< of the units, while any is loaded
    std::optional<WeightStream> stream_;
    StreamTimes streamed_before_;  ///< by streams before this one
    at::Tensor image_embedding_;
    std::optional<UNetEmbedding> embedding_;                                     ///< while any unit is loaded
    std::optional<PoseNetwork> pose_network_;                                    ///< while the first one is
    std::map<std::pair<std::int64_t, std::int64_t>, at::Tensor> pose_features_;  ///< that are kept, by slice and first slot
    std::optional<VaeDecoder> decoder_;
    c10::ScalarType decoder_type_ = c10::kFloat;  ///< that it is bound in
};

}  // namespace weft::model

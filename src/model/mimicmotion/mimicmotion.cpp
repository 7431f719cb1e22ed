#include "model/mimicmotion/mimicmotion.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/mimicmotion/clip_pixels.hpp"
#include "model/mimicmotion/pose_net.hpp"
#include "model/mimicmotion/unet.hpp"
#include "model/networks/vae.hpp"
#include "model/pictures.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <optional>

namespace weft::model::mimicmotion {

namespace {

class MimicMotion final : public UNetFamily {
  public:
    MimicMotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps)
        : UNetFamily{settings, device, std::move(maps), lay_out_pass(folder.config(), settings.pass_size(), settings.chunks, settings.flops_per_second),
                     make_unet(folder.config().unet)},
          folder_{folder},
          settings_{settings},
          sampler_{settings.steps, folder.config().scheduler.sigma_min, folder.config().scheduler.sigma_max},
          embedding_{folder.config().unet} {}

    void encode(const at::Tensor& picture) override;
    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override;
    PassState begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) override;
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const override {
        return sampler_.step(latents, prediction, step);
    }

  private:
    Units make_units() const override { return make_unet(folder_.config().unet); }
    std::unique_ptr<WeightSource> denoiser_source() const override { return folder_.source(Part::unet, device_, settings_.dtype); }
    Context context() const override {
        ensure(image_embedding_.defined(), "the denoiser is loaded before the picture is encoded");
        return {.tokens = {at::zeros_like(image_embedding_), image_embedding_}};
    }
    void bind_embedding(const Weights& root) override { embedding_.bind(root); }
    void load_pose_network() override;
    void drop_pose_network() override {
        embedding_ = UNetEmbedding{folder_.config().unet};
        pose_net_.reset();
    }
    at::Tensor silu_embedding(std::int64_t step) const override {
        // The model is told fps - 1, as published.
        return embedding_(sampler_.timestep(step), {static_cast<double>(settings_.fps - 1), static_cast<double>(settings_.motion_bucket), settings_.noise_aug});
    }
    VaeDecoder bound_decoder() const override;
    double scaling_factor() const override { return folder_.config().vae.scaling_factor; }

    const ModelFolder& folder_;
    ClipSettings settings_;
    EulerSampler sampler_;
    at::Tensor image_embedding_;  ///< [1, projection]
    at::Tensor image_latents_;    ///< [1, h, w, channels], unscaled mean
    UNetEmbedding embedding_;
    std::optional<PoseNet> pose_net_;
};

void MimicMotion::encode(const at::Tensor& picture) {
    const auto& config = folder_.config();
    const auto reference = truncated_round_trip(cover_bilinear(picture, settings_.height, settings_.width));
    {
        const auto source = folder_.source(Part::image_encoder, device_, settings_.dtype);
        ClipEncoder encoder(config.clip);
        encoder.bind(Weights{*source});
        const OwnedBy owner(Owner::conditioning);
        image_embedding_ = encoder(on_device(clip_pixels(reference, config.clip.image, config.preprocessor)));
    }
    const auto source = folder_.source(Part::vae, device_, settings_.dtype);
    VaeEncoder encoder(config.vae);
    encoder.bind(Weights{*source});
    const OwnedBy owner(Owner::conditioning);
    image_latents_ = encoder(on_device(vae_pixels(reference, settings_, config.vae.latent_channels)));
}

at::Tensor MimicMotion::initial_latents(const std::vector<std::int64_t>& frames) {
    const auto noise = draw_noise(settings_, folder_.config().vae.latent_channels).latents * static_cast<double>(sampler_.init_noise_sigma());
    const OwnedBy owner(Owner::latents);
    std::vector<std::int64_t> slots;
    for (const auto frame : frames)
        slots.push_back(frame < settings_.num_frames ? frame % settings_.slice_length : 0);  // behind the clip stand private anchors
    return noise.index_select(0, at::tensor(slots, at::TensorOptions{}.dtype(c10::kLong))).to(device_);
}

void MimicMotion::load_pose_network() {
    const auto source = folder_.source(Part::pose_net, device_, settings_.dtype);
    pose_net_.emplace(folder_.config().unet.channels.front());
    pose_net_->bind(Weights{*source});
}

PassState MimicMotion::begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) {
    ensure(pose_net_.has_value(), "a pass begins where its first unit is loaded");
    const OwnedBy owner(Owner::activations);
    auto state = resume(pass);
    auto noisy = sampler_.scale_input(latents, pass.step).to(settings_.dtype).permute({0, 2, 3, 1});
    const bool conditional = pass.branch == Branch::conditional;
    const auto picture = conditional ? image_latents_.expand(noisy.sizes()) : at::zeros_like(image_latents_).expand(noisy.sizes());
    state.hidden = at::cat({noisy.contiguous(), picture}, -1);
    if (conditional)
        state.pose = pose_features_.of(pass.slice, frames, [this](const std::vector<std::int64_t>& some) {
            return (*pose_net_)((maps_on_device(some) / 127.5 - 1.0).to(settings_.dtype));
        });
    return state;
}

VaeDecoder MimicMotion::bound_decoder() const {
    const auto source = folder_.source(Part::vae, device_, settings_.decode_dtype);
    VaeDecoder decoder(folder_.config().vae, VaeDecoder::Kind::temporal);
    decoder.bind(Weights{*source});
    return decoder;
}

}  // namespace

PassLayout lay_out_pass(const Config& config, const PassSize& size, const Chunks& chunks, double flops_per_second) {
    return lay_out_unet(make_unet(config.unet), bytes_of_network(PoseNet{config.unet.channels.front()}, size.element_bytes),
                        bytes_of_network(UNetEmbedding{config.unet}, size.element_bytes), size, chunks, flops_per_second);
}

std::unique_ptr<Family> make_mimicmotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps) {
    return std::make_unique<MimicMotion>(folder, settings, device, std::move(maps));
}

at::Tensor vae_pixels(const at::Tensor& reference, const ClipSettings& settings, std::int64_t channels) {
    const auto pixels = reference.unsqueeze(0).to(c10::kFloat) / 255.0 * 2.0 - 1.0;
    if (settings.noise_aug == 0) return pixels;
    return (pixels + settings.noise_aug * draw_noise(settings, channels).picture.permute({0, 2, 3, 1})).contiguous();
}

Draws draw_noise(const ClipSettings& settings, std::int64_t channels) {
    const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(settings.seed));
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    Draws draws;
    draws.picture = at::randn({1, 3, settings.height, settings.width}, generator, options);
    draws.latents = at::randn({1, settings.slice_length, channels, settings.height / 8, settings.width / 8}, generator, options)[0];
    return draws;
}

}  // namespace weft::model::mimicmotion

#include "model/mimicmotion/mimicmotion.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/mimicmotion/clip_pixels.hpp"
#include "model/mimicmotion/pose_net.hpp"
#include "model/mimicmotion/unet.hpp"
#include "model/networks/pose_features.hpp"
#include "model/networks/vae.hpp"
#include "model/pictures.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <optional>

namespace weft::model::mimicmotion {

namespace {

class MimicMotion final : public Family {
  public:
    MimicMotion(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps)
        : folder_{folder},
          settings_{settings},
          device_{device.torch},
          maps_{std::move(maps)},
          sampler_{settings.steps, folder.config().scheduler.sigma_min, folder.config().scheduler.sigma_max},
          layout_{lay_out_pass(folder.config(),
                               {.frames = settings.slice_length,
                                .height = settings.height / 8,
                                .width = settings.width / 8,
                                .element_bytes = static_cast<std::int64_t>(c10::elementSize(settings.dtype))},
                               settings.chunks, settings.flops_per_second)},
          units_{make_unet(folder.config().unet)},
          embedding_{folder.config().unet} {}

    void encode(const at::Tensor& picture) override;
    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override;
    void load_denoiser(const std::vector<bool>& wanted) override;
    void drop_denoiser() override;
    const Units& units() const override { return units_; }
    const PassLayout& layout() const override { return layout_; }
    PassState resume(const plan::Pass& pass) override;
    PassState begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) override;
    at::Tensor finish(PassState& state) override;
    c10::ScalarType prediction_type() const override { return settings_.dtype; }
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const override {
        return sampler_.step(latents, prediction, step);
    }
    void load_decoder() override;
    void drop_decoder() override { decoder_.reset(); }
    at::Tensor decode(const at::Tensor& latents) override;

  private:
    [[nodiscard]] at::Tensor on_device(const at::Tensor& x) const { return x.to(device_, settings_.dtype); }

    const ModelFolder& folder_;
    ClipSettings settings_;
    c10::Device device_;
    PoseMaps maps_;
    EulerSampler sampler_;

    at::Tensor image_embedding_;  ///< [1, projection]
    at::Tensor image_latents_;    ///< [1, h, w, channels], unscaled mean

    PassLayout layout_;
    Units units_;
    UNetEmbedding embedding_;
    std::optional<PoseNet> pose_net_;
    PoseFeatures pose_features_;
    std::optional<VaeDecoder> decoder_;
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

void MimicMotion::load_denoiser(const std::vector<bool>& wanted) {
    ensure(image_embedding_.defined(), "the denoiser is loaded before the picture is encoded");
    ensure(wanted.size() == units_.size(), "each unit is wanted or not");
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
    const auto source = folder_.source(Part::unet, device_, settings_.dtype);
    const Weights root{*source};
    embedding_.bind(root);
    const Context context{.tokens = {at::zeros_like(image_embedding_), image_embedding_}};
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
        if (!wanted[unit]) continue;
        units_[unit]->bind(root);
        units_[unit]->set_context(root, context);
    }
    if (!wanted.front()) return;
    const auto pose_source = folder_.source(Part::pose_net, device_, settings_.dtype);
    pose_net_.emplace(folder_.config().unet.channels.front());
    pose_net_->bind(Weights{*pose_source});
}

void MimicMotion::drop_denoiser() {
    units_ = make_unet(folder_.config().unet);
    embedding_ = UNetEmbedding{folder_.config().unet};
    pose_net_.reset();
    pose_features_.clear();
}

PassState MimicMotion::resume(const plan::Pass& pass) {
    const OwnedBy owner(Owner::activations);
    PassState state;
    state.branch = pass.branch;
    state.height = settings_.height / 8;
    state.width = settings_.width / 8;
    state.chunks = settings_.chunks;
    // The model is told fps - 1, as published.
    state.silu_embedding =
        embedding_(sampler_.timestep(pass.step), {static_cast<double>(settings_.fps - 1), static_cast<double>(settings_.motion_bucket), settings_.noise_aug});
    return state;
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
            return (*pose_net_)((maps_(some).to(device_).to(c10::kFloat) / 127.5 - 1.0).to(settings_.dtype));
        });
    return state;
}

at::Tensor MimicMotion::finish(PassState& state) {
    ensure(state.skips.empty() && !state.residual.defined() && !state.partial.defined(), "a pass ended with skips, a residual or half a result left over");
    const OwnedBy owner(Owner::latents);
    return state.hidden.permute({0, 3, 1, 2}).contiguous();
}

void MimicMotion::load_decoder() {
    const auto source = folder_.source(Part::vae, device_, settings_.decode_dtype);
    decoder_.emplace(folder_.config().vae, VaeDecoder::Kind::temporal);
    decoder_->bind(Weights{*source});
}

at::Tensor MimicMotion::decode(const at::Tensor& latents) {
    const OwnedBy owner(Owner::activations);
    const auto scaled = (latents * (1.0 / folder_.config().vae.scaling_factor)).permute({0, 2, 3, 1}).contiguous();
    const auto frames = (*decoder_)(scaled.to(device_, settings_.decode_dtype)).to(c10::kFloat);
    return (frames / 2.0 + 0.5).clamp_(0.0, 1.0);
}

}  // namespace

PassLayout lay_out_pass(const Config& config, const PassSize& size, const Chunks& chunks, double flops_per_second) {
    const auto bytes_of = [&](auto network) {
        KeyLister lister;
        network.bind(Weights{lister});
        return held_bytes(lister.take(), size.element_bytes);
    };
    std::vector<UnitSketch> sketches;
    for (const auto& unit : make_unet(config.unet)) sketches.push_back(sketch_of(*unit, size.element_bytes));
    sketches.front().weight_bytes += bytes_of(PoseNet{config.unet.channels.front()});
    return lay_out(sketches, size, chunks, flops_per_second, bytes_of(UNetEmbedding{config.unet}));
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

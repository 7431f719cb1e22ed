#include "model/musepose/musepose.hpp"

#include "base/error.hpp"
#include "device/meter.hpp"
#include "io/resample.hpp"
#include "model/musepose/pose_guider.hpp"
#include "model/musepose/unet.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <cstring>
#include <optional>

namespace weft::model::musepose {

namespace {

at::Tensor resampled(const at::Tensor& picture, std::int64_t height, std::int64_t width, io::Filter filter) {
    const auto bytes = picture.contiguous();
    io::Picture from{.width = static_cast<int>(bytes.size(1)), .height = static_cast<int>(bytes.size(0)), .rgb = std::vector<std::uint8_t>(bytes.nbytes())};
    std::memcpy(from.rgb.data(), bytes.const_data_ptr(), from.rgb.size());
    const auto to = io::resample(from, static_cast<int>(width), static_cast<int>(height), filter);
    auto made = at::empty({height, width, 3}, at::TensorOptions{}.dtype(c10::kByte));
    std::memcpy(made.mutable_data_ptr(), to.rgb.data(), to.rgb.size());
    return made;
}

class MusePose final : public UNetFamily {
  public:
    MusePose(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps)
        : UNetFamily{settings, device, std::move(maps), lay_out_pass(folder.config(), settings.pass_size(), settings.chunks, settings.flops_per_second),
                     make_denoiser(folder.config().unet)},
          folder_{folder},
          settings_{settings},
          sampler_{settings.steps, folder.config().scheduler},
          embedding_{folder.config().unet} {}

    void encode(const at::Tensor& reference) override;
    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override;
    PassState begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) override;
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const override {
        return sampler_.step(latents, prediction, step);
    }

  private:
    Units make_units() const override { return make_denoiser(folder_.config().unet); }
    std::unique_ptr<WeightSource> denoiser_source() const override { return folder_.source(Part::denoiser, device_, settings_.dtype); }
    Context context() const override {
        ensure(image_embedding_.defined(), "the denoiser is loaded before the picture is encoded");
        return {.tokens = {at::zeros_like(image_embedding_), image_embedding_}, .bank = &bank_};
    }
    void bind_embedding(const Weights& root) override { embedding_.bind(root); }
    void load_pose_network() override;
    void drop_pose_network() override {
        embedding_ = UNetEmbedding{folder_.config().unet};
        pose_guider_.reset();
    }
    at::Tensor silu_embedding(std::int64_t step) const override {
        return embedding_(static_cast<double>(sampler_.timesteps().at(static_cast<std::size_t>(step))));
    }
    VaeDecoder bound_decoder() const override;
    double scaling_factor() const override { return folder_.config().vae.scaling_factor; }

    const ModelFolder& folder_;
    ClipSettings settings_;
    DdimSampler sampler_;
    at::Tensor image_embedding_;  ///< [1, projection]
    Bank bank_;
    UNetEmbedding embedding_;
    std::optional<PoseGuider> pose_guider_;
};

void MusePose::encode(const at::Tensor& reference) {
    const auto& config = folder_.config();
    {
        const auto source = folder_.source(Part::image_encoder, device_, settings_.dtype);
        ClipEncoder encoder(config.clip);
        encoder.bind(Weights{*source});
        const OwnedBy owner(Owner::conditioning);
        image_embedding_ = encoder(on_device(clip_pixels(reference, config.clip.image)));
    }
    at::Tensor latents;
    {
        const auto source = folder_.source(Part::vae, device_, settings_.dtype);
        VaeEncoder encoder(config.vae);
        encoder.bind(Weights{*source});
        const auto pixels = 2.0 * (squashed(reference, settings_.height, settings_.width).to(c10::kFloat) / 255.0) - 1.0;
        latents = encoder(on_device(pixels.unsqueeze(0))) * config.vae.scaling_factor;
    }
    bank_ = as_published(make_bank(folder_, latents, image_embedding_, settings_.chunks));
}

at::Tensor MusePose::initial_latents(const std::vector<std::int64_t>& frames) {
    const auto noise = draw_noise(settings_, folder_.config().vae.latent_channels);
    const OwnedBy owner(Owner::latents);
    return noise.index_select(0, at::tensor(frames, at::TensorOptions{}.dtype(c10::kLong))).to(device_);
}

void MusePose::load_pose_network() {
    const auto source = folder_.source(Part::pose_guider, device_, settings_.dtype);
    pose_guider_.emplace(folder_.config().pose_guider, folder_.config().unet.channels.front());
    pose_guider_->bind(Weights{*source});
}

PassState MusePose::begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) {
    ensure(pose_guider_.has_value(), "a pass begins where its first unit is loaded");
    const OwnedBy owner(Owner::activations);
    auto state = resume(pass);
    state.hidden = latents.to(settings_.dtype).permute({0, 2, 3, 1}).contiguous();
    state.pose = pose_features_.of(
        pass.slice, frames, [this](const std::vector<std::int64_t>& some) { return (*pose_guider_)((maps_on_device(some) / 255.0).to(settings_.dtype)); });
    return state;
}

VaeDecoder MusePose::bound_decoder() const {
    const auto source = folder_.source(Part::vae, device_, settings_.decode_dtype);
    VaeDecoder decoder(folder_.config().vae, VaeDecoder::Kind::frames);
    decoder.bind(Weights{*source});
    return decoder;
}

}  // namespace

PassLayout lay_out_pass(const Config& config, const PassSize& size, const Chunks& chunks, double flops_per_second) {
    return lay_out_unet(make_denoiser(config.unet), bytes_of_network(PoseGuider{config.pose_guider, config.unet.channels.front()}, size.element_bytes),
                        bytes_of_network(UNetEmbedding{config.unet}, size.element_bytes), size, chunks, flops_per_second);
}

std::unique_ptr<Family> make_musepose(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps) {
    return std::make_unique<MusePose>(folder, settings, device, std::move(maps));
}

at::Tensor clip_pixels(const at::Tensor& reference, std::int64_t image) {
    const auto small = clip_picture(reference, image).unsqueeze(0).to(c10::kFloat) / 255.0;
    return clip_normalised(small, {0.48145466, 0.4578275, 0.40821073}, {0.26862954, 0.26130258, 0.27577711});
}

at::Tensor clip_picture(const at::Tensor& reference, std::int64_t image) {
    return resampled(reference, image, image, io::Filter::bicubic);
}

at::Tensor squashed(const at::Tensor& picture, std::int64_t height, std::int64_t width) {
    return resampled(picture, height, width, io::Filter::lanczos);
}

at::Tensor draw_noise(const ClipSettings& settings, std::int64_t channels) {
    const auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(settings.seed));
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    return at::randn({1, channels, settings.num_latents, settings.height / 8, settings.width / 8}, generator, options)[0].transpose(0, 1).contiguous();
}

Bank make_bank(const ModelFolder& folder, const at::Tensor& latents, const at::Tensor& embedding, const Chunks& chunks) {
    const auto& config = folder.config().unet;
    const auto source = folder.source(Part::reference, latents.device(), latents.scalar_type());
    const Weights root{*source};
    UNetEmbedding time(config);
    time.bind(root);
    auto units = make_reference(config);
    Bank bank;
    PassState state;
    state.branch = Branch::conditional;
    state.hidden = latents;
    state.height = latents.size(1);
    state.width = latents.size(2);
    state.chunks = chunks;
    state.silu_embedding = time(0);
    state.record_bank = [&bank](const std::string& block, const at::Tensor& normed) {
        const OwnedBy owner(Owner::conditioning);
        bank[block] = normed[0].clone();
    };
    const auto needed = units_for_bank(units);
    for (std::size_t unit = 0; unit < needed; ++unit) {  // one after the other, so that no more than one unit's weights are there
        units[unit]->bind(root);
        units[unit]->set_context(root, {.tokens = {embedding, embedding}});
        units[unit]->run(state, all_slots(state));
        units[unit].reset();
    }
    return bank;
}

Bank as_published(const Bank& bank) {
    const OwnedBy owner(Owner::conditioning);
    Bank cast;
    for (const auto& [block, tokens] : bank) cast[block] = tokens.to(c10::kHalf);
    return cast;
}

}  // namespace weft::model::musepose

#include "model/musepose/musepose.hpp"

#include "device/meter.hpp"
#include "io/resample.hpp"
#include "model/musepose/ddim.hpp"
#include "model/musepose/unet.hpp"
#include "model/networks/folder_model.hpp"

#include <ATen/CPUGeneratorImpl.h>

#include <cstring>

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
        : UNetFamily{folder, settings, device, std::move(maps)}, folder_{folder}, settings_{settings}, sampler_{settings.steps, folder.config().scheduler} {}

    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override;
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t step) const override {
        return sampler_.step(latents, prediction, step);
    }

  private:
    Pixels pixels_of(const at::Tensor& reference) const override;
    void keep(const at::Tensor& latents, const at::Tensor& embedding) override;
    at::Tensor input_of(const plan::Pass& /*pass*/, const at::Tensor& latents) const override {
        return latents.to(settings_.dtype).permute({0, 2, 3, 1}).contiguous();
    }
    at::Tensor pose_input(const at::Tensor& maps) const override { return maps / 255.0; }
    bool sees_pose(Branch /*branch*/) const override { return true; }
    double timestep(std::int64_t step) const override { return static_cast<double>(sampler_.timesteps().at(static_cast<std::size_t>(step))); }

    const ModelFolder& folder_;
    ClipSettings settings_;
    DdimSampler sampler_;
};

UNetFamily::Pixels MusePose::pixels_of(const at::Tensor& reference) const {
    const auto pixels = 2.0 * (squashed(reference, settings_.height, settings_.width).to(c10::kFloat) / 255.0) - 1.0;
    return {clip_pixels(reference, folder_.config().clip.image), pixels.unsqueeze(0)};
}

void MusePose::keep(const at::Tensor& latents, const at::Tensor& embedding) {
    bank_ = as_published(make_bank(folder_, latents * folder_.config().vae.scaling_factor, embedding, settings_.chunks));
}

at::Tensor MusePose::initial_latents(const std::vector<std::int64_t>& frames) {
    const auto noise = draw_noise(settings_, folder_.config().vae.latent_channels);
    const OwnedBy owner(Owner::latents);
    return noise.index_select(0, at::tensor(frames, at::TensorOptions{}.dtype(c10::kLong)));
}

}  // namespace

std::unique_ptr<Family> make_musepose(const ModelFolder& folder, const ClipSettings& settings, const ComputeDevice& device, PoseMaps maps) {
    return std::make_unique<MusePose>(folder, settings, device, std::move(maps));
}

std::unique_ptr<Family> for_clip(const ModelFolder& folder, const Settings& settings, const plan::Plan& plan, const ComputeDevice& device, PoseMaps maps) {
    ClipSettings clip(form_of(settings, plan, device));
    clip.num_latents = plan.num_latents;
    return make_musepose(folder, clip, device, std::move(maps));
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
    const auto source = folder.source(Part::reference, latents.device(), latents.scalar_type());
    const Weights root{*source};
    auto time = folder.networks().embedding;
    time.bind(root);
    auto units = folder.networks().reference();
    Bank bank;
    PassState state;
    state.hidden = latents;
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

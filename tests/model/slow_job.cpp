#include "model/slow_job.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/clip_pixels.hpp"
#include "model/mimicmotion/euler.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"
#include "model/pictures.hpp"
#include "plan/slices.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace weft::model::mimicmotion {
namespace {

using golden::nchw;
using golden::Tensors;

at::Tensor rows_of(const at::Tensor& x, const std::vector<std::int64_t>& frames) {
    return x.index_select(0, at::tensor(frames, at::kLong).to(x.device()));
}

class SlowJob {
  public:
    SlowJob(const golden::Case& wanted, const golden::Where& where) : wanted_{wanted}, where_{where}, folder_{golden::tiny_model()} {
        const auto& given = wanted.facts.at("parameters");
        settings_.height = given.at("height");
        settings_.width = given.at("width");
        settings_.num_frames = given.at("num_frames");
        settings_.slice_length = std::min(given.at("tile_size").get<std::int64_t>(), settings_.num_frames);
        settings_.steps = given.at("num_inference_steps");
        settings_.seed = given.at("seed");
        settings_.noise_aug = given.at("noise_aug_strength");
        settings_.fps = given.at("fps");
        settings_.motion_bucket = given.at("motion_bucket_id");
        settings_.dtype = settings_.decode_dtype = where.dtype;
        slices_ = plan::make_slices(settings_.num_frames, settings_.slice_length, given.at("tile_overlap"));
        const auto recorded = wanted.facts.at("slices");
        EXPECT_EQ(recorded.size(), slices_.size());
        for (std::size_t i = 0; i < slices_.size(); ++i) EXPECT_EQ(slices_[i].frames, recorded.at(i).get<std::vector<std::int64_t>>());
        family_ = make_mimicmotion(folder_, settings_, where.device,
                                   [this](const std::vector<std::int64_t>& frames) { return rows_of(wanted_.recorded.at("poses_u8"), frames); });
    }

    Tensors run() {
        encode();
        auto latents = start();
        for (std::int64_t step = 0; step < settings_.steps; ++step) {
            const auto guided = predict(latents, step);
            latents = family_->step(latents, guided, step);
            out_[cat("step", step, ".guided")] = guided.unsqueeze(0);
            out_[cat("step", step, ".latents")] = latents.unsqueeze(0);
        }
        family_->drop_denoiser();
        decode(latents);
        return golden::on_host(out_);
    }

  private:
    void encode() {
        const auto& config = folder_.config();
        const auto used = truncated_round_trip(wanted_.recorded.at("reference_u8"));
        out_["reference_u8_used"] = used;
        const auto pixels = clip_pixels(used, config.clip.image, config.preprocessor);
        out_["clip_pixels"] = nchw(pixels);
        const auto clip_weights = folder_.source(Part::image_encoder, where_.device.torch, where_.dtype);
        out_["image_embeds"] = ClipEncoder(config.clip)(Weights{*clip_weights}, where_(pixels));
        const auto picture = vae_pixels(used, settings_, config.vae.latent_channels);
        out_["vae_input"] = nchw(picture);
        VaeEncoder vae(config.vae);
        vae.bind(Weights{*folder_.source(Part::vae, where_.device.torch, where_.dtype)});
        out_["image_latents"] = nchw(vae(where_(picture), Chunks{}));
        family_->encode(wanted_.recorded.at("reference_u8"));
    }

    at::Tensor start() {
        const auto& given = wanted_.facts.at("parameters");
        const auto draws = draw_noise(settings_, folder_.config().vae.latent_channels);
        out_["noise_aug"] = draws.picture;
        out_["initial_noise"] = draws.latents.unsqueeze(0);
        out_["added_time_ids"] =
            at::tensor({static_cast<double>(settings_.fps - 1), static_cast<double>(settings_.motion_bucket), settings_.noise_aug}).to(at::kFloat).unsqueeze(0);
        const EulerSampler sampler(settings_.steps, folder_.config().scheduler.sigma_min, folder_.config().scheduler.sigma_max);
        std::vector<float> sigmas;
        std::vector<float> timesteps;
        for (std::int64_t step = 0; step <= settings_.steps; ++step) sigmas.push_back(sampler.sigma(step));
        for (std::int64_t step = 0; step < settings_.steps; ++step) timesteps.push_back(sampler.timestep(step));
        out_["sigmas"] = at::tensor(sigmas);
        out_["timesteps"] = at::tensor(timesteps);
        guidance_ = at::linspace(given.at("min_guidance_scale").get<double>(), given.at("max_guidance_scale").get<double>(), settings_.num_frames, at::kFloat);
        weights_ = plan::slot_weights(settings_.slice_length);
        out_["guidance"] = guidance_;
        out_["slot_weights"] = at::tensor(weights_);
        out_["pose_features"] =
            at::full({settings_.num_frames, folder_.config().unet.channels.front(), settings_.height / 8, settings_.width / 8}, std::nan(""), at::kFloat);
        std::vector<std::int64_t> all(static_cast<std::size_t>(settings_.num_frames));
        std::iota(all.begin(), all.end(), 0);
        const auto latents = family_->initial_latents(all);
        out_["initial_latents"] = latents.unsqueeze(0);
        family_->load_denoiser();
        return latents;
    }

    /// Contributions are added in slice order.
    at::Tensor predict(const at::Tensor& latents, std::int64_t step) {
        std::array<at::Tensor, num_branches> sum{at::zeros_like(latents), at::zeros_like(latents)};
        const auto weight_sum = at::zeros({settings_.num_frames}, at::kFloat);
        for (std::size_t slice = 0; slice < slices_.size(); ++slice) {
            const auto& frames = slices_[slice].frames;
            for (const auto branch : {Branch::unconditional, Branch::conditional}) {
                const auto v = run_pass({step, static_cast<std::int64_t>(slice), branch}, rows_of(latents, frames), frames);
                for (std::size_t slot = 0; slot < frames.size(); ++slot)
                    sum[static_cast<std::size_t>(branch)][frames[slot]].add_(v[static_cast<std::int64_t>(slot)] * weights_[slot]);
            }
            for (std::size_t slot = 0; slot < frames.size(); ++slot) weight_sum[frames[slot]].add_(weights_[slot]);
        }
        const auto divisor = weight_sum.view({-1, 1, 1, 1}).to(latents.device());
        const auto unconditional = sum[0] / divisor;
        const auto conditional = sum[1] / divisor;
        if (step == 0) {
            out_["step0.weight_sum"] = weight_sum;
            out_["step0.blended.uncond"] = unconditional.unsqueeze(0);
            out_["step0.blended.cond"] = conditional.unsqueeze(0);
        }
        return unconditional + guidance_.view({-1, 1, 1, 1}).to(latents.device()) * (conditional - unconditional);
    }

    at::Tensor run_pass(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) {
        auto state = family_->begin(pass, latents, frames);
        const bool conditional = pass.branch == Branch::conditional;
        const auto name = cat("step", pass.step, ".slice", pass.slice, conditional ? ".cond" : ".uncond");
        if (pass.step == 0) out_[name + ".input"] = nchw(state.hidden).unsqueeze(0).clone();
        if (conditional)
            out_["pose_features"].index_copy_(0, at::tensor(frames, at::kLong), nchw(state.pose({0, state.hidden.size(0)})).to(at::kCPU, at::kFloat));
        run_all(family_->units(), state);
        const auto v = family_->finish(state).to(latents.device(), at::kFloat);
        if (pass.step == 0) out_[name] = v.unsqueeze(0);
        return v;
    }

    void decode(const at::Tensor& latents) {
        family_->load_decoder();
        std::vector<at::Tensor> parts;
        for (const auto& chunk : plan::decode_chunks(settings_.num_frames, wanted_.facts.at("parameters").at("decode_chunk_size")))
            parts.push_back(family_->decode(latents.narrow(0, chunk.begin, chunk.size())));
        const auto frames = at::cat(parts);
        out_["frames"] = nchw(frames);
        out_["frames_u8"] = to_bytes(frames.narrow(0, 1, frames.size(0) - 1));  // without the reference
    }

    const golden::Case& wanted_;
    const golden::Where where_;
    ModelFolder folder_;
    ClipSettings settings_;
    plan::Slices slices_;
    std::unique_ptr<Family> family_;
    at::Tensor guidance_;         ///< by frame
    std::vector<float> weights_;  ///< by slot
    Tensors out_;
};

}  // namespace

golden::Tensors run_slowly(const golden::Case& wanted, const golden::Where& where) {
    return SlowJob(wanted, where).run();
}

}  // namespace weft::model::mimicmotion

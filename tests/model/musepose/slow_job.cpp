#include "model/musepose/slow_job.hpp"

#include "base/text.hpp"
#include "io/resample.hpp"
#include "model/musepose/ddim.hpp"
#include "model/musepose/musepose.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"
#include "model/pictures.hpp"
#include "plan/slices.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace weft::model::musepose {
namespace {

using golden::nchw;
using golden::Tensors;

at::Tensor rows_of(const at::Tensor& x, const std::vector<std::int64_t>& frames) {
    return x.index_select(0, at::tensor(frames, at::kLong).to(x.device()));
}

/// [frames, channels, h, w] as the recorded tensors have it.
at::Tensor recorded_form(const at::Tensor& x) {
    return x.transpose(0, 1).unsqueeze(0);
}

class SlowJob {
  public:
    SlowJob(const golden::Case& wanted, const golden::Where& where) : wanted_{wanted}, where_{where}, folder_{golden::tiny_musepose()} {
        const auto& given = wanted.facts.at("params");
        poses_ = wanted.recorded.at("in.pose_frames");
        num_frames_ = wanted.facts.at("L");
        stride_ = given.at("skip").get<std::int64_t>() + 1;
        const std::int64_t length = given.at("S"), overlap = given.at("O");
        settings_.height = given.at("H");
        settings_.width = given.at("W");
        settings_.num_latents = given.at("repeat").get<bool>() ? plan::padded_frames(num_frames_, length, overlap) : num_frames_;
        EXPECT_EQ(settings_.num_latents, wanted.facts.at("F_total").get<std::int64_t>());
        windows_ = plan::make_windows(settings_.num_latents, length, overlap);
        for (const auto& recorded : wanted.facts.at("windows_per_step")) {
            EXPECT_EQ(recorded.size(), windows_.size());
            for (std::size_t i = 0; i < windows_.size(); ++i) EXPECT_EQ(windows_[i].frames, recorded.at(i).get<std::vector<std::int64_t>>());
        }
        settings_.slice_length = static_cast<std::int64_t>(windows_.front().frames.size());
        settings_.steps = given.at("steps");
        settings_.seed = given.at("seed");
        settings_.dtype = settings_.decode_dtype = where.dtype;
        guidance_ = given.at("cfg");
        guided_ = guidance_ > 1;
        family_ = make_musepose(folder_, settings_, where.device, [this](const std::vector<std::int64_t>& frames) {
            std::vector<at::Tensor> maps;
            for (const auto frame : frames) maps.push_back(map(frame));
            return at::stack(maps);
        });
    }

    Tensors run() {
        encode();
        std::vector<std::int64_t> all(static_cast<std::size_t>(settings_.num_latents));
        std::iota(all.begin(), all.end(), 0);
        auto latents = family_->initial_latents(all);
        out_["noise"] = recorded_form(latents);
        family_->load_denoiser();
        for (std::int64_t step = 0; step < settings_.steps; ++step) {
            const auto guided = predict(latents, step);
            if (step + 1 == settings_.steps) out_["guided.last"] = recorded_form(guided);
            latents = family_->step(latents, guided, step);
            out_[cat("latents.", step < 10 ? "0" : "", step)] = recorded_form(latents);
        }
        family_->drop_denoiser();
        decode(latents);
        return golden::on_host(out_);
    }

  private:
    /// Of a latent frame, repeats included.
    [[nodiscard]] at::Tensor map(std::int64_t frame) const {
        return squashed(poses_[std::min(frame, num_frames_ - 1) * stride_], settings_.height, settings_.width);
    }

    void encode() {
        const auto& config = folder_.config();
        const auto reference = wanted_.recorded.at("in.reference");
        const auto pixels = clip_pixels(reference, config.clip.image);
        out_["clip.pixel_u8"] = clip_picture(reference, config.clip.image);
        out_["clip.pixel"] = nchw(pixels).index_select(2, at::arange(0, 224, 32));
        const auto clip_weights = folder_.source(Part::image_encoder, where_.device.torch, where_.dtype);
        const auto embedding = ClipEncoder(config.clip)(Weights{*clip_weights}, where_(pixels));
        out_["clip.embed"] = embedding;
        out_["context"] = (guided_ ? at::stack({at::zeros_like(embedding), embedding}) : at::stack({embedding}));
        const auto used = squashed(reference, settings_.height, settings_.width);
        out_["vae.input_u8"] = used;
        VaeEncoder vae(config.vae);
        vae.bind(Weights{*folder_.source(Part::vae, where_.device.torch, where_.dtype)});
        const auto latents = vae(where_(2.0 * (used.unsqueeze(0).to(at::kFloat) / 255.0) - 1.0), Chunks{}) * config.vae.scaling_factor;
        out_["ref.latent"] = nchw(latents);
        out_["ref.timestep"] = at::zeros({1}, at::kLong);
        for (const auto& [block, tokens] : make_bank(folder_, latents, embedding, settings_.chunks)) out_["bank." + block] = tokens.unsqueeze(0);
        family_->encode(reference);

        auto guider = folder_.networks().pose;
        guider.bind(Weights{*folder_.source(Part::pose_network, where_.device.torch, where_.dtype)});
        std::vector<at::Tensor> maps;
        for (const auto frame : wanted_.facts.at("pose_frames_kept").get<std::vector<std::int64_t>>()) maps.push_back(map(frame));
        out_["pose.cond_u8"] = at::stack(maps);
        out_["pose.feature"] = guider(where_(at::stack(maps).to(at::kFloat) / 255.0)).permute({3, 0, 1, 2}).unsqueeze(0);

        const DdimSampler sampler(settings_.steps, config.scheduler);
        out_["sched.timesteps"] = at::tensor(sampler.timesteps());
        out_["sched.alphas_cumprod"] = at::tensor(sampler.alphas_cumprod());
    }

    /// Plain means over the windows, summed in their order.
    at::Tensor predict(const at::Tensor& latents, std::int64_t step) {
        std::vector<Branch> branches{Branch::conditional};
        if (guided_) branches.insert(branches.begin(), Branch::unconditional);
        std::vector<at::Tensor> sums(branches.size(), at::zeros_like(latents));
        for (auto& sum : sums) sum = sum.clone();
        const auto counter = at::zeros({settings_.num_latents}, at::kFloat);
        for (std::size_t window = 0; window < windows_.size(); ++window) {
            const auto& frames = windows_[window].frames;
            std::vector<at::Tensor> predictions;
            for (std::size_t b = 0; b < branches.size(); ++b) {
                auto state = family_->begin({step, static_cast<std::int64_t>(window), branches[b]}, rows_of(latents, frames), frames);
                run_all(family_->units(), state);
                predictions.push_back(family_->finish(state).to(latents.device(), at::kFloat));
                for (std::size_t slot = 0; slot < frames.size(); ++slot) sums[b][frames[slot]].add_(predictions[b][static_cast<std::int64_t>(slot)]);
            }
            for (const auto frame : frames) counter[frame].add_(1);
            if (step == 0) out_[cat("step0.window", window, ".pred")] = at::stack(predictions).transpose(1, 2);
        }
        const auto divisor = counter.view({-1, 1, 1, 1}).to(latents.device());
        if (step == 0 && guided_) {
            std::vector<at::Tensor> means;
            for (const auto& sum : sums) means.push_back((sum / divisor).transpose(0, 1));
            out_["step0.mean"] = at::stack(means);
            out_["step0.counter"] = counter;
        }
        if (step == 0 && !guided_) {
            out_["step0.sum"] = recorded_form(sums[0]);
            out_["step0.counter"] = counter;
        }
        const auto conditional = sums.back() / divisor;
        const auto guided = guided_ ? sums.front() / divisor + guidance_ * (conditional - sums.front() / divisor) : conditional;
        if (step == 0) out_["step0.guided"] = recorded_form(guided);
        return guided;
    }

    void decode(const at::Tensor& latents) {
        family_->load_decoder();
        std::vector<at::Tensor> shown, all;
        for (std::int64_t frame = 0; frame < settings_.num_latents; ++frame) all.push_back(family_->decode(latents.narrow(0, frame, 1)));
        std::vector<at::Tensor> kept;
        for (const auto frame : wanted_.facts.at("decoded_frames").get<std::vector<std::int64_t>>()) kept.push_back(all.at(static_cast<std::size_t>(frame)));
        out_["decoded"] = recorded_form(nchw(at::cat(kept)));
        const auto frames = at::cat(all).narrow(0, 0, num_frames_);
        out_["frames_u8.saved"] = to_bytes(scaled_bilinear(frames, poses_.size(1), poses_.size(2)));
    }

    const golden::Case& wanted_;
    const golden::Where where_;
    ModelFolder folder_;
    ClipSettings settings_;
    at::Tensor poses_;
    std::int64_t num_frames_ = 0, stride_ = 1;
    plan::Slices windows_;
    double guidance_ = 1;
    bool guided_ = true;
    std::unique_ptr<Family> family_;
    Tensors out_;
};

}  // namespace

golden::Tensors run_slowly(const golden::Case& wanted, const golden::Where& where) {
    return SlowJob(wanted, where).run();
}

}  // namespace weft::model::musepose

#include "model/musepose/unet.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>

namespace weft::model::musepose {

namespace {

constexpr double resnet_eps = 1e-5;
constexpr double motion_eps = 1e-6;

std::string motion_block(const std::string& prefix) {
    return prefix + ".temporal_transformer.transformer_blocks.0";
}

/// The first half of a motion module: norm, proj_in, and twice attention over the frames of each pixel.
class MotionAttention final : public Unit {
  public:
    MotionAttention(const std::string& prefix, std::int64_t channels, std::int64_t heads)
        : Unit{motion_block(prefix) + ".attention_blocks",
               {.channels = channels, .in_place = true, .opens = true, .work = {.pixel = 9 * channels * channels, .frame_pair = 4 * channels}}},
          prefix_{prefix},
          channels_{channels},
          heads_{heads} {}
    void bind(const Weights& source) override {
        const auto transformer = source / (prefix_ + ".temporal_transformer");
        norm_ = take_group_norm(transformer / "norm", channels_, motion_eps);
        proj_in_ = take_linear(transformer / "proj_in", channels_, channels_);
        const auto block = source / motion_block(prefix_);
        for (std::size_t i = 0; i < attentions_.size(); ++i) {
            norms_[i] = take_layer_norm(block / cat("norms.", i), channels_);
            attentions_[i] = take_self_attention(block / cat("attention_blocks.", i), channels_, heads_);
        }
    }

    void release() override {
        norm_ = {};
        proj_in_ = {};
        norms_ = {};
        attentions_ = {};
    }
    void run(PassState& state, plan::FrameRange slots) const override {
        state.residual = state.hidden;
        state.hidden = at::empty_like(state.residual);
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({-1, channels_});
            const auto normed = group_norm(state.residual.narrow(0, first, count), norm_).view({-1, channels_});
            at::addmm_out(z, proj_in_.bias, normed, proj_in_.weight.t());
        });
        const auto frames = state.num_frames();
        const auto positions = frame_positions(frames, channels_).to(state.hidden.device(), state.hidden.scalar_type()).view({frames, 1, channels_});
        const auto step = state.chunks.pixels(frames, channels_);
        for_passes(state, state.hidden, [&](Branch /*branch*/, const at::Tensor& image) {
            const auto tokens = tokens_of(image);
            for_chunks(0, tokens.size(1), step, tokens.is_meta(), [&](std::int64_t first, std::int64_t count) {
                auto z = tokens.narrow(1, first, count).contiguous();
                for (std::size_t i = 0; i < attentions_.size(); ++i)
                    add_linear(z, attend_frames(layer_norm(z, norms_[i]).add_(positions), attentions_[i]), attentions_[i].out);
                tokens.narrow(1, first, count).copy_(z);
            });
        });
    }

  private:
    std::string prefix_;
    std::int64_t channels_, heads_;
    GroupNorm norm_;
    Linear proj_in_;
    std::array<LayerNorm, 2> norms_;
    std::array<SelfAttention, 2> attentions_;
};

/// The second half: feed-forward, proj_out and the residual, where frames do not meet.
class MotionFeedForward final : public Unit {
  public:
    MotionFeedForward(const std::string& prefix, std::int64_t channels, After after)
        : Unit{motion_block(prefix) + ".ff",
               {.channels = channels,
                .in_place = true,
                .closes = true,
                .pushes = after == After::push,
                .cuttable = true,
                .work = {.pixel = feed_forward_work(channels) + channels * channels}}},
          prefix_{prefix},
          channels_{channels} {}
    void bind(const Weights& source) override {
        norm_ = take_layer_norm(source / motion_block(prefix_) / "ff_norm", channels_);
        feed_ = take_feed_forward(source / motion_block(prefix_) / "ff", channels_);
        proj_out_ = take_linear(source / (prefix_ + ".temporal_transformer.proj_out"), channels_, channels_);
    }
    void release() override {
        norm_ = {};
        feed_ = {};
        proj_out_ = {};
    }
    void run(PassState& state, plan::FrameRange slots) const override {
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({-1, channels_});
            add_feed_forward(z, layer_norm(z, norm_), feed_, state.chunks.inner_rows(feed_.in.weight.size(0)));
        });
        close_transformer(state, slots, proj_out_, form());
    }

  private:
    std::string prefix_;
    std::int64_t channels_;
    LayerNorm norm_;
    FeedForward feed_;
    Linear proj_out_;
};

/// Both UNets: what the denoiser has more is motion modules and the bank's tokens.
class Builder final : public UNetBuilder {
  public:
    enum class Network { denoiser, reference };
    Builder(const UNetConfig& config, Network network) : UNetBuilder{config}, config_{config}, denoiser_{network == Network::denoiser} {}

  private:
    /// The last of its units leaves the skip.
    void layer(const UNetLayer& layer) override {
        const bool motion = denoiser_ && !layer.ends_middle;
        const auto after = motion ? After::nothing : layer.after();
        add<SpatialResnet>(layer.part("resnets"), layer.in, layer.out, config_.embedding_dim(), resnet_eps, layer.skip(),
                           layer.attention ? After::nothing : after, layer.from);
        if (layer.attention) transformer(layer, after);
        if (!motion) return;
        add<MotionAttention>(layer.part("motion_modules"), layer.out, config_.motion_heads);
        add<MotionFeedForward>(layer.part("motion_modules"), layer.out, layer.after());
    }

    void transformer(const UNetLayer& layer, After after) {
        const SpatialBlock block{.prefix = layer.part("attentions"),
                                 .channels = layer.out,
                                 .heads = config_.heads[layer.level],
                                 .context = config_.cross_attention_dim,
                                 .projection = Pointwise::convolution,
                                 .closes = true,
                                 .pushes = after == After::push,
                                 .reads_bank = denoiser_};
        add<SpatialAttention>(block);
        add<SpatialFeedForward>(block);
    }

    const UNetConfig& config_;
    bool denoiser_;
};

}  // namespace

Units make_denoiser(const UNetConfig& config) {
    return Builder(config, Builder::Network::denoiser).build();
}

Units make_reference(const UNetConfig& config) {
    return Builder(config, Builder::Network::reference).build(UNetBuilder::End::last_block);
}

std::size_t units_for_bank(const Units& reference) {
    const auto last = std::find_if(reference.rbegin(), reference.rend(), [](const auto& unit) { return unit->name().ends_with(".attn1"); });
    ensure(last != reference.rend(), "the reference UNet has self-attentions");
    return static_cast<std::size_t>(reference.rend() - last);
}

at::Tensor frame_positions(std::int64_t frames, std::int64_t channels) {
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    const auto rates = at::exp(at::arange(0, channels, 2, options) * (-std::log(10000.0) / static_cast<double>(channels)));
    const auto angles = at::arange(frames, options).unsqueeze(1) * rates;
    return at::stack({angles.sin(), angles.cos()}, -1).flatten(1);
}

}  // namespace weft::model::musepose

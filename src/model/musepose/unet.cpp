#include "model/musepose/unet.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/networks/unet_units.hpp"

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

    void run(PassState& state, plan::FrameRange slots) const override {
        state.residual = state.hidden;
        state.hidden = at::empty_like(state.residual);
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({-1, channels_});
            const auto normed = group_norm(state.residual.narrow(0, first, count), norm_).view({-1, channels_});
            at::addmm_out(z, proj_in_.bias, normed, proj_in_.weight.t());
        });
        const auto frames = state.hidden.size(0);
        const auto tokens = tokens_of(state.hidden);
        const auto positions = frame_positions(frames, channels_).to(tokens.device(), tokens.scalar_type()).view({frames, 1, channels_});
        const auto step = state.chunks.pixels(frames);
        for (std::int64_t first = 0; first < tokens.size(1); first += step) {
            auto z = tokens.narrow(1, first, std::min(step, tokens.size(1) - first)).contiguous();
            for (std::size_t i = 0; i < attentions_.size(); ++i)
                add_linear(z, attend_frames(layer_norm(z, norms_[i]).add_(positions), attentions_[i]), attentions_[i].out);
            tokens.narrow(1, first, z.size(1)).copy_(z);
        }
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
    void run(PassState& state, plan::FrameRange slots) const override {
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({-1, channels_});
            add_feed_forward(z, layer_norm(z, norm_), feed_);
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

enum class Network { denoiser, reference };

/// Appends the units of a published tree in running order.
class Builder {
  public:
    Builder(const UNetConfig& config, Network network) : config_{config}, denoiser_{network == Network::denoiser} {}

    Units build() {
        const auto& widths = config_.channels;
        std::vector<std::int64_t> skips{widths.front()};
        auto hidden = widths.front();
        add<ConvIn>(config_.in_channels, hidden);
        for (std::size_t level = 0; level < widths.size(); ++level) {
            const auto block = cat("down_blocks.", level);
            for (std::int64_t i = 0; i < config_.layers; ++i) {
                layer(block, i, level, hidden, Skip::keep, After::push);
                hidden = widths[level];
                skips.push_back(hidden);
            }
            if (level + 1 == widths.size()) continue;
            add<Downsample>(block, hidden);
            skips.push_back(hidden);
        }
        add<SpatialResnet>("mid_block.resnets.0", hidden, hidden, config_.embedding_dim(), resnet_eps, Skip::keep);
        transformer("mid_block.attentions.0", hidden, After::nothing);
        if (denoiser_) motion("mid_block.motion_modules.0", hidden, After::nothing);
        add<SpatialResnet>("mid_block.resnets.1", hidden, hidden, config_.embedding_dim(), resnet_eps, Skip::keep);
        for (std::size_t up = 0; up < widths.size(); ++up) {
            const auto level = widths.size() - 1 - up;
            const auto block = cat("up_blocks.", up);
            for (std::int64_t i = 0; i < config_.layers + 1; ++i) {
                layer(block, i, level, hidden + skips.back(), Skip::pop, After::nothing);
                skips.pop_back();
                hidden = widths[level];
            }
            if (level > 0) add<Upsample>(block, hidden, static_cast<std::int64_t>(level) - 1);
        }
        if (denoiser_) add<ConvOut>(hidden, config_.out_channels);
        return std::move(units_);
    }

  private:
    /// A resnet, and behind it what the level and the network have of spatial transformer and motion module. The last of them leaves the skip.
    void layer(const std::string& block, std::int64_t i, std::size_t level, std::int64_t in, Skip skip, After after) {
        const auto out = config_.channels[level];
        const bool attention = config_.attention[level];
        add<SpatialResnet>(cat(block, ".resnets.", i), in, out, config_.embedding_dim(), resnet_eps, skip, attention || denoiser_ ? After::nothing : after);
        if (attention) transformer(cat(block, ".attentions.", i), out, denoiser_ ? After::nothing : after);
        if (denoiser_) motion(cat(block, ".motion_modules.", i), out, after);
    }

    void transformer(const std::string& prefix, std::int64_t channels, After after) {
        const SpatialBlock block{.prefix = prefix,
                                 .channels = channels,
                                 .heads = config_.heads,
                                 .context = config_.cross_attention_dim,
                                 .projection = Pointwise::convolution,
                                 .closes = true,
                                 .pushes = after == After::push,
                                 .reads_bank = denoiser_};
        add<SpatialAttention>(block);
        add<SpatialFeedForward>(block);
    }

    void motion(const std::string& prefix, std::int64_t channels, After after) {
        add<MotionAttention>(prefix, channels, config_.motion_heads);
        add<MotionFeedForward>(prefix, channels, after);
    }

    template <class Type, class... Arguments>
    void add(Arguments&&... arguments) {
        units_.push_back(std::make_unique<Type>(std::forward<Arguments>(arguments)...));
    }

    const UNetConfig& config_;
    bool denoiser_;
    Units units_;
};

}  // namespace

Units make_denoiser(const UNetConfig& config) {
    return Builder(config, Network::denoiser).build();
}

Units make_reference(const UNetConfig& config) {
    return Builder(config, Network::reference).build();
}

std::size_t units_for_bank(const Units& reference) {
    const auto last = std::find_if(reference.rbegin(), reference.rend(), [](const auto& unit) { return unit->name().ends_with(".attn1"); });
    ensure(last != reference.rend(), "the reference UNet has self-attentions");
    return static_cast<std::size_t>(reference.rend() - last);
}

void UNetEmbedding::bind(const Weights& source) {
    time_ = take_embedding(source / "time_embedding", config_.channels.front(), config_.embedding_dim(), config_.embedding_dim());
}

at::Tensor UNetEmbedding::operator()(double timestep) const {
    const auto& like = time_.first.weight;
    const auto time = sinusoid(at::full({1}, timestep, at::TensorOptions{}.dtype(c10::kFloat)), config_.channels.front());
    return at::silu(embed(time.to(like.device(), like.scalar_type()), time_));
}

at::Tensor frame_positions(std::int64_t frames, std::int64_t channels) {
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    const auto rates = at::exp(at::arange(0, channels, 2, options) * (-std::log(10000.0) / static_cast<double>(channels)));
    const auto angles = at::arange(frames, options).unsqueeze(1) * rates;
    return at::stack({angles.sin(), angles.cos()}, -1).flatten(1);
}

}  // namespace weft::model::musepose

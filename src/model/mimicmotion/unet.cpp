#include "model/mimicmotion/unet.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "model/networks/unet_units.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

/// sigmoid of a [1] mix factor, rounded as the model's type rounds it.
double mix_of(const at::Tensor& factor) {
    return factor.is_meta() ? 0.0 : factor.sigmoid().item<double>();
}

class TemporalResnet final : public Unit {
  public:
    TemporalResnet(const std::string& layer, std::int64_t channels, std::int64_t embedding, double eps, After after)
        : Unit{layer + ".temporal_res_block",
               {.channels = channels, .in_place = true, .pushes = after == After::push, .work = {.pixel = 6 * channels * channels}}},
          layer_{layer},
          channels_{channels},
          embedding_{embedding},
          eps_{eps} {}
    void bind(const Weights& source) override {
        block_ = take_temporal_resnet(source / name(), channels_, embedding_, eps_);
        spatial_share_ = mix_of((source / layer_ / "time_mixer").take("mix_factor", {1}));
    }
    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        add_temporal_resnet(state.hidden, block_, state.silu_embedding, 1.0 - spatial_share_);
        if (form().pushes) state.skips.push_back(state.hidden);
    }

  private:
    std::string layer_;
    std::int64_t channels_, embedding_;
    double eps_;
    Resnet block_;
    double spatial_share_ = 0;
};

struct TransformerShape {
    std::string prefix;  ///< "down_blocks.0.attentions.1"
    std::int64_t layer = 0;
    std::int64_t num_layers = 1;
    std::int64_t channels = 0, heads = 1, context = 0;

    [[nodiscard]] bool last() const { return layer + 1 == num_layers; }
    [[nodiscard]] SpatialBlock spatial() const {
        return {.prefix = prefix, .layer = layer, .channels = channels, .heads = heads, .context = context, .opens = layer == 0};
    }
    [[nodiscard]] std::string temporal() const { return cat(prefix, ".temporal_transformer_blocks.", layer); }
};

/// The temporal block, the blend with the spatial one, and at the end of the transformer proj_out and the residual.
class TemporalPart final : public Unit {
  public:
    TemporalPart(const TransformerShape& shape, After after)
        : Unit{shape.temporal(), form_of(shape, after)}, shape_{shape}, cross_{shape.temporal(), shape.channels, shape.context} {}
    void bind(const Weights& source) override {
        const auto c = shape_.channels;
        const auto block = source / shape_.temporal();
        norm_in_ = take_layer_norm(block / "norm_in", c);
        feed_in_ = take_feed_forward(block / "ff_in", c);
        norm1_ = take_layer_norm(block / "norm1", c);
        attention_ = take_self_attention(block / "attn1", c, shape_.heads);
        cross_.expect(source);
        norm3_ = take_layer_norm(block / "norm3", c);
        feed_ = take_feed_forward(block / "ff", c);
        // Shared by all layers of a transformer; each takes them for itself, since others may be on another rank. The published model has one layer.
        frame_embedding_ = take_embedding(source / shape_.prefix / "time_pos_embed", c, 4 * c, c);
        spatial_share_ = mix_of((source / shape_.prefix / "time_mixer").take("mix_factor", {1}));
        if (shape_.last()) proj_out_ = take_linear(source / shape_.prefix / "proj_out", c, c);
    }
    void set_context(const Weights& source, const Context& context) override { cross_.set_context(source, context.tokens, attention_.out.bias); }

    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        const auto frames = state.hidden.size(0);
        const auto tokens = state.hidden.view({frames, -1, shape_.channels});
        const auto positions = sinusoid(at::arange(frames, state.hidden.options().dtype(c10::kFloat)), shape_.channels).to(state.hidden.scalar_type());
        const auto embedding = embed(positions, frame_embedding_).view({frames, 1, shape_.channels});
        const Linear out{attention_.out.weight, cross_.bias(state.branch)};
        const auto step = state.chunks.pixels(frames);
        for (std::int64_t first = 0; first < tokens.size(1); first += step) {
            auto z = tokens.narrow(1, first, std::min(step, tokens.size(1) - first));
            auto m = z + embedding;  // [frames, pixels of the chunk, channels], contiguous
            add_feed_forward(m, layer_norm(m, norm_in_), feed_in_);
            add_linear(m, attend_frames(layer_norm(m, norm1_), attention_), out);
            add_feed_forward(m, layer_norm(m, norm3_), feed_);
            z.lerp_(m, 1.0 - spatial_share_);  // the spatial side without the frame embedding
        }
        if (shape_.last()) {
            add_linear(state.residual, state.hidden, proj_out_);
            state.hidden = std::move(state.residual);
            state.residual.reset();
            if (form().pushes) state.skips.push_back(state.hidden);
        }
    }

  private:
    static UnitForm form_of(const TransformerShape& shape, After after) {
        const auto c = shape.channels;
        return {.channels = c,
                .in_place = true,
                .closes = shape.last(),
                .pushes = shape.last() && after == After::push,
                .work = {.pixel = 2 * feed_forward_work(c) + 4 * c * c + (shape.last() ? c * c : 0), .frame_pair = 2 * c},
                .context_elements = c};
    }

    TransformerShape shape_;
    OneTokenAttention cross_;
    LayerNorm norm_in_, norm1_, norm3_;
    FeedForward feed_in_, feed_;
    SelfAttention attention_;
    Embedding frame_embedding_;
    double spatial_share_ = 0;
    Linear proj_out_;
};

/// Appends the units of the published tree in running order.
class Builder {
  public:
    explicit Builder(const UNetConfig& config) : config_{config} {}

    void resnet(const std::string& layer, std::int64_t in, std::int64_t out, double eps, Skip skip, After after) {
        add<SpatialResnet>(layer + ".spatial_res_block", in, out, config_.embedding_dim(), eps, skip);
        add<TemporalResnet>(layer, out, config_.embedding_dim(), eps, after);
    }

    void transformer(const std::string& prefix, std::size_t level, After after) {
        const auto layers = config_.transformer_layers[level];
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            const TransformerShape shape{prefix, layer, layers, config_.channels[level], config_.heads[level], config_.cross_attention_dim};
            add<SpatialAttention>(shape.spatial());
            add<SpatialFeedForward>(shape.spatial());
            add<TemporalPart>(shape, after);
        }
    }

    template <class Type, class... Arguments>
    void add(Arguments&&... arguments) {
        units.push_back(std::make_unique<Type>(std::forward<Arguments>(arguments)...));
    }

    Units units;

  private:
    const UNetConfig& config_;
};

}  // namespace

Units make_unet(const UNetConfig& config) {
    Builder builder(config);
    const auto levels = config.channels.size();
    std::vector<std::int64_t> skip_channels{config.channels.front()};
    builder.add<ConvIn>(config.in_channels, config.channels.front());

    // Epsilons differ by block type (models/mimicmotion.md section 2.3).
    for (std::size_t level = 0; level < levels; ++level) {
        const auto block = cat("down_blocks.", level);
        const bool attention = config.down_attention[level];
        const auto out = config.channels[level];
        for (std::int64_t layer = 0; layer < config.layers[level]; ++layer) {
            const auto in = layer == 0 ? config.channels[level == 0 ? 0 : level - 1] : out;
            builder.resnet(cat(block, ".resnets.", layer), in, out, attention ? 1e-6 : 1e-5, Skip::keep, attention ? After::nothing : After::push);
            if (attention) builder.transformer(cat(block, ".attentions.", layer), level, After::push);
            skip_channels.push_back(out);
        }
        if (level + 1 < levels) {
            builder.add<Downsample>(block, out);
            skip_channels.push_back(out);
        }
    }

    const auto inner = config.channels.back();
    builder.resnet("mid_block.resnets.0", inner, inner, 1e-5, Skip::keep, After::nothing);
    builder.transformer("mid_block.attentions.0", levels - 1, After::nothing);
    builder.resnet("mid_block.resnets.1", inner, inner, 1e-5, Skip::keep, After::nothing);

    auto hidden = inner;
    for (std::size_t up = 0; up < levels; ++up) {
        const auto level = levels - 1 - up;
        const auto block = cat("up_blocks.", up);
        const auto out = config.channels[level];
        for (std::int64_t layer = 0; layer < config.layers[level] + 1; ++layer) {
            builder.resnet(cat(block, ".resnets.", layer), hidden + skip_channels.back(), out, 1e-6, Skip::pop, After::nothing);
            skip_channels.pop_back();
            if (config.up_attention[up]) builder.transformer(cat(block, ".attentions.", layer), level, After::nothing);
            hidden = out;
        }
        if (up + 1 < levels) builder.add<Upsample>(block, out, static_cast<std::int64_t>(level) - 1);
    }
    builder.add<ConvOut>(config.channels.front(), config.out_channels);
    return std::move(builder.units);
}

void UNetEmbedding::bind(const Weights& source) {
    const auto base = config_.channels.front();
    time_ = take_embedding(source / "time_embedding", base, config_.embedding_dim(), config_.embedding_dim());
    added_ = take_embedding(source / "add_embedding", config_.projection_input_dim, config_.embedding_dim(), config_.embedding_dim());
}

at::Tensor UNetEmbedding::operator()(double timestep, const std::array<double, 3>& ids) const {
    const auto& like = time_.first.weight;
    const auto on_device = [&](const at::Tensor& values) { return values.to(like.device(), like.scalar_type()); };
    const auto time = sinusoid(at::full({1}, timestep, at::TensorOptions{}.dtype(c10::kFloat)), config_.channels.front());
    const auto numbers = at::empty({3}, at::TensorOptions{}.dtype(c10::kFloat));
    std::copy(ids.begin(), ids.end(), numbers.mutable_data_ptr<float>());
    const auto added = sinusoid(numbers, config_.addition_time_embed_dim).view({1, -1});
    return at::silu(embed(on_device(time), time_) + embed(on_device(added), added_));
}

}  // namespace weft::model::mimicmotion

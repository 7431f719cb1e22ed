#include "model/mimicmotion/unet.hpp"

#include "base/text.hpp"

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
    void release() override { block_ = {}; }
    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        for_passes(state, state.hidden, [&](Branch /*branch*/, at::Tensor frames) {
            add_temporal_resnet(frames, block_, state.silu_embedding, 1.0 - spatial_share_, state.chunks.pixels(frames.size(0), channels_));
        });
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
    void release() override {
        norm_in_ = norm1_ = norm3_ = {};
        feed_in_ = feed_ = {};
        attention_ = {};
        frame_embedding_ = {};
        proj_out_ = {};
    }
    void set_context(const Weights& source, const Context& context) override { cross_.set_context(source, context.tokens, attention_.out.bias); }

    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        const auto frames = state.num_frames();
        const auto positions = sinusoid(at::arange(frames, state.hidden.options().dtype(c10::kFloat)), shape_.channels).to(state.hidden.scalar_type());
        const auto embedding = embed(positions, frame_embedding_).view({frames, 1, shape_.channels});
        const auto step = state.chunks.pixels(frames, shape_.channels);
        const auto rows = state.chunks.inner_rows(feed_.in.weight.size(0));
        for_passes(state, state.hidden, [&](Branch branch, const at::Tensor& image) {
            const Linear out{attention_.out.weight, cross_.bias(branch)};
            const auto tokens = tokens_of(image);
            for_chunks(0, tokens.size(1), step, tokens.is_meta(), [&](std::int64_t first, std::int64_t count) {
                auto z = tokens.narrow(1, first, count);
                auto m = z + embedding;  // [frames, pixels of the chunk, channels], contiguous
                add_feed_forward(m, layer_norm(m, norm_in_), feed_in_, rows);
                add_linear(m, attend_frames(layer_norm(m, norm1_), attention_), out);
                add_feed_forward(m, layer_norm(m, norm3_), feed_, rows);
                z.lerp_(m, 1.0 - spatial_share_);  // the spatial side without the frame embedding
            });
        });
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

class Builder final : public UNetBuilder {
  public:
    explicit Builder(const UNetConfig& config) : UNetBuilder{config}, config_{config} {}

  private:
    void layer(const UNetLayer& layer) override {
        const auto resnet = layer.part("resnets");
        add<SpatialResnet>(resnet + ".spatial_res_block", layer.in, layer.out, config_.embedding_dim(), resnet_eps(layer), layer.skip(), After::nothing,
                           layer.from);
        add<TemporalResnet>(resnet, layer.out, config_.embedding_dim(), resnet_eps(layer), layer.attention ? After::nothing : layer.after());
        if (layer.attention) transformer(layer.part("attentions"), layer.level, layer.after());
    }

    /// It differs by block type (models/mimicmotion.md section 2.3).
    static double resnet_eps(const UNetLayer& layer) {
        const bool small = layer.way == UNetLayer::Way::up || (layer.way == UNetLayer::Way::down && layer.attention);
        return small ? 1e-6 : 1e-5;
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

    const UNetConfig& config_;
};

}  // namespace

Units make_unet(const UNetConfig& config) {
    return Builder(config).build();
}

}  // namespace weft::model::mimicmotion

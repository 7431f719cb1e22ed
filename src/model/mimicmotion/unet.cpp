#include "model/mimicmotion/unet.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {

constexpr double group_eps_attention = 1e-6;
constexpr double group_eps_out = 1e-5;

/// Calls `work(first, count)` for the chunks of the frames `slots` of an image [frames, height, width, channels]. Chunks are counted from frame 0, so that
/// every product has the rows that it has when all frames are done at once.
template <class Work>
void for_frame_chunks(const at::Tensor& image, plan::FrameRange slots, const Chunks& chunks, const Work& work) {
    const auto step = chunks.frames(image.size(1) * image.size(2));
    ensure(slots.begin % step == 0 && (slots.end % step == 0 || slots.end == image.size(0)), "a unit is cut between two chunks");
    for (auto first = slots.begin; first < slots.end; first += step) work(first, std::min(step, slots.end - first));
}

/// Makes the frames `slots` of a result that is a tensor of its own, [frames, height, width, channels]; with the last ones it becomes the hidden state.
/// `work(first, count)` gives the result of a chunk of frames, and reads `state.hidden`.
template <class Work>
void make_anew(PassState& state, plan::FrameRange slots, std::int64_t height, std::int64_t width, std::int64_t channels, const Work& work) {
    const auto frames = state.hidden.size(0);
    if (slots.begin == 0 && state.chunks.frames(height * width) >= frames) {
        ensure(slots == all_slots(state), "a unit is cut between two chunks");
        state.hidden = work(0, frames);
        return;
    }
    if (slots.begin == 0) state.partial = at::empty({frames, height, width, channels}, state.hidden.options());
    for_frame_chunks(state.partial, slots, state.chunks,
                     [&](std::int64_t first, std::int64_t count) { state.partial.narrow(0, first, count).copy_(work(first, count)); });
    if (slots.end < frames) return;
    state.hidden = std::move(state.partial);
    state.partial.reset();
}

/// sigmoid of a [1] mix factor, rounded as the model's type rounds it.
double mix_of(const at::Tensor& factor) {
    return factor.is_meta() ? 0.0 : factor.sigmoid().item<double>();
}

class ConvIn final : public Unit {
  public:
    explicit ConvIn(const UNetConfig& config)
        : Unit{"conv_in", forms::conv_in(config.in_channels, config.channels.front())}, in_{config.in_channels}, out_{config.channels.front()} {}
    void bind(const Weights& source) override { conv_ = take_conv(source / "conv_in", in_, out_, 3); }
    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        state.hidden = conv2d(state.hidden, conv_);
        if (state.pose.defined()) state.hidden.add_(state.pose);
        state.pose.reset();
        state.skips.push_back(state.hidden);
    }

  private:
    std::int64_t in_, out_;
    Conv2d conv_;
};

enum class Skip { keep, pop };
enum class After { nothing, push };  ///< does the unit end a layer of the way down?

class SpatialResnet final : public Unit {
  public:
    SpatialResnet(const std::string& layer, std::int64_t in, std::int64_t out, std::int64_t embedding, double eps, Skip skip)
        : Unit{layer + ".spatial_res_block", forms::spatial_resnet(in, out, skip == Skip::pop)}, in_{in}, out_{out}, embedding_{embedding}, eps_{eps} {}
    void bind(const Weights& source) override { block_ = take_resnet(source / name(), in_, out_, embedding_, eps_); }
    void run(PassState& state, plan::FrameRange slots) const override {
        const bool pops = form().pops;
        ensure(!pops || !state.skips.empty(), "a skip is missing on the way up");
        const auto frames = state.hidden.size(0);
        make_anew(state, slots, state.hidden.size(1), state.hidden.size(2), out_, [&](std::int64_t first, std::int64_t count) {
            auto part = state.hidden.narrow(0, first, count);
            if (pops) part = at::cat({part, state.skips.back().narrow(0, first, count)}, -1);
            return resnet(part, block_, state.silu_embedding);
        });
        if (pops && slots.end == frames) state.skips.pop_back();
    }

  private:
    std::int64_t in_, out_, embedding_;
    double eps_;
    Resnet block_;
};

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

/// attn2 of one token: softmax over one key is 1, so it is to_out(to_v(context)), a constant vector a branch (models/mimicmotion.md section 2.4).
/// It is added together with the bias of the self-attention before it.
class OneTokenAttention {
  public:
    OneTokenAttention(std::string block, std::int64_t channels, std::int64_t context) : block_{std::move(block)}, channels_{channels}, context_{context} {}

    /// What the file must hold.
    void expect(const Weights& source) const {
        const auto at = source / block_;
        (at / "norm2").expect("weight", {channels_});
        (at / "norm2").expect("bias", {channels_});
        (at / "attn2.to_q").expect("weight", {channels_, channels_});
        (at / "attn2.to_k").expect("weight", {channels_, context_});
        (at / "attn2.to_v").expect("weight", {channels_, context_});
        (at / "attn2.to_out.0").expect("weight", {channels_, channels_});
        (at / "attn2.to_out.0").expect("bias", {channels_});
    }

    void set_context(const Weights& source, const std::array<at::Tensor, num_branches>& context, const at::Tensor& self_bias) {
        const auto at = source / block_;
        const auto value = take_linear(at / "attn2.to_v", context_, channels_, Bias::without);
        const auto out = take_linear(at / "attn2.to_out.0", channels_, channels_);
        const OwnedBy owner(Owner::weights);
        for (std::size_t branch = 0; branch < num_branches; ++branch) {
            const auto constant = linear(linear(context[branch].view({1, context_}), value), out).view({channels_});
            bias_[branch] = self_bias + constant;
        }
    }

    [[nodiscard]] const at::Tensor& bias(Branch branch) const { return bias_[static_cast<std::size_t>(branch)]; }

  private:
    std::string block_;
    std::int64_t channels_, context_;
    std::array<at::Tensor, num_branches> bias_;  ///< self-attention's output bias plus attn2's constant
};

struct TransformerShape {
    std::string prefix;  ///< "down_blocks.0.attentions.1"
    std::int64_t layer = 0;
    std::int64_t num_layers = 1;
    std::int64_t channels = 0, heads = 1, context = 0;

    [[nodiscard]] bool first() const { return layer == 0; }
    [[nodiscard]] bool last() const { return layer + 1 == num_layers; }
    [[nodiscard]] std::string spatial() const { return cat(prefix, ".transformer_blocks.", layer); }
    [[nodiscard]] std::string temporal() const { return cat(prefix, ".temporal_transformer_blocks.", layer); }
};

/// norm, proj_in, and the first half of the spatial block: z += attn1(norm1 z) + attn2's constant.
class SpatialAttention final : public Unit {
  public:
    explicit SpatialAttention(const TransformerShape& shape)
        : Unit{shape.spatial() + ".attn1", form_of(shape)}, shape_{shape}, cross_{shape.spatial(), shape.channels, shape.context} {}
    void bind(const Weights& source) override {
        const auto c = shape_.channels;
        if (shape_.first()) {
            norm_ = take_group_norm(source / shape_.prefix / "norm", c, group_eps_attention);
            proj_in_ = take_linear(source / shape_.prefix / "proj_in", c, c);
        }
        norm1_ = take_layer_norm(source / shape_.spatial() / "norm1", c);
        attention_ = take_self_attention(source / shape_.spatial() / "attn1", c, shape_.heads);
        cross_.expect(source);
    }
    void set_context(const Weights& source, const std::array<at::Tensor, num_branches>& context) override {
        cross_.set_context(source, context, attention_.out.bias);
    }
    void run(PassState& state, plan::FrameRange slots) const override {
        if (shape_.first() && slots.begin == 0) {
            state.residual = state.hidden;
            state.hidden = at::empty_like(state.residual);
        }
        const Linear out{attention_.out.weight, cross_.bias(state.branch)};
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({count, -1, shape_.channels});
            if (shape_.first()) {
                auto flat = z.view({-1, shape_.channels});
                const auto normed = group_norm(state.residual.narrow(0, first, count), norm_).view({-1, shape_.channels});
                at::addmm_out(flat, proj_in_.bias, normed, proj_in_.weight.t());
            }
            add_linear(z, attend_tokens(layer_norm(z, norm1_), attention_), out);
        });
    }

  private:
    static UnitForm form_of(const TransformerShape& shape) {
        const auto c = shape.channels;
        return {.channels = c,
                .in_place = true,
                .opens = shape.first(),
                .cuttable = true,
                .work = {.pixel = (shape.first() ? c * c : 0) + 4 * c * c, .pixel_pair = {2 * c, 2 * c}},
                .context_elements = c};
    }

    TransformerShape shape_;
    OneTokenAttention cross_;
    GroupNorm norm_;
    Linear proj_in_;
    LayerNorm norm1_;
    SelfAttention attention_;
};

/// The second half of the spatial block: z += ff(norm3 z).
class SpatialFeedForward final : public Unit {
  public:
    explicit SpatialFeedForward(const TransformerShape& shape)
        : Unit{shape.spatial() + ".ff", {.channels = shape.channels, .in_place = true, .cuttable = true, .work = {.pixel = feed_forward_work(shape.channels)}}},
          shape_{shape} {}
    void bind(const Weights& source) override {
        norm3_ = take_layer_norm(source / shape_.spatial() / "norm3", shape_.channels);
        feed_ = take_feed_forward(source / shape_.spatial() / "ff", shape_.channels);
    }
    void run(PassState& state, plan::FrameRange slots) const override {
        for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = state.hidden.narrow(0, first, count).view({-1, shape_.channels});
            add_feed_forward(z, layer_norm(z, norm3_), feed_);
        });
    }

  private:
    TransformerShape shape_;
    LayerNorm norm3_;
    FeedForward feed_;
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
    void set_context(const Weights& source, const std::array<at::Tensor, num_branches>& context) override {
        cross_.set_context(source, context, attention_.out.bias);
    }

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

class Downsample final : public Unit {
  public:
    Downsample(const std::string& block, std::int64_t channels) : Unit{block + ".downsamplers.0.conv", forms::downsample(channels)}, channels_{channels} {}
    void bind(const Weights& source) override { conv_ = take_conv(source / name(), channels_, channels_, 3, 2, 1); }
    void run(PassState& state, plan::FrameRange /*slots*/) const override {
        state.hidden = conv2d(state.hidden, conv_);
        state.skips.push_back(state.hidden);
    }

  private:
    std::int64_t channels_;
    Conv2d conv_;
};

class Upsample final : public Unit {
  public:
    Upsample(const std::string& block, std::int64_t channels) : Unit{block + ".upsamplers.0.conv", forms::upsample(channels)}, channels_{channels} {}
    void bind(const Weights& source) override { conv_ = take_conv(source / name(), channels_, channels_, 3); }
    void run(PassState& state, plan::FrameRange slots) const override {
        make_anew(state, slots, 2 * state.hidden.size(1), 2 * state.hidden.size(2), channels_,
                  [&](std::int64_t first, std::int64_t count) { return conv2d(upsample_twice(state.hidden.narrow(0, first, count)), conv_); });
    }

  private:
    std::int64_t channels_;
    Conv2d conv_;
};

class ConvOut final : public Unit {
  public:
    explicit ConvOut(const UNetConfig& config)
        : Unit{"conv_out", forms::conv_out(config.channels.front(), config.out_channels)}, in_{config.channels.front()}, out_{config.out_channels} {}
    void bind(const Weights& source) override {
        norm_ = take_group_norm(source / "conv_norm_out", in_, group_eps_out);
        conv_ = take_conv(source / "conv_out", in_, out_, 3);
    }
    void run(PassState& state, plan::FrameRange slots) const override {
        make_anew(state, slots, state.hidden.size(1), state.hidden.size(2), out_,
                  [&](std::int64_t first, std::int64_t count) { return conv2d(group_norm_silu(state.hidden.narrow(0, first, count), norm_), conv_); });
    }

  private:
    std::int64_t in_, out_;
    GroupNorm norm_;
    Conv2d conv_;
};

/// Appends the units of the published tree in running order.
class Builder {
  public:
    explicit Builder(const UNetConfig& config) : config_{config} {}

    void resnet(const std::string& layer, std::int64_t in, std::int64_t out, double eps, Skip skip, After after) {
        add<SpatialResnet>(layer, in, out, config_.embedding_dim(), eps, skip);
        add<TemporalResnet>(layer, out, config_.embedding_dim(), eps, after);
    }

    void transformer(const std::string& prefix, std::size_t level, After after) {
        const auto layers = config_.transformer_layers[level];
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            const TransformerShape shape{prefix, layer, layers, config_.channels[level], config_.heads[level], config_.cross_attention_dim};
            add<SpatialAttention>(shape);
            add<SpatialFeedForward>(shape);
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
    builder.add<ConvIn>(config);

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
        if (up + 1 < levels) builder.add<Upsample>(block, out);
    }
    builder.add<ConvOut>(config);
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

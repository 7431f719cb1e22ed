#include "model/layers/layers.hpp"

#include "base/error.hpp"
#include "device/meter.hpp"
#include "device/rehearsal.hpp"
#include "model/chunks.hpp"
#include "model/layers/attention_cpu.hpp"
#include "model/layers/geglu_cpu.hpp"
#include "model/layers/group_norm_cpu.hpp"
#include "model/layers/operators.hpp"

#include <ATen/Parallel.h>

#include <array>
#include <cmath>
#include <span>
#include <vector>

namespace weft::model {

namespace {
/// Is our own kernel's, or would be?
bool is_cpu_fp32(const at::Tensor& x) {
    return device_kind(x) == c10::kCPU && x.scalar_type() == c10::kFloat;
}

at::Tensor rows(const at::Tensor& x) {
    return x.reshape({-1, x.size(-1)});
}

/// The usual names for a channels-last image, without moving data.
at::Tensor as_nchw(const at::Tensor& x) {
    return x.permute({0, 3, 1, 2});
}

at::Tensor as_nhwc(const at::Tensor& x) {
    return x.permute({0, 2, 3, 1}).contiguous();
}
}  // namespace

Linear take_linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias) {
    return {weights.take("weight", {out, in}), bias == Bias::with ? weights.take("bias", {out}) : at::Tensor{}};
}

Linear take_stacked(const Weights& weights, std::initializer_list<std::string_view> names, std::int64_t in, std::int64_t out_each, Bias bias) {
    const OwnedBy owner(Owner::weights);
    std::vector<at::Tensor> matrices;
    std::vector<at::Tensor> biases;
    for (const auto name : names) {
        const auto one = take_linear(weights / name, in, out_each, bias);
        matrices.push_back(one.weight);
        biases.push_back(one.bias);
    }
    return {at::cat(matrices), bias == Bias::with ? at::cat(biases) : at::Tensor{}};
}

at::Tensor linear(const at::Tensor& x, const Linear& map) {
    auto result = at::linear(x, map.weight, map.bias);
    rehearse_product(x, map.weight);
    return result;
}

void add_linear(at::Tensor& into, const at::Tensor& x, const Linear& map, double scale) {
    auto flat = into.view({-1, into.size(-1)});
    flat.addmm_(rows(x), map.weight.t(), /*beta=*/1, scale);
    rehearse_product(x, map.weight);
    if (map.bias.defined()) into.add_(map.bias, scale);
}

GroupNorm take_group_norm(const Weights& weights, std::int64_t channels, double eps) {
    return {weights.take("weight", {channels}), weights.take("bias", {channels}), eps};
}

namespace {
at::Tensor apply_group_norm(const at::Tensor& x, const GroupNorm& norm, Activation activation) {
    const auto n = x.size(0);
    const auto channels = x.size(-1);
    const auto pixels = x.numel() / (n * channels);
    if (is_cpu_fp32(x)) {
        const auto in = x.contiguous();
        auto out = at::empty_like(in);
        if (!x.is_meta())
            group_norm_cpu(in.const_data_ptr<float>(), out.mutable_data_ptr<float>(), n, pixels, channels, norm_groups, norm.weight.const_data_ptr<float>(),
                           norm.bias.const_data_ptr<float>(), norm.eps, activation);
        return out;
    }
    auto result = group_norm_of_torch(x, norm);
    if (activation == Activation::silu) at::silu_(result);
    return result;
}
}  // namespace

at::Tensor group_norm(const at::Tensor& x, const GroupNorm& norm) {
    return apply_group_norm(x, norm, Activation::none);
}

at::Tensor group_norm_silu(const at::Tensor& x, const GroupNorm& norm) {
    return apply_group_norm(x, norm, Activation::silu);
}

LayerNorm take_layer_norm(const Weights& weights, std::int64_t channels, double eps) {
    return {weights.take("weight", {channels}), weights.take("bias", {channels}), eps};
}

at::Tensor layer_norm(const at::Tensor& x, const LayerNorm& norm) {
    return layer_norm_of_torch(x, norm);
}

// Convolutions over channels-last images want their weights so too, else every call copies them.
Conv2d take_conv(const Weights& weights, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride, std::int64_t padding) {
    return {weights.take("weight", {out, in, kernel, kernel}, c10::MemoryFormat::ChannelsLast), weights.take("bias", {out}), stride, padding, padding};
}

Linear take_pointwise(const Weights& weights, std::int64_t in, std::int64_t out, Pointwise form) {
    if (form == Pointwise::linear) return take_linear(weights, in, out);
    const auto conv = take_conv(weights, in, out, 1, 1, 0);
    return {conv.weight.view({out, in}), conv.bias};
}

Conv2d take_temporal_conv(const Weights& weights, std::int64_t in, std::int64_t out) {
    return {weights.take("weight", {out, in, 3, 1, 1}, c10::MemoryFormat::ChannelsLast3d).squeeze(-1), weights.take("bias", {out}), 1, 1, 0};
}

at::Tensor conv2d_by_products(const at::Tensor& x, const Conv2d& conv, const at::Tensor& bias) {
    const auto padded = at::constant_pad_nd(x, {0, 0, conv.padding_x, conv.padding_x, conv.padding_y, conv.padding_y});
    const auto kernel_y = conv.weight.size(2);
    const auto kernel_x = conv.weight.size(3);
    const auto height = (padded.size(1) - kernel_y) / conv.stride + 1;
    const auto width = (padded.size(2) - kernel_x) / conv.stride + 1;
    const auto seen_by = [&](std::int64_t y, std::int64_t x_) {
        return padded.slice(1, y, y + (height - 1) * conv.stride + 1, conv.stride).slice(2, x_, x_ + (width - 1) * conv.stride + 1, conv.stride);
    };
    auto result = bias.expand({x.size(0) * height * width, -1}).contiguous();
    for (std::int64_t y = 0; y < kernel_y; ++y)
        for (std::int64_t x_ = 0; x_ < kernel_x; ++x_) result.addmm_(rows(seen_by(y, x_)), conv.weight.select(3, x_).select(2, y).t());
    return result.view({x.size(0), height, width, -1});
}

at::Tensor conv2d(const at::Tensor& x, const Conv2d& conv, const std::optional<at::Tensor>& bias) {
    const auto& b = bias ? *bias : conv.bias;
    // cuDNN 9.19 has an fp32 kernel (TF32 off) that leaves out input channels: 16 frames of 18x32, 2560 to 1280 channels, come out wrong by 87 % on an H200,
    // others too, by shapes that no rule tells. fp16 and bf16 are right. `launch/gpu-check` compares each unit.
    if (device_kind(x) == c10::kCUDA && x.scalar_type() == at::kFloat) return conv2d_by_products(x, conv, b);
    return convolution(x, conv, b);
}

at::Tensor temporal_conv(const at::Tensor& x, const Conv2d& conv, const std::optional<at::Tensor>& bias) {
    const auto frames = x.size(0);
    const auto result = conv2d(x.view({1, frames, x.numel() / (frames * x.size(-1)), x.size(-1)}), conv, bias);
    auto shape = x.sizes().vec();
    shape.back() = result.size(-1);
    return result.view(shape);
}

at::Tensor upsample_twice(const at::Tensor& x) {
    const auto n = x.size(0);
    const auto h = x.size(1);
    const auto w = x.size(2);
    const auto c = x.size(3);
    return x.view({n, h, 1, w, 1, c}).expand({n, h, 2, w, 2, c}).reshape({n, 2 * h, 2 * w, c});
}

at::Tensor upsample_nearest(const at::Tensor& x, std::int64_t height, std::int64_t width) {
    if (height == 2 * x.size(1) && width == 2 * x.size(2)) return upsample_twice(x);
    return as_nhwc(at::upsample_nearest2d(as_nchw(x), {height, width}));
}

SelfAttention take_self_attention(const Weights& weights, std::int64_t channels, std::int64_t heads, Bias qkv_bias) {
    return {take_stacked(weights, {"to_q", "to_k", "to_v"}, channels, channels, qkv_bias), take_linear(weights / "to_out.0", channels, channels), heads};
}

namespace {

/// Is a sequence of these heads for attention_cpu?
bool is_for_cpu(const at::Tensor& x, const SelfAttention& attention) {
    return is_cpu_fp32(x) && attention_cpu_knows(x.size(-1) / attention.heads);
}

/// A tensor of sequences that lie in one memory: item (s, i) of sequence s begins at s * sequence + i * item.
struct Strides {
    std::int64_t sequence, item;
};

/// qkv: rows of query, key and value, [sequences * items, 3 * channels] fp32, in any order; `others` as attend_tokens_and has them, or undefined.
at::Tensor attend_cpu(const at::Tensor& qkv, std::int64_t sequences, std::int64_t items, Strides rows, std::int64_t heads, const at::Tensor& others) {
    const auto channels = qkv.size(-1) / 3;
    const auto width = channels / heads;
    auto out = at::empty({sequences * items, channels}, qkv.options());
    if (qkv.is_meta()) return out;
    const float* const in = qkv.const_data_ptr<float>();
    float* const to = out.mutable_data_ptr<float>();
    const float* const more = others.defined() ? others.const_data_ptr<float>() : nullptr;
    at::parallel_for(0, sequences * heads, 1, [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> scratch;
        for (auto one = begin; one < end; ++one) {
            const auto first = one / heads * rows.sequence;
            const auto head = one % heads * width;
            const float* const own = in + first * 3 * channels + head;
            const auto stride = rows.item * 3 * channels;
            std::array seen{KeysValues{own + channels, own + 2 * channels, items, stride}, KeysValues{}};
            if (more != nullptr) seen[1] = {more + head, more + channels + head, others.size(0), 2 * channels};
            const AttentionCpu attend({seen.data(), more != nullptr ? 2U : 1U}, width, scratch);
            attend(own, stride, items, to + first * channels + head, rows.item * channels);
        }
    });
    return out;
}

}  // namespace

at::Tensor attend_tokens(const at::Tensor& x, const SelfAttention& attention) {
    const auto n = x.size(0);
    const auto tokens = x.size(1);
    const auto channels = x.size(2);
    const auto qkv = linear(x, attention.qkv);
    if (is_for_cpu(x, attention)) return attend_cpu(qkv, n, tokens, {tokens, 1}, attention.heads, {}).view(x.sizes());
    const auto parts = qkv.view({n, tokens, 3, attention.heads, channels / attention.heads}).permute({2, 0, 3, 1, 4});
    const auto result = attend(parts[0], parts[1], parts[2]);
    return result.transpose(1, 2).reshape({n, tokens, channels});
}

at::Tensor attend_tokens_and(const at::Tensor& x, const at::Tensor& others, const SelfAttention& attention) {
    const auto n = x.size(0);
    const auto tokens = x.size(1);
    const auto channels = x.size(2);
    const auto heads = attention.heads;
    const auto qkv = linear(x, attention.qkv);
    if (is_for_cpu(x, attention)) return attend_cpu(qkv, n, tokens, {tokens, 1}, heads, others).view(x.sizes());
    const auto own = qkv.view({n, tokens, 3, heads, channels / heads});
    const auto more = others.view({1, others.size(0), 2, heads, channels / heads}).expand({n, -1, -1, -1, -1});
    const auto keys_values = at::cat({own.narrow(2, 1, 2), more}, 1).permute({2, 0, 3, 1, 4});  // [2, n, heads, tokens + tokens', channels / heads]
    const auto result = attend(own.select(2, 0).transpose(1, 2), keys_values[0], keys_values[1]);
    return result.transpose(1, 2).reshape({n, tokens, channels});
}

at::Tensor attend_frames(const at::Tensor& x, const SelfAttention& attention) {
    const auto frames = x.size(0);
    const auto pixels = x.size(1);
    const auto channels = x.size(2);
    const auto qkv = linear(x, attention.qkv);
    if (is_for_cpu(x, attention)) return attend_cpu(qkv, pixels, frames, {1, pixels}, attention.heads, {}).view(x.sizes());
    const auto parts = qkv.view({frames, pixels, 3, attention.heads, channels / attention.heads}).permute({2, 1, 3, 0, 4});
    const auto result = attend(parts[0], parts[1], parts[2]);  // [pixels, heads, frames, channels / heads]
    return result.permute({2, 0, 1, 3}).reshape({frames, pixels, channels});
}

FeedForward take_feed_forward(const Weights& weights, std::int64_t channels) {
    const auto inner = 4 * channels;
    return {take_linear(weights / "net.0.proj", channels, 2 * inner), take_linear(weights / "net.2", inner, channels)};
}

namespace {
/// into, x: rows.
void add_feed_forward_rows(at::Tensor& into, const at::Tensor& x, const FeedForward& feed) {
    const auto inner = feed.out.weight.size(1);
    if (is_cpu_fp32(x)) {
        auto both = at::mm(x, feed.in.weight.t());
        if (!x.is_meta()) geglu_cpu(both.mutable_data_ptr<float>(), both.size(0), inner, feed.in.bias.const_data_ptr<float>());
        add_linear(into, both.narrow(-1, 0, inner), feed.out);
        return;
    }
    const auto both = linear(x, feed.in);
    auto value = both.narrow(-1, 0, inner);
    auto gate = both.narrow(-1, inner, inner);
    at::gelu_(gate, "none");
    value.mul_(gate);
    add_linear(into, value, feed.out);
}
}  // namespace

void add_feed_forward(at::Tensor& into, const at::Tensor& x, const FeedForward& feed, std::int64_t most_rows) {
    const auto from = rows(x);
    const auto to = into.view({-1, into.size(-1)});
    for_chunks(0, from.size(0), std::min(most_rows, from.size(0)), from.is_meta(), [&](std::int64_t first, std::int64_t count) {
        auto part = to.narrow(0, first, count);
        add_feed_forward_rows(part, from.narrow(0, first, count), feed);
    });
}

at::Tensor sinusoid(const at::Tensor& values, std::int64_t dim) {
    const auto half = dim / 2;
    auto frequencies = at::arange(half, values.options());
    frequencies.mul_(-std::log(10000.0)).div_(static_cast<double>(half)).exp_();
    const auto angles = values.view({-1, 1}) * frequencies.view({1, -1});
    return at::cat({angles.cos(), angles.sin()}, -1);
}

Embedding take_embedding(const Weights& weights, std::int64_t in, std::int64_t inner, std::int64_t out) {
    return {take_linear(weights / "linear_1", in, inner), take_linear(weights / "linear_2", inner, out)};
}

at::Tensor embed(const at::Tensor& x, const Embedding& embedding) {
    return linear(at::silu(linear(x, embedding.first)), embedding.second);
}

namespace {
std::optional<Linear> take_time(const Weights& weights, std::int64_t embedding, std::int64_t out) {
    if (embedding == 0) return std::nullopt;
    return take_linear(weights / "time_emb_proj", embedding, out);
}

/// The time embedding is the same for every frame and pixel, so it goes into the first convolution's bias.
std::optional<at::Tensor> first_bias(const Resnet& block, const at::Tensor& silu_embedding) {
    if (!block.time) return std::nullopt;
    return linear(silu_embedding, *block.time).view({-1}).add_(block.conv1.bias);
}
}  // namespace

Resnet take_resnet(const Weights& weights, std::int64_t in, std::int64_t out, std::int64_t embedding, double eps) {
    Resnet block;
    block.norm1 = take_group_norm(weights / "norm1", in, eps);
    block.conv1 = take_conv(weights / "conv1", in, out, 3);
    block.time = take_time(weights, embedding, out);
    block.norm2 = take_group_norm(weights / "norm2", out, eps);
    block.conv2 = take_conv(weights / "conv2", out, out, 3);
    if (in != out) {
        block.shortcut = take_pointwise(weights / "conv_shortcut", in, out, Pointwise::convolution);
    }
    return block;
}

Resnet take_temporal_resnet(const Weights& weights, std::int64_t channels, std::int64_t embedding, double eps) {
    Resnet block;
    block.norm1 = take_group_norm(weights / "norm1", channels, eps);
    block.conv1 = take_temporal_conv(weights / "conv1", channels, channels);
    block.time = take_time(weights, embedding, channels);
    block.norm2 = take_group_norm(weights / "norm2", channels, eps);
    block.conv2 = take_temporal_conv(weights / "conv2", channels, channels);
    return block;
}

at::Tensor resnet(const at::Tensor& x, const Resnet& block, const at::Tensor& silu_embedding) {
    auto y = group_norm_silu(x, block.norm1);
    y = conv2d(y, block.conv1, first_bias(block, silu_embedding));
    y = group_norm_silu(y, block.norm2);
    y = conv2d(y, block.conv2);
    if (block.shortcut)
        add_linear(y, x, *block.shortcut);
    else
        y.add_(x);
    return y;
}

namespace {

/// A group norm whose statistics are known: y = x * scale + offset, [channels] fp32.
struct Scales {
    at::Tensor scale, offset;
};

/// Of a tensor that comes in parts [..., channels]; statistics over all of them. Bits depend on how it is parted.
class Statistics {
  public:
    explicit Statistics(const GroupNorm& norm) : norm_{norm}, sums_{norm.weight.size(0)} {}

    /// Part [frames, pixels, channels]; frames may lie apart.
    void add(const at::Tensor& part) {
        if (is_cpu_fp32(part)) {
            for (std::int64_t frame = 0; frame < part.size(0) && !part.is_meta(); ++frame)
                sums_.add(part.const_data_ptr<float>() + frame * part.stride(0), part.size(1));
            return;
        }
        // Of each part its mean and its squares about that mean, put together at the end: no large sum loses digits.
        const auto groups = part.to(c10::kFloat).reshape({-1, norm_groups, part.size(-1) / norm_groups});
        const auto mean = groups.mean(at::IntArrayRef{0, 2}, /*keepdim=*/true);
        means_.push_back(mean.view({1, norm_groups}));
        squares_.push_back((groups - mean).square_().sum(at::IntArrayRef{0, 2}).view({1, norm_groups}));
        counts_.push_back(at::full({1, 1}, static_cast<double>(groups.numel() / norm_groups), mean.options()));
        count_ += groups.numel() / norm_groups;
    }

    [[nodiscard]] Scales scales() const {
        if (means_.empty()) {
            const Scales scales{at::empty_like(norm_.weight), at::empty_like(norm_.weight)};
            if (!scales.scale.is_meta())
                sums_.scales(norm_groups, norm_.weight.const_data_ptr<float>(), norm_.bias.const_data_ptr<float>(), norm_.eps,
                             scales.scale.mutable_data_ptr<float>(), scales.offset.mutable_data_ptr<float>());
            return scales;
        }
        const auto count = at::cat(counts_);
        const auto total = static_cast<double>(count_);
        const auto each = at::cat(means_);
        const auto mean = (each * count).sum(0).div_(total);
        const auto variance = (at::cat(squares_) + count * (each - mean).square_()).sum(0).div_(total);
        const auto inverse = at::rsqrt(variance + norm_.eps).view({norm_groups, 1});
        const auto scale = norm_.weight.to(c10::kFloat).view({norm_groups, -1}) * inverse;
        const auto offset = norm_.bias.to(c10::kFloat).view({norm_groups, -1}) - mean.view({norm_groups, 1}) * scale;
        return {scale.view({-1}), offset.view({-1})};
    }

  private:
    const GroupNorm& norm_;
    GroupNormSums sums_;
    std::vector<at::Tensor> means_, squares_, counts_;
    std::int64_t count_ = 0;
};

/// SiLU(norm) of a part [frames, pixels, channels] whose frames may lie apart; contiguous.
at::Tensor scaled_silu(const at::Tensor& part, const Scales& scales) {
    if (!is_cpu_fp32(part)) {
        auto normed = at::addcmul(scales.offset, part.to(c10::kFloat), scales.scale);
        return at::silu_(normed).to(part.scalar_type());
    }
    auto out = at::empty(part.sizes(), part.options());
    for (std::int64_t frame = 0; frame < part.size(0) && !part.is_meta(); ++frame)
        scale_rows_cpu(part.const_data_ptr<float>() + frame * part.stride(0), out.mutable_data_ptr<float>() + frame * out.stride(0), part.size(1), part.size(2),
                       scales.scale.const_data_ptr<float>(), scales.offset.const_data_ptr<float>(), Activation::silu);
    return out;
}

/// Where a temporal resnet's input lies: some pixels of all frames, [frames, pixels, channels], and what is added to them.
struct OverFrames {
    std::int64_t frames, pixels, channels;
    std::function<at::Tensor(std::int64_t first, std::int64_t count)> part;
    std::function<void(std::int64_t first, const at::Tensor& branch)> add;
};

void run_temporal_resnet(const OverFrames& x, const Resnet& block, const std::optional<at::Tensor>& bias, std::int64_t pixels, FirstResult first_result) {
    const auto options = block.conv1.weight.options();
    const auto for_parts = [&](const auto& work) { for_chunks(0, x.pixels, pixels, options.device().is_meta(), work); };
    Statistics of_x(block.norm1);
    for_parts([&](std::int64_t first, std::int64_t count) { of_x.add(x.part(first, count)); });
    const auto norm1 = of_x.scales();
    const auto first_of = [&](std::int64_t first, std::int64_t count) { return temporal_conv(scaled_silu(x.part(first, count), norm1), block.conv1, bias); };
    at::Tensor kept;
    if (first_result == FirstResult::kept) kept = at::empty({x.frames, x.pixels, x.channels}, options);
    Statistics of_first(block.norm2);
    for_parts([&](std::int64_t first, std::int64_t count) {
        const auto made = first_of(first, count);
        of_first.add(made);
        if (kept.defined()) kept.narrow(1, first, count).copy_(made);
    });
    const auto norm2 = of_first.scales();
    for_parts([&](std::int64_t first, std::int64_t count) {  // pixels do not meet: those that are not yet added to are as they were
        x.add(first, temporal_conv(scaled_silu(kept.defined() ? kept.narrow(1, first, count) : first_of(first, count), norm2), block.conv2));
    });
}

}  // namespace

void conv_by_strips(const Lines& make, std::int64_t height, const Conv2d& conv, std::int64_t lines,
                    const std::function<void(std::int64_t first, const at::Tensor& result)>& take) {
    auto inner = conv;
    inner.padding_y = 0;
    for_chunks(0, height, lines, conv.weight.is_meta(), [&](std::int64_t first, std::int64_t count) {
        const auto top = std::max<std::int64_t>(0, first - 1);
        const auto bottom = std::min(height, first + count + 1);
        auto in = make(top, bottom - top);
        const std::int64_t above = top == first ? 1 : 0;
        const std::int64_t below = bottom == first + count ? 1 : 0;
        if (above + below > 0) in = at::constant_pad_nd(in, {0, 0, 0, 0, above, below});
        take(first, conv2d(in, inner));
    });
}

void normed_conv_by_strips(const at::Tensor& x, const GroupNorm& norm, const Conv2d& conv, std::int64_t lines,
                           const std::function<void(std::int64_t first, const at::Tensor& result)>& take) {
    const auto tokens_of = [&x](std::int64_t first, std::int64_t count) { return x.narrow(1, first, count).view({1, -1, x.size(3)}); };
    Statistics statistics(norm);
    for_chunks(0, x.size(1), lines, x.is_meta(), [&](std::int64_t first, std::int64_t count) { statistics.add(tokens_of(first, count)); });
    const auto scales = statistics.scales();
    conv_by_strips(
        [&](std::int64_t first, std::int64_t count) {
            return scaled_silu(tokens_of(first, count), scales).view({1, count, x.size(2), x.size(3)});
        },
        x.size(1), conv, lines, take);
}

at::Tensor resnet_by_strips(const at::Tensor& x, const Resnet& block, std::int64_t lines) {
    auto y = at::empty({1, x.size(1), x.size(2), block.conv1.weight.size(0)}, x.options());
    normed_conv_by_strips(x, block.norm1, block.conv1, lines,
                          [&](std::int64_t first, const at::Tensor& result) { y.narrow(1, first, result.size(1)).copy_(result); });
    const auto tokens = [](const at::Tensor& image) { return image.view({1, -1, image.size(3)}); };
    Statistics statistics(block.norm2);
    for_chunks(0, y.size(1), lines, y.is_meta(), [&](std::int64_t first, std::int64_t count) { statistics.add(tokens(y.narrow(1, first, count))); });
    const auto scales = statistics.scales();
    at::Tensor above;  // the last line of the strip before, as it was: the result lies where y did
    const auto normed = [&](std::int64_t first, std::int64_t count) {
        auto part = y.narrow(1, first, count);
        if (above.defined()) part = at::cat({above, part.narrow(1, 1, count - 1)}, 1);
        return scaled_silu(tokens(part), scales).view(part.sizes());
    };
    conv_by_strips(normed, y.size(1), block.conv2, lines, [&](std::int64_t first, at::Tensor result) {
        const auto count = result.size(1);
        const auto same = x.narrow(1, first, count);
        if (block.shortcut)
            add_linear(result, same, *block.shortcut);
        else
            result.add_(same);
        above = y.narrow(1, first + count - 1, 1).clone();
        y.narrow(1, first, count).copy_(result);
    });
    return y;
}

void add_temporal_resnet(at::Tensor& x, const Resnet& block, const at::Tensor& silu_embedding, double scale, std::int64_t pixels) {
    const auto tokens = x.view({x.size(0), -1, x.size(-1)});
    run_temporal_resnet({.frames = tokens.size(0),
                         .pixels = tokens.size(1),
                         .channels = tokens.size(2),
                         .part = [&](std::int64_t first, std::int64_t count) { return tokens.narrow(1, first, count); },
                         .add = [&](std::int64_t first, const at::Tensor& branch) { tokens.narrow(1, first, branch.size(1)).add_(branch, scale); }},
                        block, first_bias(block, silu_embedding), pixels, FirstResult::kept);
}

void add_temporal_resnet(std::span<at::Tensor> frames, const Resnet& block, double scale, std::int64_t pixels, FirstResult first_result) {
    std::vector<at::Tensor> tokens;
    for (const auto& frame : frames) tokens.push_back(frame.view({1, -1, frame.size(-1)}));
    run_temporal_resnet({.frames = static_cast<std::int64_t>(frames.size()),
                         .pixels = tokens.front().size(1),
                         .channels = tokens.front().size(2),
                         .part =
                             [&](std::int64_t first, std::int64_t count) {
                                 std::vector<at::Tensor> parts;
                                 for (const auto& frame : tokens) parts.push_back(frame.narrow(1, first, count));
                                 return at::cat(parts);
                             },
                         .add =
                             [&](std::int64_t first, const at::Tensor& branch) {
                                 for (std::size_t frame = 0; frame < tokens.size(); ++frame)
                                     tokens[frame].narrow(1, first, branch.size(1)).add_(branch.narrow(0, static_cast<std::int64_t>(frame), 1), scale);
                             }},
                        block, std::nullopt, pixels, first_result);
}

}  // namespace weft::model

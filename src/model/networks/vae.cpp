#include "model/networks/vae.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::model {

namespace {
constexpr double eps = 1e-6;
constexpr double temporal_eps = 1e-5;
const at::Tensor no_embedding;

void see(const VaeProbe& probe, const std::string& name, const at::Tensor& value) {
    if (probe) probe(name, value);
}

/// Calls `work(first, count)` for as many frames at a time as a chunk of pixels holds.
template <class Work>
void for_frames(const at::Tensor& x, std::int64_t pixels_a_frame, const Chunks& chunks, const Work& work) {
    for_chunks(0, x.size(0), chunks.frames(pixels_a_frame), x.is_meta(), work);
}

/// x [frames, height, width, channels], some frames at a time: their results [count, height', width', channels'] in one tensor.
template <class Work>
at::Tensor map_frames(const at::Tensor& x, std::int64_t height, std::int64_t width, std::int64_t channels, const Chunks& chunks, const Work& work) {
    if (chunks.frames(height * width) >= x.size(0)) return work(x);
    auto out = at::empty({x.size(0), height, width, channels}, x.options());
    for_frames(x, height * width, chunks,
               [&](std::int64_t first, std::int64_t count) { out.narrow(0, first, count).copy_(work(x.narrow(0, first, count))); });
    return out;
}
}  // namespace

void describe(ConfigFile& file, VaeConfig& vae) {
    file.widths("block_out_channels", vae.channels);
    file.whole("layers_per_block", vae.layers);
    file.whole("latent_channels", vae.latent_channels);
    file.real("scaling_factor", vae.scaling_factor);
    file.all_blocks("down_block_types", "DownEncoderBlock2D");
    file.must_be("in_channels", std::int64_t{3});
    file.must_be("out_channels", std::int64_t{3});
    file.must_divide("block_out_channels", vae.channels, 32, "group norms have 32 groups");
    if (vae.channels.size() != 4)
        file.wrong("block_out_channels", "must have four levels: weft's latents are an eighth of the picture, as the pose network's features are");
}

VaeAttention take_vae_attention(const Weights& weights, std::int64_t channels) {
    return {take_group_norm(weights / "group_norm", channels, eps), take_self_attention(weights, channels, 1, Bias::with)};
}

void add_vae_attention(at::Tensor& x, const VaeAttention& block) {
    const auto tokens = group_norm(x, block.norm).view({x.size(0), -1, x.size(-1)});
    add_linear(x, attend_tokens(tokens, block.attention), block.attention.out);
}

void VaeEncoder::bind(const Weights& source) {
    const auto encoder = source / "encoder";
    const auto& widths = config_.channels;
    conv_in_ = take_conv(encoder / "conv_in", 3, widths.front(), 3);
    levels_.clear();
    for (std::size_t i = 0; i < widths.size(); ++i) {
        const auto at = encoder / cat("down_blocks.", i);
        Level level;
        for (std::int64_t j = 0; j < config_.layers; ++j)
            level.resnets.push_back(take_resnet(at / cat("resnets.", j), j == 0 ? widths[i == 0 ? 0 : i - 1] : widths[i], widths[i], 0, eps));
        if (i + 1 < widths.size()) level.down = take_conv(at / "downsamplers.0.conv", widths[i], widths[i], 3, 2, 0);
        levels_.push_back(std::move(level));
    }
    const auto inner = widths.back();
    mid0_ = take_resnet(encoder / "mid_block.resnets.0", inner, inner, 0, eps);
    attention_ = take_vae_attention(encoder / "mid_block.attentions.0", inner);
    mid1_ = take_resnet(encoder / "mid_block.resnets.1", inner, inner, 0, eps);
    norm_out_ = take_group_norm(encoder / "conv_norm_out", inner, eps);
    const auto moments = 2 * config_.latent_channels;
    conv_out_ = take_conv(encoder / "conv_out", inner, moments, 3);
    quant_ = take_conv(source / "quant_conv", moments, moments, 1, 1, 0);
}

namespace {
/// In place where the width stays.
void run_resnet(at::Tensor& x, const Resnet& block) {
    if (block.shortcut)
        x = resnet(x, block, no_embedding);
    else
        add_resnet(x, block, no_embedding);
}
}  // namespace

at::Tensor VaeEncoder::moments(const at::Tensor& pixels, const VaeProbe& probe) const {
    auto x = conv2d(pixels, conv_in_);
    see(probe, "encoder.conv_in", x);
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        for (std::size_t j = 0; j < levels_[i].resnets.size(); ++j) {
            run_resnet(x, levels_[i].resnets[j]);
            see(probe, cat("encoder.down_blocks.", i, ".resnets.", j), x);
        }
        // Zeros to the right and below only, unlike the UNet's samplers.
        if (levels_[i].down) x = conv2d(at::constant_pad_nd(x, {0, 0, 0, 1, 0, 1}), *levels_[i].down);
        see(probe, cat("encoder.down_blocks.", i), x);
    }
    run_resnet(x, mid0_);
    see(probe, "encoder.mid_block.resnets.0", x);
    add_vae_attention(x, attention_);
    see(probe, "encoder.mid_block.attentions.0", x);
    run_resnet(x, mid1_);
    see(probe, "encoder.mid_block", x);
    see(probe, "encoder.mid_block.resnets.1", x);
    x = group_norm(x, norm_out_);
    see(probe, "encoder.conv_norm_out", x);
    at::silu_(x);
    x = conv2d(x, conv_out_);
    see(probe, "encoder.conv_out", x);
    x = conv2d(x, quant_);
    see(probe, "quant_conv", x);
    return x;
}

at::Tensor VaeEncoder::operator()(const at::Tensor& x) const {
    return moments(x).narrow(-1, 0, config_.latent_channels).contiguous();
}

VaeDecoder::Block VaeDecoder::take_block(const Weights& weights, std::int64_t in, std::int64_t out) const {
    Block block;
    if (kind_ == Kind::frames) {
        block.spatial = take_resnet(weights, in, out, 0, eps);
        return block;
    }
    block.spatial = take_resnet(weights / "spatial_res_block", in, out, 0, eps);
    block.temporal = take_temporal_resnet(weights / "temporal_res_block", out, 0, temporal_eps);
    const auto mix = (weights / "time_mixer").take("mix_factor", {1});
    block.temporal_share = mix.is_meta() ? 0.0 : mix.sigmoid().item<double>();  // the decoder's mix is the UNet's turned round
    return block;
}

at::Tensor VaeDecoder::run_block(at::Tensor x, const Block& block, const Conv2d* up, const Chunks& chunks) {
    const auto height = (up != nullptr ? 2 : 1) * x.size(1);
    const auto width = (up != nullptr ? 2 : 1) * x.size(2);
    if (up == nullptr && !block.spatial.shortcut)
        for_frames(x, height * width, chunks, [&](std::int64_t first, std::int64_t count) {
            auto part = x.narrow(0, first, count);
            add_resnet(part, block.spatial, no_embedding);
        });
    else
        x = map_frames(x, height, width, block.spatial.conv2.weight.size(0), chunks, [&](const at::Tensor& part) {
            if (up == nullptr) return resnet(part, block.spatial, no_embedding);
            const auto larger = conv2d(upsample_twice(part), *up);
            return resnet(larger, block.spatial, no_embedding);
        });
    if (block.temporal) add_temporal_resnet(x, *block.temporal, no_embedding, block.temporal_share, chunks.pixels(x.size(0), x.size(3)));
    return x;
}

void VaeDecoder::bind(const Weights& source) {
    const auto decoder = source / "decoder";
    const auto& widths = config_.channels;
    const auto inner = widths.back();
    if (kind_ == Kind::frames) quant_ = take_conv(source / "post_quant_conv", config_.latent_channels, config_.latent_channels, 1, 1, 0);
    conv_in_ = take_conv(decoder / "conv_in", config_.latent_channels, inner, 3);
    mid_.clear();
    const auto mid_layers = kind_ == Kind::frames ? 2 : config_.layers;
    for (std::int64_t j = 0; j < mid_layers; ++j) mid_.push_back(take_block(decoder / cat("mid_block.resnets.", j), inner, inner));
    attention_ = take_vae_attention(decoder / "mid_block.attentions.0", inner);
    levels_.clear();
    auto in = inner;
    for (std::size_t i = 0; i < widths.size(); ++i) {
        const auto out = widths[widths.size() - 1 - i];
        const auto at = decoder / cat("up_blocks.", i);
        Level level;
        for (std::int64_t j = 0; j < config_.layers + 1; ++j) level.blocks.push_back(take_block(at / cat("resnets.", j), j == 0 ? in : out, out));
        if (i + 1 < widths.size()) level.up = take_conv(at / "upsamplers.0.conv", out, out, 3);
        levels_.push_back(std::move(level));
        in = out;
    }
    norm_out_ = take_group_norm(decoder / "conv_norm_out", in, eps);
    conv_out_ = take_conv(decoder / "conv_out", in, 3, 3);
    if (kind_ == Kind::temporal) time_conv_out_ = take_temporal_conv(decoder / "time_conv_out", 3, 3);
}

at::Tensor VaeDecoder::operator()(const at::Tensor& latents, const Chunks& chunks, const VaeProbe& probe) const {
    auto x = quant_ ? conv2d(latents, *quant_) : latents;
    if (quant_) see(probe, "post_quant_conv", x);
    x = conv2d(x, conv_in_);
    see(probe, "decoder.conv_in", x);
    x = run_block(std::move(x), mid_.front(), nullptr, chunks);
    see(probe, "decoder.mid_block.resnets.0", x);
    // The published block pairs its later resnets with its one attention: with one layer it owns an attention that never runs, a third resnet never runs
    // either.
    if (mid_.size() > 1) {
        for_frames(x, x.size(1) * x.size(2), chunks, [&](std::int64_t first, std::int64_t count) {
            auto part = x.narrow(0, first, count);
            add_vae_attention(part, attention_);
        });
        see(probe, "decoder.mid_block.attentions.0", x);
        x = run_block(std::move(x), mid_[1], nullptr, chunks);
        see(probe, "decoder.mid_block.resnets.1", x);
    }
    see(probe, "decoder.mid_block", x);
    const Conv2d* up = nullptr;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        for (std::size_t j = 0; j < levels_[i].blocks.size(); ++j) {
            x = run_block(std::move(x), levels_[i].blocks[j], j == 0 ? up : nullptr, chunks);
            see(probe, cat("decoder.up_blocks.", i, ".resnets.", j), x);
        }
        up = levels_[i].up ? &*levels_[i].up : nullptr;  // what it makes never stands whole: the next block makes it for the frames that it takes
        if (probe) see(probe, cat("decoder.up_blocks.", i), up != nullptr ? conv2d(upsample_twice(x), *up) : x);
    }
    if (probe) see(probe, "decoder.conv_norm_out", group_norm(x, norm_out_));
    x = map_frames(x, x.size(1), x.size(2), 3, chunks, [&](const at::Tensor& part) { return conv2d(group_norm_silu(part, norm_out_), conv_out_); });
    see(probe, "decoder.conv_out", x);
    return time_conv_out_ ? temporal_conv(x, *time_conv_out_) : x;
}

}  // namespace weft::model

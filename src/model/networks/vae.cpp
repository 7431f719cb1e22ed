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

/// Small pictures go together: `work` on as many frames as a chunk holds, [frames, height, width, channels], each result a part of a tensor of them.
template <class Work>
void replace_together(std::vector<at::Tensor>& frames, const Chunks& chunks, const Work& work) {
    const auto count = static_cast<std::int64_t>(frames.size());
    const auto step = chunks.frames(frames.front().size(1) * frames.front().size(2));
    for (std::int64_t first = 0; first < count; first += step) {
        const std::vector some(frames.begin() + first, frames.begin() + std::min(first + step, count));
        const auto made = work(at::cat(some));
        for (std::size_t i = 0; i < some.size(); ++i) frames[static_cast<std::size_t>(first) + i] = made.narrow(0, static_cast<std::int64_t>(i), 1);
    }
}

/// Twice as large, nearest neighbour, and a convolution, on one picture.
at::Tensor upsampled(const at::Tensor& x, const Conv2d& conv, const Chunks& chunks) {
    auto out = at::empty({1, 2 * x.size(1), 2 * x.size(2), conv.weight.size(0)}, x.options());
    const auto lines_of = [&](std::int64_t first, std::int64_t count) {
        const auto top = first / 2;
        return upsample_twice(x.narrow(1, top, (first + count + 1) / 2 - top)).narrow(1, first - 2 * top, count);
    };
    conv_by_strips(lines_of, out.size(1), conv, chunks.strip_lines(out.size(2)),
                   [&](std::int64_t first, const at::Tensor& result) { out.narrow(1, first, result.size(1)).copy_(result); });
    return out;
}

/// Norm, SiLU and convolution on one picture.
at::Tensor ended(const at::Tensor& x, const GroupNorm& norm, const Conv2d& conv, const Chunks& chunks) {
    auto out = at::empty({1, x.size(1), x.size(2), conv.weight.size(0)}, x.options());
    normed_conv_by_strips(x, norm, conv, chunks.strip_lines(x.size(2)),
                          [&](std::int64_t first, const at::Tensor& result) { out.narrow(1, first, result.size(1)).copy_(result); });
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

at::Tensor VaeEncoder::moments(const at::Tensor& pixels, const Chunks& chunks, const VaeProbe& probe) const {
    auto x = conv2d(pixels, conv_in_);
    see(probe, "encoder.conv_in", x);
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        for (std::size_t j = 0; j < levels_[i].resnets.size(); ++j) {
            x = resnet_by_strips(x, levels_[i].resnets[j], chunks.strip_lines(x.size(2)));
            see(probe, cat("encoder.down_blocks.", i, ".resnets.", j), x);
        }
        // Zeros to the right and below only, unlike the UNet's samplers.
        if (levels_[i].down) x = conv2d(at::constant_pad_nd(x, {0, 0, 0, 1, 0, 1}), *levels_[i].down);
        see(probe, cat("encoder.down_blocks.", i), x);
    }
    x = resnet_by_strips(x, mid0_, chunks.strip_lines(x.size(2)));
    see(probe, "encoder.mid_block.resnets.0", x);
    add_vae_attention(x, attention_);
    see(probe, "encoder.mid_block.attentions.0", x);
    x = resnet_by_strips(x, mid1_, chunks.strip_lines(x.size(2)));
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

at::Tensor VaeEncoder::operator()(const at::Tensor& x, const Chunks& chunks) const {
    return moments(x, chunks).narrow(-1, 0, config_.latent_channels).contiguous();
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

void VaeDecoder::run_block(std::vector<at::Tensor>& frames, const Block& block, const Conv2d* up, const Chunks& chunks, FirstResult first_result) {
    const auto scale = up != nullptr ? 2 : 1;
    if (chunks.frames(scale * scale * frames.front().size(1) * frames.front().size(2)) > 1)
        replace_together(frames, chunks,
                         [&](const at::Tensor& x) { return resnet(up != nullptr ? conv2d(upsample_twice(x), *up) : x, block.spatial, no_embedding); });
    else
        for (auto& frame : frames) {  // one by one, so that of what they were little stands beside what they become
            if (up != nullptr) frame = upsampled(frame, *up, chunks);
            frame = resnet_by_strips(frame, block.spatial, chunks.strip_lines(frame.size(2)));
        }
    const auto count = static_cast<std::int64_t>(frames.size());
    if (block.temporal) add_temporal_resnet(frames, *block.temporal, block.temporal_share, chunks.pixels(count, frames.front().size(3)), first_result);
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

at::Tensor VaeDecoder::operator()(const at::Tensor& latents, const Chunks& chunks, FirstResult first_result, const VaeProbe& probe) const {
    std::vector<at::Tensor> x;
    const auto see_all = [&](const std::string& name) {
        if (probe) probe(name, at::cat(x));
    };
    for (std::int64_t frame = 0; frame < latents.size(0); ++frame) x.push_back(latents.narrow(0, frame, 1));
    if (quant_) replace_together(x, chunks, [this](const at::Tensor& some) { return conv2d(some, *quant_); });
    if (quant_) see_all("post_quant_conv");
    replace_together(x, chunks, [this](const at::Tensor& some) { return conv2d(some, conv_in_); });
    see_all("decoder.conv_in");
    run_block(x, mid_.front(), nullptr, chunks, first_result);
    see_all("decoder.mid_block.resnets.0");
    // The published block pairs its later resnets with its one attention: with one layer it owns an attention that never runs, a third resnet never runs
    // either.
    if (mid_.size() > 1) {
        for (auto& frame : x) add_vae_attention(frame, attention_);
        see_all("decoder.mid_block.attentions.0");
        run_block(x, mid_[1], nullptr, chunks, first_result);
        see_all("decoder.mid_block.resnets.1");
    }
    see_all("decoder.mid_block");
    const Conv2d* up = nullptr;
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        for (std::size_t j = 0; j < levels_[i].blocks.size(); ++j) {
            run_block(x, levels_[i].blocks[j], j == 0 ? up : nullptr, chunks, first_result);
            see_all(cat("decoder.up_blocks.", i, ".resnets.", j));
        }
        up = levels_[i].up ? &*levels_[i].up : nullptr;  // the next block makes it frame by frame
        if (probe) see(probe, cat("decoder.up_blocks.", i), up != nullptr ? conv2d(upsample_twice(at::cat(x)), *up) : at::cat(x));
    }
    if (probe) see(probe, "decoder.conv_norm_out", group_norm(at::cat(x), norm_out_));
    for (auto& frame : x) frame = ended(frame, norm_out_, conv_out_, chunks);
    const auto frames = at::cat(x);
    see(probe, "decoder.conv_out", frames);
    return time_conv_out_ ? temporal_conv(frames, *time_conv_out_) : frames;
}

}  // namespace weft::model

#include "model/slow_layers.hpp"

#include "base/text.hpp"
#include "model/mimicmotion/clip_pixels.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "model/mimicmotion/unet.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model::mimicmotion {
namespace {

using golden::nchw;
using golden::Tensors;
using golden::Where;

std::string parent(const std::string& name) {
    return name.substr(0, name.rfind('.'));
}

/// "down_blocks.0" of "down_blocks.0.resnets.1.temporal_res_block"
std::string block_of(const std::string& unit) {
    const auto parts = split(unit, '.');
    return parts.front() == "mid_block" ? parts.front() : cat(parts.at(0), ".", parts.at(1));
}

at::Tensor result_of(const at::Tensor& like, const auto& add) {
    auto result = at::zeros_like(like, {}, at::MemoryFormat::Contiguous);
    add(result);
    return result;
}

/// A transformer as the published classes write it down, one module after the other, from the layers that the units are made of.
/// The units fuse and chunk these; what they give is held against the same data.
struct SlowTransformer {
    Tensors& out;
    std::string name;
    Weights at;
    std::int64_t channels, heads;
    at::Tensor context;  ///< [1, context]

    void see(const std::string& module, const at::Tensor& value) { out[cat("unet.", name, ".", module)] = value.clone(); }

    at::Tensor self_attention(const Weights& block, const at::Tensor& x, const auto& attend) const {
        const auto attention = take_self_attention(block / "attn1", channels, heads);
        const auto normed = layer_norm(x, take_layer_norm(block / "norm1", channels));
        return linear(attend(normed, attention), attention.out);
    }
    at::Tensor cross_attention(const Weights& block, const at::Tensor& x) const {
        const auto value = linear(context, take_linear(block / "attn2.to_v", context.size(1), channels, Bias::without));
        return linear(value, take_linear(block / "attn2.to_out.0", channels, channels)).view({1, 1, channels}).expand_as(x);
    }
    at::Tensor feed_forward(const Weights& block, const at::Tensor& x, const char* norm, const char* feed) const {
        const auto normed = layer_norm(x, take_layer_norm(block / norm, channels));
        return result_of(x, [&](at::Tensor& sum) { add_feed_forward(sum, normed, take_feed_forward(block / feed, channels)); });
    }

    /// x [frames, height, width, channels]
    void run(const at::Tensor& x) {
        const auto frames = x.size(0);
        const auto normed = group_norm(x, take_group_norm(at / "norm", channels, 1e-6));
        see("norm", nchw(normed));
        auto z = linear(normed.view({frames, -1, channels}), take_linear(at / "proj_in", channels, channels));
        see("proj_in", z);

        const auto spatial = at / "transformer_blocks.0";
        const auto self = self_attention(spatial, z, attend_tokens);
        see("transformer_blocks.0.attn1", self);
        z = z + self;
        const auto cross = cross_attention(spatial, z);
        see("transformer_blocks.0.attn2", cross);
        z = z + cross;
        const auto feed = feed_forward(spatial, z, "norm3", "ff");
        see("transformer_blocks.0.ff", feed);
        z = z + feed;

        const auto positions = sinusoid(at::arange(frames, at::kFloat), channels).to(x.options());
        const auto embedding = embed(positions, take_embedding(at / "time_pos_embed", channels, 4 * channels, channels));
        see("time_pos_embed", embedding);

        // The published temporal modules see [pixels, frames, channels].
        const auto temporal = at / "temporal_transformer_blocks.0";
        auto m = z + embedding.view({frames, 1, channels});
        const auto feed_in = feed_forward(temporal, m, "norm_in", "ff_in");
        see("temporal_transformer_blocks.0.ff_in", feed_in.transpose(0, 1));
        m = m + feed_in;
        const auto over_frames = self_attention(temporal, m, attend_frames);
        see("temporal_transformer_blocks.0.attn1", over_frames.transpose(0, 1));
        m = m + over_frames;
        const auto temporal_cross = cross_attention(temporal, m);
        see("temporal_transformer_blocks.0.attn2", temporal_cross.transpose(0, 1));
        m = m + temporal_cross;
        const auto temporal_feed = feed_forward(temporal, m, "norm3", "ff");
        see("temporal_transformer_blocks.0.ff", temporal_feed.transpose(0, 1));
        m = m + temporal_feed;
        see("temporal_transformer_blocks.0", m);

        const double a = (at / "time_mixer").take("mix_factor", {1}).sigmoid().item<double>();
        z = a * z + (1 - a) * m;
        see("proj_out", linear(z, take_linear(at / "proj_out", channels, channels)));
    }
};

/// One UNet call, unit by unit; what units fuse is computed apart from the same layers.
Tensors run_unet(const ModelFolder& folder, const Tensors& given, const Chunks& chunks, const Where& where) {
    const auto& config = folder.config().unet;
    const auto source = folder.source(Part::denoiser, where.device.torch, where.dtype);
    const Weights root{*source};
    Tensors out;

    const auto ids = given.at("in.unet.added_time_ids");
    const auto timestep = given.at("in.unet.timestep");
    const auto width = config.embedding_dim();
    out["unet.time_embedding"] =
        embed(where(sinusoid(timestep.view({1}), config.channels.front())), take_embedding(root / "time_embedding", config.channels.front(), width, width));
    out["unet.add_embedding"] = embed(where(sinusoid(ids.view({3}), config.addition_time_embed_dim).view({1, -1})),
                                      take_embedding(root / "add_embedding", 3 * config.addition_time_embed_dim, width, width));

    auto embedding = folder.networks().embedding;
    embedding.bind(root);
    PassState state;
    state.chunks = chunks;
    state.silu_embedding = embedding(timestep.item<double>(), std::array{ids[0][0].item<double>(), ids[0][1].item<double>(), ids[0][2].item<double>()});
    state.hidden = where(given.at("in.unet.sample")[0].permute({0, 2, 3, 1}).contiguous());
    state.pose = [pose = where(given.at("in.unet.pose_latents").permute({0, 2, 3, 1}).contiguous())](plan::FrameRange slots) {
        return pose.narrow(0, slots.begin, slots.size());
    };
    const auto context = where(given.at("in.unet.context")[0]);
    out["unet.conv_in"] = nchw(conv2d(state.hidden, take_conv(root / "conv_in", config.in_channels, config.channels.front(), 3)));

    for (const auto& unit : make_unet(config)) {
        unit->bind(root);
        unit->set_context(root, {.tokens = {at::zeros_like(context), context}});
        const auto before = state.hidden.clone();
        unit->run(state, all_slots(state));
        const auto after = state.hidden.clone();
        const auto& name = unit->name();
        const auto layer = parent(name);
        const auto channels = after.size(3);
        if (name.ends_with(".spatial_res_block")) {
            out["unet." + name] = nchw(after);
            if (after.size(1) > before.size(1)) {  // with the upsampler of the block before
                const auto upsampler = cat("up_blocks.", name[10] - '1', ".upsamplers.0");
                const auto conv = take_conv(root / upsampler / "conv", before.size(3), before.size(3), 3);
                out["unet." + upsampler] = out["unet." + block_of(upsampler)] = nchw(conv2d(upsample_nearest(before, after.size(1), after.size(2)), conv));
            }
        } else if (name.ends_with(".temporal_res_block")) {
            const double eps = name.starts_with("down_blocks.3") || name.starts_with("mid_block") ? 1e-5 : 1e-6;
            auto temporal = before.clone();
            add_temporal_resnet(temporal, take_temporal_resnet(root / name, channels, width, eps), state.silu_embedding, 1.0, chunks.pixels(temporal.size(0)));
            out["unet." + name] = temporal.permute({3, 0, 1, 2}).unsqueeze(0);
            out["unet." + layer] = nchw(after);
        } else if (name.ends_with(".transformer_blocks.0.attn1")) {
            const auto transformer = parent(parent(layer));
            const auto level = transformer.starts_with("up") ? 3 - (transformer[10] - '0') : transformer.starts_with("down") ? transformer[12] - '0' : 3;
            SlowTransformer{out, transformer, root / transformer, channels, config.heads.at(static_cast<std::size_t>(level)), context}.run(before);
        } else if (name.ends_with(".transformer_blocks.0.ff")) {
            out["unet." + layer] = after.flatten(1, 2);
        } else if (name.ends_with(".temporal_transformer_blocks.0")) {
            out["unet." + parent(layer)] = nchw(after);
        } else if (name.ends_with(".conv")) {
            out["unet." + layer] = nchw(after);
        } else if (name == "conv_out") {
            out["unet.conv_norm_out"] = nchw(group_norm(before, take_group_norm(root / "conv_norm_out", before.size(3), 1e-5)));
            out["unet.conv_out"] = nchw(after);
            out["unet.out"] = nchw(after).unsqueeze(0);
        }
        if (name.find("block") != std::string::npos) out["unet." + block_of(name)] = nchw(after);
    }
    EXPECT_TRUE(state.skips.empty());
    return out;
}

void run_vae(const ModelFolder& folder, const Tensors& given, const Chunks& chunks, const Where& where, Tensors& out) {
    const auto& config = folder.config().vae;
    const auto source = folder.source(Part::vae, where.device.torch, where.dtype);
    const Weights root{*source};
    const auto probe = [&](const std::string& name, const at::Tensor& value) { out["vae." + name] = nchw(value).clone(); };

    VaeDecoder decoder(config, VaeDecoder::Kind::temporal);
    decoder.bind(root);
    const auto frames = decoder(where(given.at("in.vae.decode.latents").permute({0, 2, 3, 1}).contiguous()), chunks, FirstResult::kept, probe);
    out["vae.decode.out"] = nchw(frames);
    out["vae.decoder.time_conv_out"] = frames.permute({3, 0, 1, 2}).unsqueeze(0);
    const auto first = root / "decoder.mid_block.resnets.0";
    const auto inner = config.channels.back();
    const auto spatial =
        resnet(out.at("vae.decoder.conv_in").permute({0, 2, 3, 1}).contiguous(), take_resnet(first / "spatial_res_block", inner, inner, 0, 1e-6), {});
    out["vae.decoder.mid_block.resnets.0.spatial_res_block"] = nchw(spatial).clone();
    auto temporal = spatial.clone();
    add_temporal_resnet(temporal, take_temporal_resnet(first / "temporal_res_block", inner, 0, 1e-5), {}, 1.0, 64);
    out["vae.decoder.mid_block.resnets.0.temporal_res_block"] = temporal.permute({3, 0, 1, 2}).unsqueeze(0);

    VaeEncoder encoder(config);
    encoder.bind(root);
    ClipSettings settings;
    const auto pixels = where(vae_pixels(given.at("in.vae.encode.image_u8"), settings, config.latent_channels));
    out["vae.encode.input"] = nchw(pixels);
    const auto moments = nchw(encoder.moments(pixels, chunks, probe)).chunk(2, 1);
    out["vae.encode.mean"] = moments[0];
    out["vae.encode.logvar"] = moments[1].clamp(-30, 20);
    out["vae.encode.mode"] = nchw(encoder(pixels, chunks));
}

void run_clip(const ModelFolder& folder, const at::Tensor& image, const Where& where, Tensors& out) {
    const auto& config = folder.config().clip;
    const auto source = folder.source(Part::image_encoder, where.device.torch, where.dtype);
    const Weights root{*source};
    const auto pixels = clip_pixels(image, config.image, folder.config().preprocessor);
    out["clip.pixels"] = nchw(pixels);
    out["clip.image_embeds"] =
        ClipEncoder(config)(root, where(pixels), [&](const std::string& name, const at::Tensor& value) { out["clip." + name] = value.clone(); });

    const auto c = config.hidden;
    const auto layer = root / "vision_model.encoder.layers.0";
    const auto x = out.at("clip.vision_model.pre_layrnorm");
    const SelfAttention attention{take_stacked(layer / "self_attn", {"q_proj", "k_proj", "v_proj"}, c, c, Bias::with),
                                  take_linear(layer / "self_attn.out_proj", c, c), config.heads};
    const auto self = linear(attend_tokens(layer_norm(x, take_layer_norm(layer / "layer_norm1", c, config.eps)), attention), attention.out);
    out["clip.vision_model.encoder.layers.0.self_attn"] = self;
    const auto inner =
        linear(layer_norm(x + self, take_layer_norm(layer / "layer_norm2", c, config.eps)), take_linear(layer / "mlp.fc1", c, config.intermediate));
    out["clip.vision_model.encoder.layers.0.mlp"] = linear(at::gelu(inner), take_linear(layer / "mlp.fc2", config.intermediate, c));
}

}  // namespace

golden::Tensors run_layers(const golden::Case& wanted, const Chunks& chunks, const golden::Where& where) {
    const auto folder = golden::tiny_model();
    auto out = run_unet(folder, wanted.recorded, chunks, where);
    run_vae(folder, wanted.recorded, chunks, where, out);
    if (const auto image = wanted.recorded.find("in.clip.image_u8"); image != wanted.recorded.end()) run_clip(folder, image->second, where, out);
    return golden::on_host(out);
}

}  // namespace weft::model::mimicmotion

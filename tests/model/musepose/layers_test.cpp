#include "model/layers/layers.hpp"
#include "base/text.hpp"
#include "model/musepose/musepose.hpp"
#include "model/musepose/unet.hpp"
#include "model/networks/clip.hpp"
#include "model/networks/vae.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

/// One call of each network with the inputs of case `layers`: all modules' results by published name. What units fuse is computed apart, from the same layers.
namespace weft::model::musepose {
namespace {

using golden::nchw;
using golden::Tensors;

constexpr std::int64_t kept_frame = 3;  // of inner results the case keeps this frame of both branches

at::Tensor nhwc(const at::Tensor& image) {
    return image.permute({0, 2, 3, 1}).contiguous();
}

std::string parent(const std::string& name) {
    return name.substr(0, name.rfind('.'));
}

std::string block_of(const std::string& unit) {
    const auto parts = split(unit, '.');
    return parts.front() == "mid_block" || parts.size() == 1 ? parts.front() : cat(parts.at(0), ".", parts.at(1));
}

/// What a unit is, by published module: "down_blocks.0.attentions.1" for the unit that ends it; "" for one that ends none.
std::string module_of(const std::string& unit) {
    for (const auto* const inner : {".transformer_blocks.0.ff", ".temporal_transformer.transformer_blocks.0.ff"})
        if (unit.ends_with(inner)) {
            auto module = unit.substr(0, unit.size() - std::string_view(inner).size());
            if (!module.ends_with(".temporal_transformer")) return module;
        }
    if (unit.ends_with(".conv")) return parent(unit);
    return unit.find("resnets") != std::string::npos ? unit : "";
}

/// Both branches of a case, as the recorded tensors have them: row 0 unconditional, row 1 conditional.
class Recorder {
  public:
    void see(const std::string& name, const at::Tensor& value) { rows_[name].push_back(value.clone()); }
    void give(Tensors& out) const {
        for (const auto& [name, rows] : rows_) out[name] = at::stack(rows);
    }

  private:
    std::map<std::string, std::vector<at::Tensor>> rows_;
};

struct Net {
    const ModelFolder& folder;
    std::unique_ptr<WeightSource> source;
    Weights root;
    Net(const ModelFolder& f, Part part) : folder{f}, source{f.source(part, at::kCPU, at::kFloat)}, root{*source} {}
};

/// The published module in front of a unit that it has no unit of its own for: "up_blocks.0.upsamplers.0" for "up_blocks.1.resnets.0"; else "".
std::string upsampler_before(const std::string& unit) {
    const auto parts = split(unit, '.');
    return parts.front() == "up_blocks" && parts.at(1) != "0" && parts.at(2) == "resnets" && parts.at(3) == "0"
               ? cat("up_blocks.", std::stoi(parts.at(1)) - 1, ".upsamplers.0")
               : "";
}

at::Tensor upsampled(const Net& net, const std::string& sampler, const at::Tensor& x, const at::Tensor& sized) {
    return conv2d(upsample_nearest(x, sized.size(1), sized.size(2)), take_conv(net.root / sampler / "conv", x.size(3), x.size(3), 3));
}

/// The reference UNet for one context; the bank of that row.
Bank run_reference(const ModelFolder& folder, const at::Tensor& latent, const at::Tensor& context, const Chunks& chunks, Recorder* recorder) {
    const Net net(folder, Part::reference);
    const auto& config = folder.config().unet;
    auto embedding = folder.networks().embedding;
    embedding.bind(net.root);
    Bank bank;
    PassState state;
    state.hidden = nhwc(latent);
    state.chunks = chunks;
    state.silu_embedding = embedding(0);
    state.record_bank = [&](const std::string& block, const at::Tensor& normed) { bank[block] = normed[0].clone(); };
    if (recorder != nullptr) {
        const auto time = sinusoid(at::zeros({1}, at::kFloat), config.channels.front());
        recorder->see("ref.time_proj", time[0]);
        recorder->see("ref.time_embedding",
                      embed(time, take_embedding(net.root / "time_embedding", config.channels.front(), config.embedding_dim(), config.embedding_dim()))[0]);
    }
    const auto units = make_reference(config);
    for (std::size_t i = 0; i < units.size(); ++i) {
        units[i]->bind(net.root);
        units[i]->set_context(net.root, {.tokens = {context, context}});
        const auto before = state.hidden;
        units[i]->run(state, all_slots(state));
        if (recorder == nullptr) continue;
        const auto& name = units[i]->name();
        if (const auto sampler = upsampler_before(name); !sampler.empty()) {
            const auto made = nchw(upsampled(net, sampler, before, state.hidden))[0];
            recorder->see("ref." + sampler, made);
            recorder->see("ref." + block_of(sampler), made);
        }
        if (name == "conv_in") recorder->see("ref.conv_in", nchw(state.hidden)[0]);
        if (const auto module = module_of(name); !module.empty()) recorder->see("ref." + module, nchw(state.hidden)[0]);
        const bool ends = i + 1 == units.size() || (block_of(units[i + 1]->name()) != block_of(name) && upsampler_before(units[i + 1]->name()).empty());
        if (name != "conv_in" && ends) recorder->see("ref." + block_of(name), nchw(state.hidden)[0]);
    }
    return bank;
}

/// The first spatial transformer as the published classes write it down.
void see_transformer(const Net& net, const std::string& name, const at::Tensor& x, const at::Tensor& context, const at::Tensor& reference, Branch branch,
                     Recorder& recorder) {
    const auto& config = net.folder.config().unet;
    const auto c = x.size(3);
    const auto at = net.root / name;
    const auto see = [&](const std::string& module, const at::Tensor& value) { recorder.see(cat("den.", name, ".", module), value[kept_frame]); };
    const auto normed = group_norm(x, take_group_norm(at / "norm", c, 1e-6));
    see("norm", nchw(normed));
    auto z = linear(normed, take_pointwise(at / "proj_in", c, c, Pointwise::convolution));
    see("proj_in", nchw(z));
    z = z.flatten(1, 2);
    const auto block = at / "transformer_blocks.0";
    const auto norm1 = layer_norm(z, take_layer_norm(block / "norm1", c));
    see("transformer_blocks.0.norm1", norm1);
    const auto attention = take_self_attention(block / "attn1", c, config.heads.front());
    // The published program attends to the bank in both branches, and then replaces the unconditional rows.
    const auto others = at::linear(reference.to(at::kHalf).to(at::kFloat), attention.qkv.weight.narrow(0, c, 2 * c));
    const auto with_bank = linear(attend_tokens_and(norm1, others, attention), attention.out);
    const auto alone = linear(attend_tokens(norm1, attention), attention.out);
    see("transformer_blocks.0.attn1", with_bank);
    if (branch == Branch::unconditional) see("transformer_blocks.0.attn1#1", alone);
    z = z + (branch == Branch::unconditional ? alone : with_bank);
    const auto cross =
        linear(linear(context, take_linear(block / "attn2.to_v", context.size(1), c, Bias::without)), take_linear(block / "attn2.to_out.0", c, c));
    see("transformer_blocks.0.attn2", cross.view({1, 1, c}).expand_as(z));
    z = z + cross.view({1, 1, c});
    const auto norm3 = layer_norm(z, take_layer_norm(block / "norm3", c));
    see("transformer_blocks.0.norm3", norm3);
    auto feed = at::zeros_like(z);
    add_feed_forward(feed, norm3, take_feed_forward(block / "ff", c));
    see("transformer_blocks.0.ff", feed);
    z = z + feed;
    see("proj_out", nchw(linear(z, take_pointwise(at / "proj_out", c, c, Pointwise::convolution)).view(x.sizes())));
}

void see_motion(const Net& net, const std::string& name, const at::Tensor& x, Recorder& recorder) {
    const auto& config = net.folder.config().unet;
    const auto c = x.size(3);
    const auto frames = x.size(0);
    const auto prefix = name + ".temporal_transformer";
    const auto at = net.root / prefix;
    const auto see = [&](const std::string& module, const at::Tensor& value) { recorder.see(cat("den.", prefix, ".", module), value[kept_frame]); };
    const auto normed = group_norm(x, take_group_norm(at / "norm", c, 1e-6));
    see("norm", nchw(normed));
    auto z = linear(normed, take_linear(at / "proj_in", c, c)).flatten(1, 2);
    see("proj_in", z);
    const auto block = at / "transformer_blocks.0";
    for (const auto i : {0, 1}) {
        const auto norm = layer_norm(z, take_layer_norm(block / cat("norms.", i), c));
        see(cat("transformer_blocks.0.norms.", i), norm);
        const auto placed = norm + frame_positions(frames, c).view({frames, 1, c});
        if (i == 0)
            for (std::int64_t pixel = 0; pixel < placed.size(1); pixel += 64)
                recorder.see(cat("den.", prefix, ".transformer_blocks.0.attention_blocks.0.pos_encoder"), placed.select(1, pixel));
        const auto attention = take_self_attention(block / cat("attention_blocks.", i), c, config.motion_heads);
        const auto result = linear(attend_frames(placed, attention), attention.out);
        see(cat("transformer_blocks.0.attention_blocks.", i), result);
        z = z + result;
    }
    const auto norm = layer_norm(z, take_layer_norm(block / "ff_norm", c));
    see("transformer_blocks.0.ff_norm", norm);
    auto feed = at::zeros_like(z);
    add_feed_forward(feed, norm, take_feed_forward(block / "ff", c));
    see("transformer_blocks.0.ff", feed);
    z = z + feed;
    see("proj_out", linear(z, take_linear(at / "proj_out", c, c)));
}

void see_resnet(const Net& net, const std::string& name, const at::Tensor& x, const at::Tensor& silu_embedding, Recorder& recorder) {
    const auto c = x.size(3);
    const auto at = net.root / name;
    const auto see = [&](const std::string& module, const at::Tensor& value) {
        recorder.see(cat("den.", name, ".", module), nchw(value)[kept_frame].unsqueeze(1));
    };
    const auto norm1 = group_norm(x, take_group_norm(at / "norm1", c, 1e-5));
    see("norm1", norm1);
    auto y = conv2d(at::silu(norm1), take_conv(at / "conv1", c, c, 3));
    see("conv1", y);
    const auto time = linear(silu_embedding, take_linear(at / "time_emb_proj", silu_embedding.size(1), c));
    recorder.see(cat("den.", name, ".time_emb_proj"), time[0]);
    const auto norm2 = group_norm(y + time.view({1, 1, 1, c}), take_group_norm(at / "norm2", c, 1e-5));
    see("norm2", norm2);
    see("conv2", conv2d(at::silu(norm2), take_conv(at / "conv2", c, c, 3)));
}

/// One branch of a denoiser call. `odd`: the small call at odd sizes, of which whole blocks are kept with all frames.
void run_denoiser(const ModelFolder& folder, const Tensors& given, bool odd, Branch branch, const Bank& own_row, const Bank& bank, const Chunks& chunks,
                  Recorder& recorder) {
    const Net net(folder, Part::denoiser);
    const auto& config = folder.config().unet;
    const auto embed_given = given.at("in.embed");
    const auto context = branch == Branch::conditional ? embed_given : at::zeros_like(embed_given);
    const std::string in = odd ? "in.odd." : "in.";
    const auto frames_of = [](const at::Tensor& x) { return nhwc(x[0].transpose(0, 1)); };
    auto embedding = folder.networks().embedding;
    embedding.bind(net.root);
    const auto timestep = given.at("in.timestep").item<double>();
    PassState state;
    state.branches = {branch};
    state.chunks = chunks;
    state.hidden = frames_of(given.at(in + "latent"));
    state.pose = [pose = frames_of(given.at(in + "pose_feature"))](plan::FrameRange slots) { return pose.narrow(0, slots.begin, slots.size()); };
    state.silu_embedding = embedding(timestep);
    if (!odd) {
        const auto time = sinusoid(at::full({1}, timestep, at::kFloat), config.channels.front());
        recorder.see("den.time_proj", time[0]);
        recorder.see("den.time_embedding",
                     embed(time, take_embedding(net.root / "time_embedding", config.channels.front(), config.embedding_dim(), config.embedding_dim()))[0]);
        recorder.see("den.conv_in",
                     nchw(conv2d(state.hidden, take_conv(net.root / "conv_in", config.in_channels, config.channels.front(), 3)))[kept_frame].unsqueeze(1));
    }
    const auto units = make_denoiser(config);
    for (std::size_t i = 0; i < units.size(); ++i) {
        const auto& unit = *units[i];
        const auto& name = unit.name();
        units[i]->bind(net.root);
        units[i]->set_context(net.root, {.tokens = {at::zeros_like(embed_given), embed_given}, .bank = &bank});
        const auto before = state.hidden.clone();
        unit.run(state, all_slots(state));
        const auto whole = nchw(state.hidden).transpose(0, 1);  // [channels, frames, h, w]
        if (name == "conv_out") {
            if (!odd)
                recorder.see("den.conv_norm_out",
                             nchw(group_norm(before, take_group_norm(net.root / "conv_norm_out", before.size(3), 1e-5)))[kept_frame].unsqueeze(1));
            recorder.see(odd ? "odd.den.out" : "den.out", whole);
            continue;
        }
        if (name == "conv_in") continue;
        if (!odd) {
            if (const auto module = module_of(name); !module.empty()) recorder.see("den." + module, whole.narrow(1, kept_frame, 1));
            if (name == "down_blocks.0.resnets.0") see_resnet(net, name, before, state.silu_embedding, recorder);
            if (name == "down_blocks.0.attentions.0.transformer_blocks.0.attn1")
                see_transformer(net, "down_blocks.0.attentions.0", before, context, own_row.at("down_blocks.0.attentions.0.transformer_blocks.0"), branch,
                                recorder);
            if (name.starts_with("down_blocks.0.motion_modules.0.") && name.ends_with(".attention_blocks"))
                see_motion(net, "down_blocks.0.motion_modules.0", before, recorder);
        }
        if (const auto sampler = upsampler_before(name); !sampler.empty()) {
            const auto made = nchw(upsampled(net, sampler, before, state.hidden)).transpose(0, 1);
            if (!odd) recorder.see("den." + sampler, made.narrow(1, kept_frame, 1));
            recorder.see(cat(odd ? "odd.den." : "den.", block_of(sampler)), odd ? made : made.narrow(1, kept_frame, 1));
        }
        const auto& next = units[i + 1]->name();
        if (block_of(next) != block_of(name) && upsampler_before(next).empty())
            recorder.see(cat(odd ? "odd.den." : "den.", block_of(name)), odd ? whole : whole.narrow(1, kept_frame, 1));
    }
    EXPECT_TRUE(state.skips.empty());
}

void run_unets(const ModelFolder& folder, const Tensors& given, const Chunks& chunks, Tensors& out) {
    Recorder recorder;
    const auto embedding = given.at("in.embed");
    for (const bool odd : {false, true}) {
        std::array<Bank, 2> banks;
        for (const auto row : {0, 1}) {
            const auto context = row == 0 ? at::zeros_like(embedding) : embedding;
            banks[static_cast<std::size_t>(row)] =
                run_reference(folder, given.at(odd ? "in.odd.ref_latent" : "in.ref_latent"), context, chunks, odd ? nullptr : &recorder);
            if (odd) continue;
            for (const auto& [block, tokens] : banks[static_cast<std::size_t>(row)]) recorder.see("bank." + block, tokens);
        }
        const auto bank = as_published(banks[1]);
        for (const auto branch : {Branch::unconditional, Branch::conditional})
            run_denoiser(folder, given, odd, branch, banks[static_cast<std::size_t>(branch)], bank, chunks, recorder);
    }
    recorder.give(out);
}

void run_vae(const ModelFolder& folder, const Tensors& given, Tensors& out) {
    const Net net(folder, Part::vae);
    const auto& config = folder.config().vae;
    const auto probe = [&](const std::string& name, const at::Tensor& value) {
        auto first = nchw(value.narrow(0, 0, 1)).clone();
        const bool thinned = name == "encoder.conv_in" || name == "decoder.up_blocks.2" || name == "decoder.up_blocks.3";
        out["vae." + name] = thinned ? first.slice(1, 0, first.size(1), 8) : first;
    };
    VaeEncoder encoder(config);
    encoder.bind(net.root);
    const auto images = nhwc(given.at("in.image"));
    std::vector<at::Tensor> each;  // the encoder takes one picture
    for (std::int64_t image = 0; image < images.size(0); ++image)
        each.push_back(encoder.moments(images.narrow(0, image, 1).contiguous(), Chunks{}, image == 0 ? VaeProbe(probe) : VaeProbe{}));
    const auto moments = nchw(at::cat(each));
    out["vae.moments"] = moments;
    out["vae.mean"] = moments.narrow(1, 0, config.latent_channels);
    out["vae.latent"] = out["vae.mean"] * config.scaling_factor;
    out["vae.decoder_input"] = out["vae.latent"] * (1.0 / config.scaling_factor);
    VaeDecoder decoder(config, VaeDecoder::Kind::frames);
    decoder.bind(net.root);
    out["vae.decoded"] = nchw(decoder(nhwc(out["vae.decoder_input"]), Chunks{}, FirstResult::kept, probe));
}

void run_clip(const ModelFolder& folder, const Tensors& given, Tensors& out) {
    const Net net(folder, Part::image_encoder);
    const ClipEncoder encoder(folder.config().clip);
    out["clip.embed"] = encoder(net.root, nhwc(given.at("in.clip_pixel")), [&](const std::string& name, const at::Tensor& value) {
        if (name == "vision_model.embeddings") out["clip.embeddings"] = value.clone();
        if (name == "vision_model.pre_layrnorm") out["clip.pre_layrnorm"] = out["clip.hidden.0"] = value.clone();
        if (name == "vision_model.post_layernorm") out["clip.pooled"] = value.clone();
        if (name.starts_with("vision_model.encoder.layers.")) out[cat("clip.hidden.", std::stoi(name.substr(name.rfind('.') + 1)) + 1)] = value.clone();
    });
}

void run_pose(const ModelFolder& folder, const Tensors& given, Tensors& out) {
    const Net net(folder, Part::pose_network);
    auto guider = folder.networks().pose;
    guider.bind(net.root);
    std::vector<at::Tensor> steps;
    static_cast<void>(guider(nhwc(given.at("in.pose_map")[0].transpose(0, 1)), &steps));
    for (std::size_t i = 0; i < steps.size(); ++i) {
        const auto name = i == 0 ? std::string("conv_in") : i + 1 == steps.size() ? std::string("conv_out") : cat("blocks.", i - 1);
        const auto all = steps[i].permute({3, 0, 1, 2}).unsqueeze(0);
        out["pose." + name] = i + 1 == steps.size() ? all : all.narrow(2, 0, 1);
    }
}

/// The published resizes of an odd-sized picture.
void run_pictures(const Tensors& given, Tensors& out) {
    const auto picture = given.at("pre.image_u8");
    out["pre.clip_u8"] = clip_picture(picture, 224);
    for (const auto& [height, width] : {std::pair{64, 128}, {90, 70}}) {
        const auto h = height / 8 * 8, w = width / 8 * 8;
        const auto used = squashed(picture, h, w);
        out[cat("pre.pose_u8.h", height, "_w", width)] = used;
        out[cat("pre.vae_input.h", height, "_w", width)] = 2.0 * (nchw(used.unsqueeze(0)).to(at::kFloat) / 255.0) - 1.0;
    }
    out["pre.vae_u8.up"] = squashed(picture, 256, 192).permute({2, 0, 1}).slice(1, 0, 256, 8);
}

class GoldenMusePoseLayers : public testing::TestWithParam<Chunks> {};

TEST_P(GoldenMusePoseLayers, AsRecorded) {
    const auto wanted = golden::read_case("layers", FamilyName::musepose);
    const auto folder = golden::tiny_musepose();
    Tensors out;
    run_unets(folder, wanted.recorded, GetParam(), out);
    // Only the full data has these inputs and what was recorded of them.
    if (wanted.recorded.contains("in.image")) run_vae(folder, wanted.recorded, out);
    if (wanted.recorded.contains("in.pose_map")) run_pose(folder, wanted.recorded, out);
    if (wanted.recorded.contains("in.clip_pixel")) run_clip(folder, wanted.recorded, out);
    if (wanted.recorded.contains("pre.image_u8")) run_pictures(wanted.recorded, out);
    golden::expect_as_recorded(wanted, out);
}

INSTANTIATE_TEST_SUITE_P(Chunks, GoldenMusePoseLayers, testing::Values(Chunks{}, Chunks{64, 32}, Chunks{256, 100}),
                         [](const auto& row) { return cat("Rows", row.param.frame_rows, "And", row.param.pixel_rows); });

}  // namespace
}  // namespace weft::model::musepose

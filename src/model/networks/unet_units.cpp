#include "model/networks/unet_units.hpp"

#include "base/text.hpp"
#include "device/meter.hpp"

namespace weft::model {

namespace {
constexpr double group_eps_attention = 1e-6;
constexpr double group_eps_out = 1e-5;
}  // namespace

void ConvIn::run(PassState& state, plan::FrameRange slots) const {
    auto conv = conv_;
    if (state.remakes_first_skip) {  // streamed weights may go before what is made again has read them: it has its own, which are small
        conv.weight = conv.weight.clone();
        conv.bias = conv.bias.clone();
    }
    const auto make = [conv, input = state.hidden, pose = std::move(state.pose)](plan::FrameRange some) {
        auto made = conv2d(input.narrow(0, some.begin, some.size()), conv);
        const auto features = pose ? pose(some) : at::Tensor{};
        if (features.defined()) made.add_(features);
        return made;
    };
    state.pose = {};
    make_anew(state, slots, state.hidden.size(1), state.hidden.size(2), out_, [&](std::int64_t first, std::int64_t count) {
        return make({first, first + count});
    });
    if (state.remakes_first_skip) {
        state.first_skip = make;
        state.skips.emplace_back();
    } else {
        state.skips.push_back(state.hidden);
    }
}

SpatialResnet::SpatialResnet(std::string name, std::int64_t in, std::int64_t out, std::int64_t embedding, double eps, Skip skip, After after,
                             std::optional<Upsampler> from)
    : Unit{std::move(name), forms::spatial_resnet(in, out, skip == Skip::pop, after == After::push, from ? from->channels : 0)},
      in_{in},
      out_{out},
      embedding_{embedding},
      eps_{eps},
      from_{std::move(from)} {}

void SpatialResnet::bind(const Weights& source) {
    if (from_) upsampled_ = take_conv(source / from_->name, from_->channels, from_->channels, 3);
    block_ = take_resnet(source / name(), in_, out_, embedding_, eps_);
}

void SpatialResnet::release() {
    upsampled_.reset();
    block_ = {};
}

at::Tensor SpatialResnet::input_of(const PassState& state, std::int64_t first, std::int64_t count, std::int64_t height, std::int64_t width) const {
    auto part = state.hidden.narrow(0, first, count);
    if (from_) part = conv2d(upsample_nearest(part, height, width), *upsampled_);
    if (!form().pops) return part;
    const auto& skip = state.skips.back();
    return at::cat({part, skip.defined() ? skip.narrow(0, first, count) : state.first_skip({first, first + count})}, -1);
}

void SpatialResnet::run(PassState& state, plan::FrameRange slots) const {
    const bool pops = form().pops;
    ensure(!pops || !state.skips.empty(), "a skip is missing on the way up");
    const auto frames = state.hidden.size(0);
    const auto& sized = pops && state.skips.back().defined() ? state.skips.back() : state.hidden;
    const auto height = sized.size(1);
    const auto width = sized.size(2);
    make_anew(state, slots, height, width, out_,
              [&](std::int64_t first, std::int64_t count) { return resnet(input_of(state, first, count, height, width), block_, state.silu_embedding); });
    if (slots.end < frames) return;
    if (pops) {
        if (!state.skips.back().defined()) state.first_skip = {};
        state.skips.pop_back();
    }
    if (form().pushes) state.skips.push_back(state.hidden);
}

void Downsample::run(PassState& state, plan::FrameRange slots) const {
    const auto half = [](std::int64_t size) { return size_at_level(size, 1); };
    make_anew(state, slots, half(state.hidden.size(1)), half(state.hidden.size(2)), channels_,
              [&](std::int64_t first, std::int64_t count) { return conv2d(state.hidden.narrow(0, first, count), conv_); });
    state.skips.push_back(state.hidden);
}

void ConvOut::bind(const Weights& source) {
    norm_ = take_group_norm(source / "conv_norm_out", in_, group_eps_out);
    conv_ = take_conv(source / "conv_out", in_, out_, 3);
}

void ConvOut::release() {
    norm_ = {};
    conv_ = {};
}

void ConvOut::run(PassState& state, plan::FrameRange slots) const {
    make_anew(state, slots, state.hidden.size(1), state.hidden.size(2), out_,
              [&](std::int64_t first, std::int64_t count) { return conv2d(group_norm_silu(state.hidden.narrow(0, first, count), norm_), conv_); });
}

void OneTokenAttention::expect(const Weights& source) const {
    const auto at = source / block_;
    (at / "norm2").expect("weight", {channels_});
    (at / "norm2").expect("bias", {channels_});
    (at / "attn2.to_q").expect("weight", {channels_, channels_});
    (at / "attn2.to_k").expect("weight", {channels_, context_});
    (at / "attn2.to_v").expect("weight", {channels_, context_});
    (at / "attn2.to_out.0").expect("weight", {channels_, channels_});
    (at / "attn2.to_out.0").expect("bias", {channels_});
}

void OneTokenAttention::set_context(const Weights& source, const std::array<at::Tensor, num_branches>& context, const at::Tensor& self_bias) {
    const auto at = source / block_;
    const auto value = take_linear(at / "attn2.to_v", context_, channels_, Bias::without);
    const auto out = take_linear(at / "attn2.to_out.0", channels_, channels_);
    const OwnedBy owner(Owner::weights);
    for (std::size_t branch = 0; branch < num_branches; ++branch) {
        const auto constant = linear(linear(context[branch].view({1, context_}), value), out).view({channels_});
        bias_[branch] = self_bias + constant;
    }
}

std::string SpatialBlock::name() const {
    return cat(prefix, ".transformer_blocks.", layer);
}

namespace {
UnitForm attention_form(const SpatialBlock& block) {
    const auto c = block.channels;
    return {.channels = c,
            .in_place = true,
            .opens = block.opens,
            .cuttable = true,
            .work = {.pixel = (block.opens ? c * c : 0) + 4 * c * c, .pixel_pair = {2 * c, (block.reads_bank ? 4 : 2) * c}},
            .context_elements = c};
}

UnitForm feed_forward_form(const SpatialBlock& block) {
    const auto c = block.channels;
    return {.channels = c,
            .in_place = true,
            .closes = block.closes,
            .pushes = block.pushes,
            .cuttable = true,
            .work = {.pixel = feed_forward_work(c) + (block.closes ? c * c : 0)}};
}
}  // namespace

SpatialAttention::SpatialAttention(const SpatialBlock& block)
    : Unit{block.name() + ".attn1", attention_form(block)}, block_{block}, cross_{block.name(), block.channels, block.context} {}

void SpatialAttention::bind(const Weights& source) {
    const auto c = block_.channels;
    if (block_.opens) {
        norm_ = take_group_norm(source / block_.prefix / "norm", c, group_eps_attention);
        proj_in_ = take_pointwise(source / block_.prefix / "proj_in", c, c, block_.projection);
    }
    norm1_ = take_layer_norm(source / block_.name() / "norm1", c);
    attention_ = take_self_attention(source / block_.name() / "attn1", c, block_.heads);
    cross_.expect(source);
}

void SpatialAttention::release() {
    norm_ = {};
    proj_in_ = {};
    norm1_ = {};
    attention_ = {};
}

void SpatialAttention::set_context(const Weights& source, const Context& context) {
    cross_.set_context(source, context.tokens, attention_.out.bias);
    if (!block_.reads_bank) return;
    ensure(context.bank != nullptr, "a unit that reads the reference's bank is given one");
    const OwnedBy owner(Owner::conditioning);
    const auto& qkv = attention_.qkv.weight;
    const auto c = block_.channels;
    reference_ = at::linear(context.bank->at(block_.name()).to(qkv.scalar_type()), qkv.narrow(0, c, 2 * c));
}

void SpatialAttention::run(PassState& state, plan::FrameRange slots) const {
    if (block_.opens && slots.begin == 0) {
        state.residual = state.hidden;
        state.hidden = at::empty_like(state.residual);
    }
    for_branches(state, slots, [&](Branch branch, plan::FrameRange some, plan::FrameRange among) {
        const Linear out{attention_.out.weight, cross_.bias(branch)};
        const bool reads = block_.reads_bank && branch == Branch::conditional;
        for_frame_chunks(state.hidden, some, among, state.chunks, [&](std::int64_t first, std::int64_t count) {
            auto z = tokens_of(state.hidden.narrow(0, first, count));
            if (block_.opens) {
                auto flat = z.view({-1, block_.channels});
                const auto normed = group_norm(state.residual.narrow(0, first, count), norm_).view({-1, block_.channels});
                at::addmm_out(flat, proj_in_.bias, normed, proj_in_.weight.t());
            }
            const auto normed = layer_norm(z, norm1_);
            if (state.record_bank) state.record_bank(block_.name(), normed);
            add_linear(z, reads ? attend_tokens_and(normed, reference_, attention_) : attend_tokens(normed, attention_), out);
        });
    });
}

SpatialFeedForward::SpatialFeedForward(const SpatialBlock& block) : Unit{block.name() + ".ff", feed_forward_form(block)}, block_{block} {}

void SpatialFeedForward::bind(const Weights& source) {
    norm3_ = take_layer_norm(source / block_.name() / "norm3", block_.channels);
    feed_ = take_feed_forward(source / block_.name() / "ff", block_.channels);
    if (block_.closes) proj_out_ = take_pointwise(source / block_.prefix / "proj_out", block_.channels, block_.channels, block_.projection);
}

void SpatialFeedForward::release() {
    norm3_ = {};
    feed_ = {};
    proj_out_ = {};
}

void SpatialFeedForward::run(PassState& state, plan::FrameRange slots) const {
    for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
        auto z = state.hidden.narrow(0, first, count).view({-1, block_.channels});
        add_feed_forward(z, layer_norm(z, norm3_), feed_, state.chunks.inner_rows(feed_.in.weight.size(0)));
    });
    if (block_.closes) close_transformer(state, slots, proj_out_, form());
}

void close_transformer(PassState& state, plan::FrameRange slots, const Linear& out, const UnitForm& form) {
    for_frame_chunks(state.hidden, slots, state.chunks, [&](std::int64_t first, std::int64_t count) {
        auto residual = state.residual.narrow(0, first, count);
        add_linear(residual, state.hidden.narrow(0, first, count), out);
    });
    if (slots.end < state.hidden.size(0)) return;
    state.hidden = std::move(state.residual);
    state.residual.reset();
    if (form.pushes) state.skips.push_back(state.hidden);
}

}  // namespace weft::model

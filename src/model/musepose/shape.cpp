#include "model/musepose/shape.hpp"

#include "base/text.hpp"
#include "model/chunks.hpp"
#include "model/pass_layout.hpp"

#include <initializer_list>

namespace weft::model::musepose {

namespace {

constexpr std::int64_t element_bytes = 2;
constexpr std::array<std::int64_t, 4> channels{320, 640, 1280, 1280};
constexpr std::size_t attention_levels = 3;  // the innermost has none
constexpr std::int64_t layers = 2;           // a level on the way down; one more on the way up
constexpr std::int64_t latent_channels = 4;
constexpr std::int64_t embedding = 1280;

/// Elements of a layer's tensors.
using Elements = std::vector<std::int64_t>;

Elements operator+(Elements left, const Elements& right) {
    left.insert(left.end(), right.begin(), right.end());
    return left;
}

Elements norm(std::int64_t c) {
    return {c, c};
}

Elements matrix(std::int64_t in, std::int64_t out) {
    return {in * out, out};
}

Elements convolution(std::int64_t in, std::int64_t out) {
    return {conv_work(in, out), out};
}

Elements self_attention(std::int64_t c) {
    return Elements{3 * c * c} + matrix(c, c);
}

Elements feed_forward(std::int64_t c) {
    return matrix(c, 8 * c) + matrix(4 * c, c);
}

Elements pose_guider() {
    Elements all = convolution(3, 16);
    for (const auto& [in, out] : {std::pair{16, 16}, {16, 32}, {32, 32}, {32, 96}, {96, 96}, {96, 256}, {256, 320}}) all = all + convolution(in, out);
    return all;
}

std::int64_t bytes_of(const Elements& tensors) {
    std::vector<KeySpec> keys;
    for (const auto elements : tensors) keys.push_back({"", {elements}});
    return held_bytes(keys, element_bytes);
}

enum class Push { no, yes };

/// Appends the units of the published tree in running order.
class Builder {
  public:
    void add(const std::string& name, const UnitForm& form, Elements tensors) {
        if (form.context_elements > 0) tensors = tensors + Elements(num_branches, form.context_elements);
        sketches.push_back({name, form, bytes_of(tensors)});
    }

    void resnet(const std::string& name, std::int64_t in, std::int64_t out, bool pops) {
        auto tensors = norm(in) + convolution(in, out) + matrix(embedding, out) + norm(out) + convolution(out, out);
        if (in != out) tensors = tensors + matrix(in, out);
        add(name, forms::spatial_resnet(in, out, pops), std::move(tensors));
    }

    /// norm, proj_in and self-attention; then feed-forward, proj_out and the residual. In the conditional branch the reference's tokens are keys and values
    /// too.
    void transformer(const std::string& prefix, std::int64_t c) {
        const auto block = prefix + ".transformer_blocks.0";
        add(block + ".attn1",
            {.channels = c,
             .in_place = true,
             .opens = true,
             .cuttable = true,
             .work = {.pixel = 5 * c * c, .pixel_pair = {2 * c, 4 * c}},
             .context_elements = c},
            norm(c) + matrix(c, c) + norm(c) + self_attention(c));
        add(block + ".ff", {.channels = c, .in_place = true, .closes = true, .cuttable = true, .work = {.pixel = feed_forward_work(c) + c * c}},
            norm(c) + feed_forward(c) + matrix(c, c));
    }

    /// norm, proj_in and two attentions over frames; then feed-forward, proj_out and the residual, where frames do not meet.
    void motion_module(const std::string& prefix, std::int64_t c, Push push) {
        const auto block = prefix + ".temporal_transformer.transformer_blocks.0";
        add(block + ".attention_blocks", {.channels = c, .in_place = true, .opens = true, .work = {.pixel = 9 * c * c, .frame_pair = 4 * c}},
            norm(c) + matrix(c, c) + norm(c) + self_attention(c) + norm(c) + self_attention(c));
        add(block + ".ff",
            {.channels = c, .in_place = true, .closes = true, .pushes = push == Push::yes, .cuttable = true, .work = {.pixel = feed_forward_work(c) + c * c}},
            norm(c) + feed_forward(c) + matrix(c, c));
    }

    std::vector<UnitSketch> sketches;
};

std::vector<UnitSketch> sketch_unet() {
    Builder builder;
    builder.add("conv_in", forms::conv_in(latent_channels, channels.front()), convolution(latent_channels, channels.front()) + pose_guider());
    std::vector<std::int64_t> skips{channels.front()};
    auto hidden = channels.front();
    for (std::size_t level = 0; level < channels.size(); ++level) {
        const auto block = cat("down_blocks.", level);
        const auto c = channels[level];
        for (std::int64_t layer = 0; layer < layers; ++layer) {
            builder.resnet(cat(block, ".resnets.", layer), hidden, c, /*pops=*/false);
            if (level < attention_levels) builder.transformer(cat(block, ".attentions.", layer), c);
            builder.motion_module(cat(block, ".motion_modules.", layer), c, Push::yes);
            hidden = c;
            skips.push_back(c);
        }
        if (level + 1 == channels.size()) continue;
        builder.add(cat(block, ".downsamplers.0.conv"), forms::downsample(c), convolution(c, c));
        skips.push_back(c);
    }
    builder.resnet("mid_block.resnets.0", hidden, hidden, /*pops=*/false);
    builder.transformer("mid_block.attentions.0", hidden);
    builder.motion_module("mid_block.motion_modules.0", hidden, Push::no);
    builder.resnet("mid_block.resnets.1", hidden, hidden, /*pops=*/false);
    for (std::size_t up = 0; up < channels.size(); ++up) {
        const auto level = channels.size() - 1 - up;
        const auto block = cat("up_blocks.", up);
        const auto c = channels[level];
        for (std::int64_t layer = 0; layer < layers + 1; ++layer) {
            builder.resnet(cat(block, ".resnets.", layer), hidden + skips.back(), c, /*pops=*/true);
            skips.pop_back();
            if (level < attention_levels) builder.transformer(cat(block, ".attentions.", layer), c);
            builder.motion_module(cat(block, ".motion_modules.", layer), c, Push::no);
            hidden = c;
        }
        if (level > 0) builder.add(cat(block, ".upsamplers.0.conv"), forms::upsample(c), convolution(c, c));
    }
    builder.add("conv_out", forms::conv_out(hidden, latent_channels), norm(hidden) + convolution(hidden, latent_channels));
    return std::move(builder.sketches);
}

}  // namespace

plan::PassShape musepose_shape(std::int64_t width, std::int64_t height, std::int64_t num_slots, double flops_per_second) {
    const PassSize size{.frames = num_slots, .height = height / 8, .width = width / 8, .element_bytes = element_bytes};
    const auto time = bytes_of(matrix(channels.front(), embedding) + matrix(embedding, embedding));
    return lay_out(sketch_unet(), size, chunks_for(c10::kCUDA), flops_per_second, time).shape;
}

}  // namespace weft::model::musepose

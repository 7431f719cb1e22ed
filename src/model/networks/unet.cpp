#include "model/networks/unet.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace weft::model {

void describe(ConfigFile& file, UNetConfig& config, const UNetNames& names) {
    const auto blocks = [&](const char* way) { return std::pair{cat("CrossAttn", way, names.block_ending), cat(way, names.block_ending)}; };
    const auto [down_with, down_without] = blocks("Down");
    const auto [up_with, up_without] = blocks("Up");
    file.widths("block_out_channels", config.channels);
    file.whole("in_channels", config.in_channels);
    file.whole("out_channels", config.out_channels);
    file.levels("layers_per_block", config.layers, 64);
    file.levels(names.heads, config.heads);
    file.blocks("down_block_types", config.down_attention, down_with, down_without);
    file.blocks("up_block_types", config.up_attention, up_with, up_without);
    file.whole("cross_attention_dim", config.cross_attention_dim);
    file.must_divide("block_out_channels", config.channels, 32, "group norms have 32 groups");
    for (std::size_t i = 0; i < config.channels.size(); ++i)
        if (config.channels[i] % config.heads[i] != 0) file.wrong(names.heads, "must divide block_out_channels level by level");
}

std::string UNetLayer::part(const char* list) const {
    return cat(block, ".", list, ".", index);
}

Units UNetBuilder::build(End end) {
    using Way = UNetLayer::Way;
    const auto& widths = config_.channels;
    std::vector<std::int64_t> skips{widths.front()};
    auto hidden = widths.front();
    add<ConvIn>(config_.in_channels, hidden);
    for (std::size_t level = 0; level < widths.size(); ++level) {
        const auto block = cat("down_blocks.", level);
        for (std::int64_t i = 0; i < config_.layers[level]; ++i) {
            layer(
                {.block = block, .index = i, .way = Way::down, .level = level, .in = hidden, .out = widths[level], .attention = config_.down_attention[level]});
            hidden = widths[level];
            skips.push_back(hidden);
        }
        if (level + 1 == widths.size()) continue;
        add<Downsample>(block, hidden);
        skips.push_back(hidden);
    }
    const UNetLayer inner{.block = "mid_block", .way = Way::middle, .level = widths.size() - 1, .in = hidden, .out = hidden, .attention = true};
    layer(inner);
    auto last = inner;
    last.index = 1;
    last.attention = false;
    last.ends_middle = true;
    layer(last);
    std::optional<Upsampler> from;
    for (std::size_t up = 0; up < widths.size(); ++up) {
        const auto level = widths.size() - 1 - up;
        const auto block = cat("up_blocks.", up);
        for (std::int64_t i = 0; i < config_.layers[level] + 1; ++i) {
            const auto in = hidden + skips.back();
            skips.pop_back();
            layer({.block = block,
                   .index = i,
                   .way = Way::up,
                   .level = level,
                   .in = in,
                   .out = widths[level],
                   .attention = config_.up_attention[up],
                   .from = from});
            from.reset();
            hidden = widths[level];
        }
        if (level > 0) from = Upsampler{block + ".upsamplers.0.conv", hidden};
    }
    if (end == End::conv_out) add<ConvOut>(hidden, config_.out_channels);
    return std::move(units_);
}

void UNetEmbedding::bind(const Weights& source) {
    time_ = take_embedding(source / "time_embedding", base_, 4 * base_, 4 * base_);
    if (num_ids_ > 0) added_ = take_embedding(source / "add_embedding", num_ids_ * id_dim_, 4 * base_, 4 * base_);
}

at::Tensor UNetEmbedding::operator()(double timestep, std::span<const double> ids) const {
    ensure(static_cast<std::int64_t>(ids.size()) == num_ids_, "an embedding is told as many numbers as it knows");
    const auto& like = time_.first.weight;
    const auto on_device = [&](const at::Tensor& values) { return values.to(like.device(), like.scalar_type()); };
    const auto options = at::TensorOptions{}.dtype(c10::kFloat);
    const auto time = embed(on_device(sinusoid(at::full({1}, timestep, options), base_)), time_);
    if (ids.empty()) return at::silu(time);
    const auto numbers = at::empty({num_ids_}, options);
    std::copy(ids.begin(), ids.end(), numbers.mutable_data_ptr<float>());
    return at::silu(time + embed(on_device(sinusoid(numbers, id_dim_).view({1, -1})), added_));
}

}  // namespace weft::model

#pragma once
#include "model/networks/config_file.hpp"
#include "model/networks/unet_units.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// The published tree of a denoising UNet: what the families' UNets have in common.
namespace weft::model {

/// unet/config.json. One entry a level where the published file has a list.
struct UNetConfig {
    std::int64_t in_channels = 4;
    std::int64_t out_channels = 4;
    std::vector<std::int64_t> channels{320, 640, 1280, 1280};
    std::vector<std::int64_t> layers{2, 2, 2, 2};  ///< on the way down; one more on the way up
    std::vector<std::int64_t> heads{8, 8, 8, 8};
    std::vector<bool> down_attention{true, true, true, false};
    std::vector<bool> up_attention{false, true, true, true};
    std::int64_t cross_attention_dim = 1024;

    [[nodiscard]] std::int64_t embedding_dim() const { return 4 * channels.front(); }
};

/// How a family's class names what is in that file.
struct UNetNames {
    const char* heads;
    const char* block_ending;  ///< "BlockSpatioTemporal": behind "CrossAttnDown", "Down", "CrossAttnUp" and "Up"
};
void describe(ConfigFile& file, UNetConfig& config, const UNetNames& names);

/// A layer of the tree: a resnet, and what the family puts behind it. A down layer leaves a skip where `after` says so, an up layer takes one.
struct UNetLayer {
    enum class Way { down, middle, up };

    std::string block;  ///< "down_blocks.0"
    std::int64_t index = 0;
    Way way = Way::down;
    std::size_t level = 0;
    std::int64_t in = 0, out = 0;  ///< channels, with the skip's
    bool attention = false;
    bool ends_middle = false;       ///< the last resnet of the middle stands alone
    std::optional<Upsampler> from;  ///< what makes the resnet's input larger, of the block before

    [[nodiscard]] std::string part(const char* list) const;  ///< "down_blocks.0.resnets.1"
    [[nodiscard]] Skip skip() const { return way == Way::up ? Skip::pop : Skip::keep; }
    /// Of what comes last in the layer.
    [[nodiscard]] After after() const { return way == Way::down ? After::push : After::nothing; }
};

/// Walks the tree from conv_in to conv_out; a family says what a layer holds.
class UNetBuilder {
  public:
    virtual ~UNetBuilder() = default;
    UNetBuilder(const UNetBuilder&) = delete;
    UNetBuilder& operator=(const UNetBuilder&) = delete;

    enum class End { conv_out, last_block };
    [[nodiscard]] Units build(End end = End::conv_out);

  protected:
    explicit UNetBuilder(const UNetConfig& config) : config_{config} {}

    virtual void layer(const UNetLayer& layer) = 0;

    template <class Type, class... Arguments>
    void add(Arguments&&... arguments) {
        units_.push_back(std::make_unique<Type>(std::forward<Arguments>(arguments)...));
    }

  private:
    const UNetConfig& config_;
    Units units_;
};

/// What all units are told of the step: the time, and what else a family says of the clip.
class UNetEmbedding {
  public:
    /// `num_ids` numbers, each embedded in `id_dim` dims; none: the time alone.
    explicit UNetEmbedding(std::int64_t base, std::int64_t num_ids = 0, std::int64_t id_dim = 0) : base_{base}, num_ids_{num_ids}, id_dim_{id_dim} {}
    void bind(const Weights& source);

    /// SiLU(time_embedding(t) + add_embedding(ids)), [1, embedding].
    [[nodiscard]] at::Tensor operator()(double timestep, std::span<const double> ids = {}) const;

  private:
    std::int64_t base_, num_ids_, id_dim_;
    Embedding time_, added_;
};

}  // namespace weft::model

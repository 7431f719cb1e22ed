#pragma once
#include "model/chunks.hpp"
#include "model/layers/layers.hpp"
#include "model/networks/config_file.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace weft::model {

/// vae/config.json
struct VaeConfig {
    std::vector<std::int64_t> channels{128, 256, 512, 512};
    std::int64_t layers = 2;
    std::int64_t latent_channels = 4;
    double scaling_factor = 0.18215;
};
void describe(ConfigFile& file, VaeConfig& config);

/// Called with a published module name and its result [frames, height, width, channels], for tests.
using VaeProbe = std::function<void(const std::string&, const at::Tensor&)>;

/// Single-head attention of every pixel to all pixels of its frame, with the norm and the residual (models/mimicmotion.md section 5).
struct VaeAttention {
    GroupNorm norm;
    SelfAttention attention;
};
[[nodiscard]] VaeAttention take_vae_attention(const Weights& weights, std::int64_t channels);
void add_vae_attention(at::Tensor& x, const VaeAttention& block);

/// Pictures to latents.
class VaeEncoder {
  public:
    explicit VaeEncoder(const VaeConfig& config) : config_{config} {}
    void bind(const Weights& source);

    /// x [1, height, width, 3] in [-1, 1] -> moments [1, height / 8, width / 8, 2 * latents]: mean, then log-variance.
    [[nodiscard]] at::Tensor moments(const at::Tensor& x, const Chunks& chunks, const VaeProbe& probe = {}) const;

    /// The mean alone, [1, height / 8, width / 8, latents]; not scaled.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& x, const Chunks& chunks) const;

  private:
    struct Level {
        std::vector<Resnet> resnets;
        std::optional<Conv2d> down;
    };
    VaeConfig config_;
    Conv2d conv_in_, conv_out_, quant_;
    std::vector<Level> levels_;
    Resnet mid0_, mid1_;
    VaeAttention attention_;
    GroupNorm norm_out_;
};

/// Latents to frames.
class VaeDecoder {
  public:
    enum class Kind {
        frames,    ///< AutoencoderKL: each frame by itself, with a convolution on the latents first (models/musepose.md section 5)
        temporal,  ///< AutoencoderKLTemporalDecoder: norms and convolutions over the frames of a chunk, whose borders are part of the function
    };
    VaeDecoder(const VaeConfig& config, Kind kind) : config_{config}, kind_{kind} {}
    void bind(const Weights& source);

    /// latents [frames, h, w, latents], already divided by the scaling factor -> [frames, 8 h, 8 w, 3], about [-1, 1]. Frames go one by one and in strips, what
    /// joins them by some pixels at a time: in the widest part the frames and one more tensor of their size stand whole, or, where temporal resnets make their
    /// first result again, the frames alone, with the same bits.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& latents, const Chunks& chunks, FirstResult first_result = FirstResult::kept,
                                        const VaeProbe& probe = {}) const;

  private:
    struct Block {
        Resnet spatial;
        std::optional<Resnet> temporal;
        double temporal_share = 0;
    };
    struct Level {
        std::vector<Block> blocks;
        std::optional<Conv2d> up;
    };
    [[nodiscard]] Block take_block(const Weights& weights, std::int64_t in, std::int64_t out) const;
    /// `up`: what first makes each frame twice as large, or none. The frames are replaced.
    static void run_block(std::vector<at::Tensor>& frames, const Block& block, const Conv2d* up, const Chunks& chunks, FirstResult first_result);

    VaeConfig config_;
    Kind kind_;
    std::optional<Conv2d> quant_;  ///< of frames
    Conv2d conv_in_, conv_out_;
    std::optional<Conv2d> time_conv_out_;  ///< temporal
    std::vector<Block> mid_;
    VaeAttention attention_;
    std::vector<Level> levels_;
    GroupNorm norm_out_;
};

}  // namespace weft::model

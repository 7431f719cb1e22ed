#pragma once
#include "model/layers/layers.hpp"
#include "model/networks/config_file.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace weft::model {

enum class Gelu { exact, quick };  ///< with erf; x * sigmoid(1.702 x)

/// image_encoder/config.json
struct ClipConfig {
    std::int64_t hidden = 1280;
    std::int64_t intermediate = 5120;
    std::int64_t layers = 32;
    std::int64_t heads = 16;
    std::int64_t patch = 14;
    std::int64_t image = 224;
    std::int64_t projection = 1024;
    double eps = 1e-5;
    Gelu gelu = Gelu::exact;
};

/// The file of a whole CLIP may have the numbers in its `vision_config`.
void describe(ConfigFile& file, ClipConfig& config);

/// CLIP's vision tower with projection (models/mimicmotion.md section 4, models/musepose.md section 6).
class ClipEncoder {
  public:
    explicit ClipEncoder(const ClipConfig& config) : config_{config} {}

    /// Asks for all weights, in loading order, and keeps none.
    void list(const Weights& source) const;

    /// Called with a published module name ("vision_model.encoder.layers.3") and its result, for tests.
    using Probe = std::function<void(const std::string&, const at::Tensor&)>;

    /// pixels [1, image, image, 3], normalised -> [1, projection], not normalised to length 1. Run once, so each layer's weights are there while it runs only.
    [[nodiscard]] at::Tensor operator()(const Weights& source, const at::Tensor& pixels, const Probe& probe = {}) const;

  private:
    struct Layer {
        LayerNorm norm1, norm2;
        Linear qkv, out, up, down;
    };
    struct Front {
        at::Tensor patches, class_embedding, position_embedding;
        LayerNorm norm;
    };
    struct Back {
        LayerNorm norm;
        Linear projection;
    };
    [[nodiscard]] Front take_front(const Weights& source) const;
    [[nodiscard]] Layer take_layer(const Weights& source, std::int64_t layer) const;
    [[nodiscard]] Back take_back(const Weights& source) const;
    [[nodiscard]] at::Tensor embed_patches(const Weights& source, const at::Tensor& pixels, const Probe& probe) const;
    void run_layer(at::Tensor& x, const Layer& layer) const;

    ClipConfig config_;
};

/// Channels of a picture as CLIP wants them: (x - mean) / deviation. x [1, height, width, 3] in [0, 1], fp32.
[[nodiscard]] at::Tensor clip_normalised(const at::Tensor& x, const std::vector<double>& mean, const std::vector<double>& deviation);

}  // namespace weft::model

#pragma once
#include "model/layers/layers.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/unit.hpp"

namespace weft::model::mimicmotion {

/// The spatio-temporal UNet as units, in the order in which they run, for every size that the config can say (models/mimicmotion.md section 2).
/// Without weights until `bind`. Input: hidden [frames, h, w, in_channels]; output: hidden [frames, h, w, out_channels], the v-prediction.
[[nodiscard]] Units make_unet(const UNetConfig& config);

/// Time and size embedding, which all units share.
class UNetEmbedding {
  public:
    explicit UNetEmbedding(const UNetConfig& config) : config_{config} {}
    void bind(const Weights& source);

    /// SiLU(time_embedding(t) + add_embedding(ids)), [1, embedding]. ids: fps - 1, motion bucket, noise augmentation.
    [[nodiscard]] at::Tensor operator()(double timestep, const std::array<double, 3>& ids) const;

  private:
    UNetConfig config_;
    Embedding time_, added_;
};

}  // namespace weft::model::mimicmotion

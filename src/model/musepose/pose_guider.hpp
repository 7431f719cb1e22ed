#pragma once
#include "model/layers/layers.hpp"
#include "model/musepose/config.hpp"

#include <vector>

namespace weft::model::musepose {

/// Drawn pose maps to what is added behind conv_in (models/musepose.md section 4).
class PoseGuider {
  public:
    PoseGuider(const PoseGuiderConfig& config, std::int64_t out) : config_{config}, out_{out} {}
    void bind(const Weights& source);

    /// maps [frames, height, width, 3] in [0, 1] -> [frames, height / 8, width / 8, out]. `steps`: takes each layer's result before SiLU, for tests.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps = nullptr) const;

  private:
    PoseGuiderConfig config_;
    std::int64_t out_;
    std::vector<Conv2d> convs_;
};

}  // namespace weft::model::musepose

#pragma once
#include "model/layers/layers.hpp"

namespace weft::model::mimicmotion {

/// Pose maps to features that are added behind the UNet's first convolution (models/mimicmotion.md section 3). Each frame by itself.
class PoseNet {
  public:
    /// `out`: the UNet's first width.
    explicit PoseNet(std::int64_t out) : out_{out} {}
    void bind(const Weights& source);

    /// maps [frames, height, width, 3] in [-1, 1] -> [frames, height / 8, width / 8, out]
    [[nodiscard]] at::Tensor operator()(const at::Tensor& maps) const;

    /// The same with the results after each SiLU, for tests.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps) const;

  private:
    std::int64_t out_;
    std::vector<Conv2d> convs_;
    Conv2d final_;  ///< with `scale` multiplied in
};

}  // namespace weft::model::mimicmotion

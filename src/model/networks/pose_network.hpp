#pragma once
#include "model/layers/layers.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace weft::model {

/// A convolution of a pose network, by its published name.
struct PoseLayer {
    std::string name;
    std::int64_t in = 0, out = 0;
    std::int64_t kernel = 3, stride = 1, padding = 1;
};

/// Drawn pose maps to what is added behind the UNet's first convolution: convolutions with SiLU between them, each frame by itself.
class PoseNetwork {
  public:
    enum class Scaled { no, yes };  ///< is the result multiplied by the published number `scale`?
    explicit PoseNetwork(std::vector<PoseLayer> layers, Scaled scaled = Scaled::no) : layers_{std::move(layers)}, scaled_{scaled} {}
    void bind(const Weights& source);

    /// Multiply-adds for each frame of maps of this size.
    [[nodiscard]] std::int64_t work(std::int64_t height, std::int64_t width) const;

    /// maps [frames, height, width, 3] -> [frames, height / 8, width / 8, channels]. `steps`: takes each layer's result, in front of SiLU, for tests.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps = nullptr) const;

  private:
    std::vector<PoseLayer> layers_;
    Scaled scaled_;
    std::vector<Conv2d> convs_;
};

}  // namespace weft::model

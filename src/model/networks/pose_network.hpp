#pragma once
#include "model/layers/layers.hpp"
#include "plan/slices.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
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

    /// maps [frames, height, width, 3] -> [frames, height / 8, width / 8, channels]. `steps`: takes each layer's result, in front of SiLU, for tests.
    [[nodiscard]] at::Tensor operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps = nullptr) const;

  private:
    std::vector<PoseLayer> layers_;
    Scaled scaled_;
    std::vector<Conv2d> convs_;
};

/// What a pose network makes of a clip's maps: made some frames at a time, and kept over steps as long as all of it stays small.
class PoseFeatures {
  public:
    /// Features of some frames of the clip, [frames, h, w, channels].
    using Make = std::function<at::Tensor(const std::vector<std::int64_t>& frames)>;

    /// Of the frames in some slots of a slice, whose frames `frames` names in slot order.
    [[nodiscard]] at::Tensor of(std::int64_t slice, const std::vector<std::int64_t>& frames, plan::FrameRange slots, const Make& make);
    void clear();

  private:
    std::map<std::pair<std::int64_t, std::int64_t>, at::Tensor> kept_;  ///< by slice and first slot
    std::int64_t kept_bytes_ = 0;
};

}  // namespace weft::model

#pragma once
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <vector>

namespace weft::model {

/// What a pose network makes of a slice's maps: made a few frames at a time, and kept over steps as long as all of it stays small.
class PoseFeatures {
  public:
    /// Features of a few frames of the clip, [frames, h, w, channels].
    using Make = std::function<at::Tensor(const std::vector<std::int64_t>& frames)>;

    /// Of all frames of a slice, in slot order.
    [[nodiscard]] at::Tensor of(std::int64_t slice, const std::vector<std::int64_t>& frames, const Make& make);
    void clear();

  private:
    std::map<std::int64_t, at::Tensor> kept_;  ///< by slice
    std::int64_t kept_bytes_ = 0;
};

}  // namespace weft::model

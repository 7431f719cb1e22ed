#pragma once
#include "model/mimicmotion/config.hpp"

namespace weft::model::mimicmotion {

/// The spatio-temporal UNet as units, in the order in which they run, for every size that the config can say (models/mimicmotion.md section 2).
/// Without weights until `bind`. Input: hidden [frames, h, w, in_channels]; output: hidden [frames, h, w, out_channels], the v-prediction.
[[nodiscard]] Units make_unet(const UNetConfig& config);

}  // namespace weft::model::mimicmotion

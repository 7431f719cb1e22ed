#pragma once
#include "model/musepose/config.hpp"

namespace weft::model::musepose {

/// The denoising UNet as units, in the order in which they run (models/musepose.md sections 2.2 and 3). Without weights until `bind`.
/// Input: hidden [frames, h, w, in_channels]; output: hidden [frames, h, w, out_channels], the v-prediction.
[[nodiscard]] Units make_denoiser(const UNetConfig& config);

/// The reference UNet, which sees one frame and whose result counts for nothing: what is used is what its self-attentions see (PassState::record_bank).
/// It ends with up_blocks.3: there is no conv_out.
[[nodiscard]] Units make_reference(const UNetConfig& config);

/// How many of the reference's units are needed for the bank: those up to its last self-attention.
[[nodiscard]] std::size_t units_for_bank(const Units& reference);

/// Added to the inputs of attention over frames, [frames, channels] fp32: row p is frame p of the window, sin and cos by turns (section 3.3).
[[nodiscard]] at::Tensor frame_positions(std::int64_t frames, std::int64_t channels);

}  // namespace weft::model::musepose

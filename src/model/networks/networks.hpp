#pragma once
#include "model/networks/clip.hpp"
#include "model/networks/pose_network.hpp"
#include "model/networks/unet.hpp"
#include "model/networks/vae.hpp"
#include "model/pass_layout.hpp"

#include <cstdint>
#include <functional>
#include <vector>

namespace weft::model {

/// What has weights of its own.
enum class Part { denoiser, pose_network, vae, image_encoder, reference };

/// All networks of a model, unbound, as its config files have them.
struct Networks {
    std::function<Units()> denoiser;
    UNetEmbedding embedding;
    PoseNetwork pose;
    VaeConfig vae;
    VaeDecoder::Kind decoder = VaeDecoder::Kind::frames;
    ClipConfig clip;
    std::function<Units()> reference;  ///< with an embedding like the denoiser's; none where a family has none

    /// Every key of a part with its shape, by published name, in loading order.
    [[nodiscard]] std::vector<KeySpec> keys(Part part) const;

    /// A pass over a slice: what Family::layout() gives. The pose network counts to the first unit, the embedding to every rank.
    [[nodiscard]] PassLayout lay_out_pass(const PassSize& size, const Chunks& chunks, double flops_per_second) const;
};

}  // namespace weft::model

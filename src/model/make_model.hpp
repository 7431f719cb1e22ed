#pragma once
#include "base/settings.hpp"

#include <cstdint>
#include <filesystem>

namespace weft::model {

/// Writes a small MimicMotion model with seeded random weights (fp16) in the published layout: MimicMotion_1-1.pth and
/// stable-video-diffusion-img2vid-xt-1-1/ with VAE, image encoder and config files. Makes `folder`. Its videos are noise that moves.
void make_tiny_model(const std::filesystem::path& folder, std::uint64_t seed = 0);

/// The same of MusePose: configs/inference_v2.yaml and pretrained_weights/ with its four .pth files, image encoder and VAE.
void make_tiny_musepose(const std::filesystem::path& folder, std::uint64_t seed = 0);

/// The published architecture of either family filled with noise: 4 to 5 GB, which are held at once, to measure with where the weights are not.
void make_published_model(const std::filesystem::path& folder, FamilyName family, std::uint64_t seed = 0);

}  // namespace weft::model

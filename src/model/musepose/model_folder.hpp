#pragma once
#include "model/musepose/config.hpp"
#include "model/weight_files.hpp"
#include "model/weights.hpp"

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weft::model::musepose {

/// What has weights of its own.
enum class Part { denoiser, reference, pose_guider, vae, image_encoder };
inline constexpr std::array<Part, 5> all_parts{Part::denoiser, Part::reference, Part::pose_guider, Part::vae, Part::image_encoder};
[[nodiscard]] std::string_view part_name(Part part);

/// Every key of a part with its shape, by published name (the VAE's attention by the newer names).
[[nodiscard]] std::vector<KeySpec> keys_of(Part part, const Config& config);

/// Files of a model as published, opened and checked, or noise in place of them.
class ModelFolder {
  public:
    /// Wrong files and keys go to `mistakes`, all of them; values of the base UNet that denoising_unet.pth lacks to the log.
    /// Without `weights` from the config files alone.
    [[nodiscard]] static ModelFolder open(const std::filesystem::path& folder, Mistakes& mistakes, bool weights = true);
    [[nodiscard]] static ModelFolder random(const Config& config, std::uint64_t seed = 0);

    [[nodiscard]] const Config& config() const { return config_; }
    [[nodiscard]] std::unique_ptr<WeightSource> source(Part part, c10::Device device, c10::ScalarType dtype) const;

    /// File name -> hash of content.
    [[nodiscard]] std::map<std::string, std::string> digests() const;

  private:
    using File = std::shared_ptr<const io::WeightFile>;
    [[nodiscard]] std::vector<File> files_of(Part part) const;

    Config config_;
    Files files_;
    bool random_ = false;
    std::uint64_t seed_ = 0;
    File base_, denoising_, motion_, reference_, pose_guider_, vae_, encoder_;
};

}  // namespace weft::model::musepose

#pragma once
#include "model/mimicmotion/config.hpp"
#include "model/weight_files.hpp"

#include <array>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace weft::model::mimicmotion {

/// The four networks, each with its keys in one file.
enum class Part { unet, pose_net, vae, image_encoder };
inline constexpr std::array all_parts{Part::unet, Part::pose_net, Part::vae, Part::image_encoder};
[[nodiscard]] std::string_view part_name(Part part);
/// How the part's keys begin in its file: "unet.", "pose_net.", "", "".
[[nodiscard]] std::string_view part_prefix(Part part);

/// Every key that a part has with this config, in loading order, without the prefix.
[[nodiscard]] std::vector<KeySpec> keys_of(Part part, const Config& config);

/// A model folder as published, opened and checked, or the published architecture filled with noise ("random").
class ModelFolder {
  public:
    /// Everything wrong with folder, configs, files and keys goes to `mistakes`; then the folder must not be used.
    [[nodiscard]] static ModelFolder open(const std::filesystem::path& folder, Mistakes& mistakes, bool weights = true);

    /// The architecture of `config` with seeded noise for weights.
    [[nodiscard]] static ModelFolder random(const Config& config, std::uint64_t seed = 0);

    [[nodiscard]] const Config& config() const noexcept { return config_; }
    [[nodiscard]] std::unique_ptr<WeightSource> source(Part part, c10::Device device, c10::ScalarType dtype) const;

    /// File name -> hash of content, configs included. Reads every page of every file.
    [[nodiscard]] std::map<std::string, std::string> digests() const;

  private:
    Config config_;
    Files files_;
    std::shared_ptr<const io::WeightFile> pth_, vae_, encoder_;
    std::uint64_t seed_ = 0;
};

}  // namespace weft::model::mimicmotion

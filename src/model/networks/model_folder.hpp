#pragma once
#include "base/error.hpp"
#include "model/networks/networks.hpp"
#include "model/weight_files.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft::model {

/// A weight file that tensors of a part lie in.
struct PartFile {
    std::string name;                  ///< in Files
    std::string holds;                 ///< it has the keys with this in their names; "": those that no other file of the part has
    std::string fallback;              ///< name in Files of what may have tensors that this one lacks
    std::vector<std::string> ignored;  ///< beginnings or endings of keys that may be in it and are not looked at
};

/// Where the tensors of a part lie in the published layout.
struct PartFiles {
    Part part = Part::denoiser;
    std::string name;    ///< for people: "denoising_unet"
    std::string prefix;  ///< of its keys in its files
    std::vector<PartFile> files;
};
/// Those of the image encoder; the file may be that of a whole CLIP.
[[nodiscard]] PartFiles image_encoder_in(const std::string& file);

/// Else `model.path` is a mistake.
[[nodiscard]] bool is_folder(const std::filesystem::path& path, Mistakes& mistakes);

/// What the config files of a model must agree on; to be called when all are read.
void check_fit(const UNetConfig& unet, const VaeConfig& vae, const ClipConfig& clip, const ConfigFiles& files);

/// The files of a model as published, opened and checked, or the published architecture filled with noise ("random").
class ModelFolder {
  public:
    [[nodiscard]] const Networks& networks() const { return networks_; }
    [[nodiscard]] const std::vector<PartFiles>& parts() const { return parts_; }
    [[nodiscard]] const Files& files() const { return files_; }

    /// Tensors of a part by their published names (the VAE's attention by the newer ones), of a type on a device.
    [[nodiscard]] std::unique_ptr<WeightSource> source(Part part, c10::Device device, c10::ScalarType dtype) const;

    /// File name -> hash of content, configs included. Reads every page of every file.
    [[nodiscard]] std::map<std::string, std::string> digests() const;

    /// One weight file as it should be: the keys of each part that lie in it, by published name.
    struct Expected {
        const PartFiles* part;
        const PartFile* file;
        std::vector<KeySpec> keys;
    };
    [[nodiscard]] std::vector<Expected> expected_in(const std::string& file) const;

  protected:
    ModelFolder(Networks networks, std::vector<PartFiles> parts, std::uint64_t seed) : networks_{std::move(networks)}, parts_{std::move(parts)}, seed_{seed} {}
    ModelFolder(Networks networks, std::vector<PartFiles> parts, Files files)
        : networks_{std::move(networks)}, parts_{std::move(parts)}, files_{std::move(files)} {}

    /// Opens the weight files and compares them with what the networks ask for; missing, misshapen and surplus keys go to `mistakes`, all of them. Tensors
    /// that a fallback gives are told to the log.
    void open_weights(Mistakes& mistakes);

  private:
    using File = std::shared_ptr<const io::WeightFile>;
    [[nodiscard]] const PartFiles& files_of(Part part) const;
    void check_file(const std::string& name, const io::WeightFile& file, Mistakes& mistakes);
    /// Takes out of `keys` what `file` lacks and its fallback has.
    void take_from_fallback(const Expected& expected, std::vector<KeySpec>& keys, const io::WeightFile& file, Mistakes& mistakes);

    Networks networks_;
    std::vector<PartFiles> parts_;
    Files files_;
    std::map<std::string, File> opened_;  ///< weight files by name in Files
    std::uint64_t seed_ = 0;
};

/// The model folder of a family. Config, a plain value, is also what the family says of its files: `find`, `published`, `parts`, `read_or_write`, `networks`.
template <class Config>
class FolderOf final : public ModelFolder {
  public:
    /// Everything wrong with folder, configs, files and keys goes to `mistakes`; then the folder must not be used. Without `weights` from the config files
    /// alone, whether weight files are there or not.
    [[nodiscard]] static FolderOf open(const std::filesystem::path& folder, Mistakes& mistakes, bool weights = true) {
        Mistakes own;
        const auto files = is_folder(folder, own) ? Config::find(folder, weights, own) : Files{};
        Config config;
        if (!files.empty()) config.read_or_write(ConfigFiles(files, own));
        FolderOf made(config, files);
        if (weights && own.empty()) made.open_weights(own);
        for (const auto& text : own.texts()) mistakes.add(text);
        return made;
    }

    /// The architecture of `config` with seeded noise for weights.
    [[nodiscard]] static FolderOf random(const Config& config, std::uint64_t seed = 0) { return FolderOf(config, seed); }

    [[nodiscard]] const Config& config() const { return config_; }

  private:
    template <class Origin>
    FolderOf(const Config& config, Origin origin) : ModelFolder{config.networks(), Config::parts(), std::move(origin)}, config_{config} {}

    Config config_;
};

}  // namespace weft::model

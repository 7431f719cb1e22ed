#pragma once
#include "base/error.hpp"
#include "io/weight_file.hpp"
#include "model/weights.hpp"

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace weft::model {

/// Tensors of weight files below a prefix ("unet."), each from the first file that has it. Converted to the wanted type on the way to the device; where type,
/// device, layout and alignment agree, the file's mapped pages are the tensor.
class FileSource final : public WeightSource {
  public:
    /// `name_in_file`: gives a key's name in the file, where that is another one.
    using Rename = std::string (*)(const std::string& key);
    FileSource(std::vector<std::shared_ptr<const io::WeightFile>> files, std::string prefix, c10::Device device, c10::ScalarType dtype,
               Rename name_in_file = nullptr)
        : files_{std::move(files)}, prefix_{std::move(prefix)}, device_{device}, dtype_{dtype}, name_in_file_{name_in_file} {}
    FileSource(std::shared_ptr<const io::WeightFile> file, std::string prefix, c10::Device device, c10::ScalarType dtype)
        : FileSource(std::vector{std::move(file)}, std::move(prefix), device, dtype) {}

    at::Tensor load(const std::string& key, at::IntArrayRef shape, c10::MemoryFormat format) override;
    void expect(const std::string& key, at::IntArrayRef shape) override;

  private:
    using File = std::shared_ptr<const io::WeightFile>;
    [[nodiscard]] std::pair<const io::StoredTensor*, File> find(const std::string& key, at::IntArrayRef shape) const;

    std::vector<File> files_;
    std::string prefix_;
    c10::Device device_;
    c10::ScalarType dtype_;
    Rename name_in_file_;
};

/// Compares keys, by their names in the file, with what it holds: missing and misshapen ones, each by name, go to `mistakes`.
void check_wanted(std::span<const KeySpec> wanted, const io::WeightFile& file, Mistakes& mistakes);

/// The same, and surplus keys; those that begin or end with one of `ignored` are none.
void check_keys(std::span<const KeySpec> wanted, const io::WeightFile& file, std::span<const std::string> ignored, Mistakes& mistakes);

/// A stored tensor as a CPU tensor of its own type: mapped where it lies on a 64-byte border and is contiguous, else a copy. `keep` stays alive with it.
[[nodiscard]] at::Tensor as_tensor(const io::StoredTensor& stored, std::shared_ptr<const io::WeightFile> keep);

}  // namespace weft::model

#pragma once
#include "base/error.hpp"
#include "io/weight_file.hpp"
#include "model/weights.hpp"

#include <memory>
#include <span>
#include <string>

namespace weft::model {

/// Tensors of one weight file below a prefix ("unet."). Converted to the wanted type on the way to the device; where type, device and
/// alignment agree, the file's mapped pages are the tensor.
class FileSource final : public WeightSource {
  public:
    FileSource(std::shared_ptr<const io::WeightFile> file, std::string prefix, c10::Device device, c10::ScalarType dtype)
        : file_{std::move(file)}, prefix_{std::move(prefix)}, device_{device}, dtype_{dtype} {}

    at::Tensor load(const std::string& key, at::IntArrayRef shape) override;
    void expect(const std::string& key, at::IntArrayRef shape) override;

  private:
    [[nodiscard]] const io::StoredTensor& find(const std::string& key, at::IntArrayRef shape) const;

    std::shared_ptr<const io::WeightFile> file_;
    std::string prefix_;
    c10::Device device_;
    c10::ScalarType dtype_;
};

/// Compares what a network asks for with what a file holds below `prefix`: missing, misshapen and surplus keys, each by name, go to `mistakes`.
/// Keys that end in one of `ignored` are no surplus.
void check_keys(std::span<const KeySpec> wanted, const io::WeightFile& file, const std::string& prefix, std::span<const std::string> ignored,
                Mistakes& mistakes);

/// A stored tensor as a CPU tensor of its own type: mapped where it lies on a 64-byte border and is contiguous, else a copy. `keep` stays alive with it.
[[nodiscard]] at::Tensor as_tensor(const io::StoredTensor& stored, std::shared_ptr<const io::WeightFile> keep);

}  // namespace weft::model

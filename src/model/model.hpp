#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"
#include "model/family.hpp"
#include "plan/plan.hpp"

#include <map>
#include <memory>
#include <string>

namespace weft::model {

/// The files of a model of some family, opened and checked; no weights are loaded yet. Where only its configs were asked for, shapes are known.
class Model {
  public:
    virtual ~Model() = default;

    [[nodiscard]] virtual std::int64_t latent_channels() const = 0;

    /// File name -> hash of content. Reads every page of the files.
    [[nodiscard]] virtual std::map<std::string, std::string> digests() const = 0;

    /// A pass over a slice of `num_slots` frames in such chunks, as Family::layout() has it, on a device that need not be here.
    [[nodiscard]] virtual PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, const Chunks& chunks, c10::ScalarType dtype,
                                                 double flops_per_second) const = 0;
    /// The same with costs as at `assumed_flops_per_second`.
    [[nodiscard]] PassLayout pass_layout(const Settings& settings, std::int64_t num_slots, const ComputeDevice& device) const;

    /// All that a plan weighs of a job of `num_frames` frames on a kind of device that need not be here: costs as in pass_layout, and memory, from a rehearsal
    /// of all phases. Types as the settings have them, "auto" as on that device. Takes some tens of milliseconds.
    [[nodiscard]] plan::ModelShape shape(const Settings& settings, std::int64_t num_frames, std::int64_t num_slots, c10::DeviceType kind,
                                         const plan::MemoryChoice& choice = {}, double flops_per_second = 0) const;

    /// The family set up for one clip. `maps` gives the clip's pose maps.
    [[nodiscard]] virtual std::unique_ptr<Family> for_clip(const Settings& settings, const plan::Plan& plan, const ComputeDevice& device,
                                                           PoseMaps maps) const = 0;
};

/// FLOP/s at which plans weigh a pass before anything is measured. Assumptions: a GPU 400e12 in fp16 and bf16, 50e12 in fp32 (TF32 is off); a CPU with one
/// thread 50e9 in any type. Only the balance between units matters to a plan, so a rate that is wrong everywhere alike changes predicted seconds alone.
[[nodiscard]] double assumed_flops_per_second(c10::DeviceType kind, c10::ScalarType dtype);

}  // namespace weft::model

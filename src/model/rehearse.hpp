#pragma once
#include "device/device.hpp"
#include "model/family.hpp"
#include "plan/memory_choice.hpp"
#include "plan/plan.hpp"

namespace weft::model {

/// What a family says of its memory when it is set up on tensors without data (device/rehearsal.hpp).
struct RehearsalSize {
    std::int64_t num_slots = 0;  ///< frames of a slice
    std::int64_t latent_channels = 4;
    std::int64_t height = 0, width = 0;  ///< of the latents
    std::int64_t decode_chunk = 1;
    std::int64_t last_chunk = 0;  ///< frames of the last chunk where it is shorter; 0: it is not
    bool side_by_side = false;    ///< is asked what further passes take that run beside the first
    plan::MemoryChoice choice;    ///< of how passes run; weights are told unit by unit whether they stay or not
};

/// Goes through the phases of a job with one slice and writes into `shape` what the networks hold: encode, decode, and of the pass its pieces, units, and what
/// stands before the first. `make` sets the family up.
void rehearse(const std::function<std::unique_ptr<Family>(const ComputeDevice& device, PoseMaps maps)>& make, c10::DeviceType kind, const RehearsalSize& size,
              plan::ModelShape& shape);

}  // namespace weft::model

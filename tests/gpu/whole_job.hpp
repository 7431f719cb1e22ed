#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"
#include "model/model.hpp"
#include "plan/plan.hpp"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

/// A job of one slice from picture to frames in one process, without files: what checks on a bare GPU machine measure.
namespace weft::pipeline {

struct ClipInputs {
    at::Tensor reference;  ///< [height, width, 3] uint8
    at::Tensor maps;       ///< [frames, height, width, 3] uint8
};

/// Of one phase: bytes as the plan foresees them, beside what was measured.
struct PhaseBytes {
    std::string name;
    std::int64_t planned_tensors = 0, planned_total = 0;
    std::int64_t tensors = 0;   ///< given out at once, at most
    std::int64_t reserved = 0;  ///< GPU: with what the allocator holds and does not use
    std::int64_t device = 0;    ///< GPU: all that is in use there
    double seconds = 0;
};

struct WholeJob {
    std::vector<PhaseBytes> phases;  ///< encode, denoise, decode
    std::vector<double> step_seconds;
    double slow_down = 1;  ///< as modelled
    std::optional<model::StreamTimes> stream;
    at::Tensor latents;  ///< [frames, channels, h, w] fp32
    at::Tensor frames;   ///< [frames, height, width, 3] fp32 in [0, 1], on the host
};

struct RunOptions {
    plan::MemoryChoice choice;
    std::optional<plan::MemoryChoice> limit;  ///< no more bytes are given out than the plan foresees for this choice
    std::size_t chunks = 2;                   ///< so many are decoded
    bool side_by_side = false;                ///< both branches together (numerics = "free")
};

/// A model on a device, for one job after the other.
class JobBench {
  public:
    JobBench(const Settings& settings, const ComputeDevice& device);

    [[nodiscard]] WholeJob run(const Settings& settings, const ClipInputs& inputs, const RunOptions& options) const;

  private:
    ComputeDevice device_;
    std::unique_ptr<model::Model> model_;
};

}  // namespace weft::pipeline

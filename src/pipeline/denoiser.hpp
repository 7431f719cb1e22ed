#pragma once
#include "plan/plan.hpp"

#include <cstdint>
#include <vector>

namespace weft::pipeline {

/// What the interpreter drives: the real one wraps a model's units, a stand-in may sleep. No Torch here, so that programs are tested without it.
class Denoiser {
  public:
    virtual ~Denoiser() = default;

    virtual void compute(const plan::Task& task) = 0;
    virtual void advance(const plan::Advance& advance) = 0;

    /// Latents of all frames, [frames, channels, h, w] fp32, copied to the host; waits for what is queued.
    [[nodiscard]] virtual std::vector<float> latents() const = 0;
};

}  // namespace weft::pipeline

#pragma once
#include "comm/transfer.hpp"
#include "plan/plan.hpp"

#include <cstdint>

namespace weft::pipeline {

/// What the interpreter drives: the real one wraps a model's units, a stand-in may sleep. No Torch here, so that programs are tested without it.
class Denoiser {
  public:
    virtual ~Denoiser() = default;

    virtual void compute(const plan::Task& task) = 0;
    virtual void advance(const plan::Advance& advance) = 0;

    /// The bytes of a message that this rank sends; they do not change afterwards.
    [[nodiscard]] virtual comm::Buffer pack(const plan::Message& message) = 0;
    /// Room for the bytes of a message that this rank will receive.
    [[nodiscard]] virtual comm::Buffer room(const plan::Message& message) = 0;
    /// A message has arrived: its content goes where it belongs. The buffer may still be read by others.
    virtual void take(const plan::Message& message, const comm::Buffer& buffer) = 0;

    /// Latents of some frames that this rank keeps, [frames, channels, h, w] fp32, on the host or on their way to it (Buffer::ready).
    [[nodiscard]] virtual comm::Buffer latents(const plan::FrameRanges& frames) const = 0;
};

}  // namespace weft::pipeline

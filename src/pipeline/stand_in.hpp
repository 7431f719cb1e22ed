#pragma once
#include "comm/link.hpp"
#include "model/family.hpp"
#include "plan/plan.hpp"

#include <memory>

/// A model that takes its time without computing, and links that carry a part of the bytes in the time of all: for benchmarks of everything else.
namespace weft::pipeline {

struct StandInScale {
    double time = 1;           ///< seconds slept for each second that the plan says
    std::int64_t payload = 1;  ///< hidden states and skips travel with one in so many of their bytes
};

/// Units that sleep in the compute thread for the costs of the plan's pieces, and do nothing else. Latents and predictions, [frames, channels, h, w] fp32 and
/// fp16, are as large as the plan says; what waits between legs is `scale.payload` times smaller, and so, on each side by the root of that, are frames.
[[nodiscard]] std::unique_ptr<model::Family> make_stand_in(const plan::Plan& plan, StandInScale scale);

/// Seconds of the plan that the stand-in decodes a frame for: what a fast GPU takes for MimicMotion's at 576x1024, roughly.
inline constexpr double decode_frame_s = 0.1;

/// The plan's programs for such a family: hidden states and skips are as small as it makes them.
[[nodiscard]] std::vector<plan::Program> shrunk(std::vector<plan::Program> programs, const plan::Plan& plan, const model::PassLayout& small);

/// `inner`, over which hidden states and skips arrive when their whole bytes would, at the plan's rates and `scale.time`.
[[nodiscard]] std::unique_ptr<comm::Link> make_late_link(std::unique_ptr<comm::Link> inner, const plan::Links& links, StandInScale scale);

}  // namespace weft::pipeline

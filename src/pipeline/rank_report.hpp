#pragma once
#include "base/events.hpp"
#include "comm/transport.hpp"
#include "plan/plan.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace weft::pipeline {

/// What a rank tells about itself when the job is done.
struct RankReport {
    std::int64_t peak_bytes = 0;           ///< of tensors
    std::int64_t peak_resident_bytes = 0;  ///< of the process
    std::int64_t prediction_bytes = 0;     ///< sent, by what they carry
    std::int64_t latent_bytes = 0;
    std::int64_t saved_bytes = 0;
    std::int64_t resumed_bytes = 0;
    std::int64_t decode_bytes = 0;  ///< latents of chunks
    std::int64_t frame_bytes = 0;
    std::int64_t state_bytes = 0;  ///< hidden states
    std::int64_t skip_bytes = 0;
    std::int64_t denoise_weight_bytes = 0;  ///< held at the end of denoising, as the meter counts
    std::int64_t slot_bytes = 0;
    std::int64_t planned_weight_bytes = 0;  ///< the same as the plan counts
    std::int64_t planned_slot_bytes = 0;
    std::int64_t encode_peak_bytes = 0;  ///< of tensors, by phase; 0 where there was none
    std::int64_t denoise_peak_bytes = 0;
    std::int64_t decode_peak_bytes = 0;
    std::int64_t planned_encode_peak_bytes = 0;  ///< the same as the plan predicts
    std::int64_t planned_denoise_peak_bytes = 0;
    std::int64_t planned_decode_peak_bytes = 0;
    double denoise_seconds = 0;  ///< wall
    double denoise_cpu_seconds = 0;
    double decode_cpu_seconds = 0;
};

/// What a rank held at the end of denoising.
struct Held {
    std::int64_t weights = 0;
    std::int64_t slots = 0;
};

/// All ranks' reports at rank 0, by rank, each an event "rank" there; elsewhere none. All ranks call it.
std::vector<RankReport> gather_reports(const plan::Plan& plan, const Held& held, comm::Transport& transport, Events& events);

}  // namespace weft::pipeline

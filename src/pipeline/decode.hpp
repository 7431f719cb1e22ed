#pragma once
#include "base/events.hpp"
#include "io/video_writer.hpp"
#include "model/family.hpp"
#include "pipeline/progress.hpp"
#include "plan/plan.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace weft::pipeline {

/// Decodes the clip chunk by chunk and hands each frame to the writer: memory does not grow with the clip.
/// latents [frames, channels, h, w] fp32. Frames are scaled to width x height where these differ from the decoder's.
/// Returns the number of frames written. Ends with exit code 75 between chunks when a stop was requested.
std::int64_t decode_clip(model::Family& family, const plan::Plan& plan, const at::Tensor& latents, io::VideoWriter& writer, int width, int height,
                         Events& events, Progress& progress);

}  // namespace weft::pipeline

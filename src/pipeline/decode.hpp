#pragma once
#include "comm/transport.hpp"
#include "model/family.hpp"
#include "pipeline/film.hpp"
#include "pipeline/saver.hpp"
#include "plan/plan.hpp"

#include <c10/core/Device.h>

namespace weft::pipeline {

/// Decodes this rank's chunks, one after the other: memory does not grow with the clip. The writer has the latents, sends each rank its chunks', and gives
/// its own frames to `film`; other ranks send theirs to it, with at most two chunks unsent, and have neither `latents` nor `film`.
/// Frames are scaled to the film's size where that differs from the decoder's.
void decode_chunks(model::Family& family, const plan::Plan& plan, const FilmShape& shape, const HostLatents& latents, Film* film, comm::Transport& transport,
                   c10::Device device);

}  // namespace weft::pipeline

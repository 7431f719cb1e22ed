#pragma once
#include "comm/link.hpp"
#include "plan/program.hpp"

#include <cstdint>

namespace weft::pipeline {

/// What a transfer of the job carries, as tags say it and the transport counts it. The transport's own texts have kind 15.
enum class Kind : int {
    prediction = static_cast<int>(plan::Cargo::prediction),
    latents = static_cast<int>(plan::Cargo::latents),
    saved = static_cast<int>(plan::Cargo::saved),
    resumed = 3,         ///< latents of the run file, from the writer to the ranks whose passes read them, where a job goes on
    decode_latents = 4,  ///< a chunk's latents, from the writer to the rank that decodes it
    frames = 5,          ///< its frames, [frames, height, width, 3] uint8, back
    state = static_cast<int>(plan::Cargo::state),
    skip = static_cast<int>(plan::Cargo::skip),
    slot = static_cast<int>(plan::Cargo::slot),
};

[[nodiscard]] constexpr comm::Tag tag(Kind kind, std::int64_t item) {
    return {.kind = static_cast<int>(kind), .item = item};
}

}  // namespace weft::pipeline

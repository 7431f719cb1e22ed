#include "model/chunks.hpp"

namespace weft::model {

Chunks chunks_for(c10::DeviceType kind) {
    // GPUs: eight frames of 576x1024 at the outermost level, and as many bytes at the others. CPUs: what stays near the caches, in buffers that the heap
    // reuses.
    if (kind == c10::kCUDA) return {.frame_rows = 73728, .pixel_rows = 73728, .elements = 73728 * 320, .strip_rows = 73728};
    return {.frame_rows = 2048, .pixel_rows = 2048, .strip_rows = 8192};
}

Chunks divided(Chunks chunks, std::int64_t divisor) {
    for (auto* const rows : {&chunks.frame_rows, &chunks.pixel_rows, &chunks.elements, &chunks.strip_rows}) *rows = std::max<std::int64_t>(1, *rows / divisor);
    return chunks;
}

}  // namespace weft::model

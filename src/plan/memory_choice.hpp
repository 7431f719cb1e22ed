#pragma once
#include <cstdint>

namespace weft::plan {

/// What a rank does to need less memory; all but the last without changing a bit.
struct MemoryChoice {
    static constexpr std::int64_t least_window = 1;  ///< each rank takes what it needs at least

    bool keep_pose_features = false;  ///< from step to step; else they are made again for each pass
    bool remake_first_skip = false;   ///< the first convolution's result is made again at its only use, instead of waiting there
    std::int64_t stream_window = 0;   ///< weights lie in the page cache and come unit by unit, so many bytes of them at a time (WeightWindow); 0: all stay
    bool remake_in_decoder = false;   ///< temporal resnets of the decoder make their first result again, instead of holding it for all pixels
    std::int64_t chunk_divisor = 1;   ///< numerics = "free": operations take so many times fewer rows at once
    [[nodiscard]] bool operator==(const MemoryChoice&) const = default;
};

}  // namespace weft::plan

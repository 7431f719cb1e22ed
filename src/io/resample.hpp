#pragma once
#include "io/picture.hpp"

namespace weft::io {

enum class Filter { bilinear, bicubic, lanczos };

/// Resizes as Pillow 13 does, byte for byte: separable and antialiased, with bytes in between and weights of 22 bits (models/musepose.md section 8.6). Along
/// rows first, but where the height shrinks by more than twice what the width does (older Pillows: always; bytes then differ by 2 at most in what was tried).
[[nodiscard]] Picture resample(const Picture& picture, int width, int height, Filter filter);

}  // namespace weft::io

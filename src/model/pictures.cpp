#include "model/pictures.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace weft::model {

at::Tensor cover_bilinear(const at::Tensor& picture, std::int64_t height, std::int64_t width) {
    const double ratio = static_cast<double>(picture.size(0)) / static_cast<double>(picture.size(1));
    std::int64_t h = height;
    std::int64_t w = width;
    if (ratio < static_cast<double>(height) / static_cast<double>(width))
        w = static_cast<std::int64_t>(std::ceil(static_cast<double>(height) / ratio));
    else
        h = static_cast<std::int64_t>(std::ceil(static_cast<double>(width) * ratio));
    auto x = picture;
    if (h != picture.size(0) || w != picture.size(1)) {
        std::vector<at::Tensor> channels;  // one after the other: photographs are large
        for (std::int64_t channel = 0; channel < 3; ++channel) {
            const auto image = picture.select(2, channel).to(c10::kFloat).view({1, 1, picture.size(0), picture.size(1)});
            channels.push_back(at::upsample_bilinear2d(image, {h, w}, /*align_corners=*/false).round_().clamp_(0, 255).to(c10::kByte)[0][0]);
        }
        x = at::stack(channels, -1);
    }
    // nearbyint rounds half to even, as Python's round does.
    const auto top = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(h - height) / 2.0));
    const auto left = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(w - width) / 2.0));
    return x.narrow(0, top, height).narrow(1, left, width).contiguous();
}

at::Tensor truncated_round_trip(const at::Tensor& picture) {
    const auto x = picture.to(c10::kFloat) / 127.5 - 1.0;
    return ((x + 1.0) * 127.5).to(c10::kByte);
}

at::Tensor scaled_bilinear(const at::Tensor& x, std::int64_t height, std::int64_t width) {
    if (x.size(1) == height && x.size(2) == width) return x;
    return at::upsample_bilinear2d(x.permute({0, 3, 1, 2}).contiguous(), {height, width}, /*align_corners=*/false).permute({0, 2, 3, 1});
}

at::Tensor to_bytes(const at::Tensor& frames) {
    return (frames * 255.0).to(c10::kByte);
}

}  // namespace weft::model

#include "model/mimicmotion/clip_pixels.hpp"

#include "model/networks/clip.hpp"

#include <algorithm>

namespace weft::model::mimicmotion {

namespace {
/// Normalised one-dimensional Gaussian, fp32.
at::Tensor gaussian(std::int64_t size, double sigma) {
    const auto x = at::arange(size, at::TensorOptions{}.dtype(c10::kFloat)) - static_cast<double>(size / 2);
    const auto g = at::exp(-x.square() / (2 * sigma * sigma));
    return g / g.sum();
}
}  // namespace

at::Tensor resize_with_antialiasing(const at::Tensor& x, std::int64_t size) {
    const auto sigma = [size](std::int64_t from) { return std::max((static_cast<double>(from) / static_cast<double>(size) - 1.0) / 2.0, 0.001); };
    const auto taps = [](double s) {
        const auto n = static_cast<std::int64_t>(std::max(4.0 * s, 3.0));
        return n % 2 == 0 ? n + 1 : n;
    };
    const double sigma_y = sigma(x.size(2));
    const double sigma_x = sigma(x.size(3));
    const auto along_x = gaussian(taps(sigma_x), sigma_x).view({1, 1, 1, -1}).expand({3, 1, 1, taps(sigma_x)});
    const auto along_y = gaussian(taps(sigma_y), sigma_y).view({1, 1, -1, 1}).expand({3, 1, taps(sigma_y), 1});
    const auto half_x = taps(sigma_x) / 2;
    const auto half_y = taps(sigma_y) / 2;
    const auto filter = [](const at::Tensor& padded, const at::Tensor& kernel) {
        return at::conv2d(padded, kernel, {}, at::IntArrayRef{1, 1}, at::IntArrayRef{0, 0}, at::IntArrayRef{1, 1}, /*groups=*/3);
    };
    auto y = filter(at::reflection_pad2d(x, {half_x, half_x, 0, 0}), along_x);
    y = filter(at::reflection_pad2d(y, {0, 0, half_y, half_y}), along_y);
    return at::upsample_bicubic2d(y, {size, size}, /*align_corners=*/true);
}

at::Tensor clip_pixels(const at::Tensor& image_u8, std::int64_t image, const PreprocessorConfig& config) {
    const auto x = image_u8.permute({2, 0, 1}).unsqueeze(0).to(c10::kFloat).contiguous() / 255.0;
    auto small = resize_with_antialiasing(x * 2.0 - 1.0, image).add_(1.0).div_(2.0);
    small = small.permute({0, 2, 3, 1}).contiguous();
    return clip_normalised(small, config.mean, config.deviation);
}

}  // namespace weft::model::mimicmotion

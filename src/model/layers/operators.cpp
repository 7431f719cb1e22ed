#include "model/layers/operators.hpp"

#include "device/rehearsal.hpp"

#include <ATen/Parallel.h>

#include <algorithm>

namespace weft::model {

namespace {

bool on_gpu(const at::Tensor& x) {
    return device_kind(x) == c10::kCUDA;
}

std::int64_t bytes_of(const at::Tensor& x) {
    return static_cast<std::int64_t>(x.nbytes());
}

/// What a convolution takes beside its result.
/// CPU: oneDNN turns the weights into blocks of 16 results, and takes 8 KiB for itself; Torch's own operator, which takes single small images, makes columns of
/// them.
/// GPU, assumed until it is measured: as much as its result.
void take_convolution_scratch(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& out) {
    if (on_gpu(x)) {
        Rehearsal::scratch(bytes_of(out));
        return;
    }
    const auto kernel = weight.size(2) * weight.size(3);
    const bool large_kernel = weight.size(2) > 3 && weight.size(3) > 3;
    const bool by_onednn = x.scalar_type() != c10::kFloat || large_kernel || x.size(0) > 1 || x.numel() > 20480;
    if (by_onednn)
        Rehearsal::scratch((weight.size(0) + 15) / 16 * 16 * (bytes_of(weight) / weight.size(0)) + 8256);
    else
        Rehearsal::scratch(out.numel() / out.size(-1) * kernel * x.size(-1) * static_cast<std::int64_t>(x.element_size()));
}

/// CPU: blocks of scores and a row of their logarithms; GPU: that row.
void take_attention_scratch(const at::Tensor& queries, const at::Tensor& keys) {
    const auto rows = queries.size(0) * queries.size(1) * queries.size(2) * 4;
    if (on_gpu(queries)) {
        Rehearsal::scratch(rows);
        return;
    }
    const auto tokens = queries.size(2);
    const auto queries_at_once = std::min<std::int64_t>(tokens, tokens >= 768 ? 256 : tokens >= 192 ? 64 : 32);
    const auto keys_at_once = std::min<std::int64_t>(keys.size(2), 512);
    const auto each = queries_at_once * (keys_at_once + 2 + queries.size(3)) * 4;
    const auto rounded = queries.scalar_type() == c10::kFloat ? 0 : queries_at_once * keys_at_once * 2;
    Rehearsal::scratch(rows + at::get_num_threads() * (each + rounded));
}

}  // namespace

/// CPU, bf16: oneDNN's block of results in fp32 and its copy of a strip of the weights. MKL's own buffers come from elsewhere and stay.
void rehearse_product(const at::Tensor& x, const at::Tensor& weight) {
    if (!x.is_meta() || on_gpu(x) || x.scalar_type() == c10::kFloat) return;
    const auto in = weight.size(1);
    Rehearsal::scratch(std::min<std::int64_t>(x.numel() / in, 256) * std::min<std::int64_t>(weight.size(0), 64) * 4 + 1024 +
                       128 * std::min<std::int64_t>(in, 1024));
}

at::Tensor convolution(const at::Tensor& x, const Conv2d& conv, const at::Tensor& bias) {
    if (!x.is_meta()) {
        const auto result = at::conv2d(x.permute({0, 3, 1, 2}), conv.weight, bias, {conv.stride, conv.stride}, {conv.padding_y, conv.padding_x});
        return result.permute({0, 2, 3, 1}).contiguous();
    }
    const auto length = [&](std::int64_t size, std::int64_t kernel, std::int64_t padding) { return (size + 2 * padding - kernel) / conv.stride + 1; };
    auto out = at::empty(
        {x.size(0), length(x.size(1), conv.weight.size(2), conv.padding_y), length(x.size(2), conv.weight.size(3), conv.padding_x), conv.weight.size(0)},
        x.options());
    take_convolution_scratch(x, conv.weight, out);
    return out;
}

at::Tensor attend(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) {
    if (!queries.is_meta()) return at::scaled_dot_product_attention(queries, keys, values);
    auto out = at::empty({queries.size(0), queries.size(2), queries.size(1), queries.size(3)}, queries.options()).transpose(1, 2);
    take_attention_scratch(queries, keys);
    return out;
}

at::Tensor group_norm_of_torch(const at::Tensor& x, const GroupNorm& norm) {
    const auto n = x.size(0);
    const auto channels = x.size(-1);
    const auto pixels = x.numel() / (n * channels);
    const auto normed = [&](const at::Tensor& image) {
        if (image.is_meta()) return at::empty_like(image);
        return std::get<0>(at::native_group_norm(image, norm.weight, norm.bias, n, channels, pixels, norm_groups, norm.eps));
    };
    auto image = x.view({n, pixels, 1, channels}).permute({0, 3, 1, 2});
    if (on_gpu(x)) image = image.contiguous();  // Torch's CUDA operator refuses channels-last memory
    image = normed(image);
    return image.permute({0, 2, 3, 1}).contiguous().view(x.sizes());
}

at::Tensor layer_norm_of_torch(const at::Tensor& x, const LayerNorm& norm) {
    if (!x.is_meta()) return at::layer_norm(x, {x.size(-1)}, norm.weight, norm.bias, norm.eps);
    auto out = at::empty_like(x, {}, at::MemoryFormat::Contiguous);
    Rehearsal::scratch(2 * 4 * x.numel() / x.size(-1) + (x.is_contiguous() ? 0 : bytes_of(x)));
    return out;
}

}  // namespace weft::model

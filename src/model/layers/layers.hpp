#pragma once
#include "model/weights.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string_view>

/// The layers that the networks share: small structs of weights and functions over them, written once.
///
/// Activations are channels-last everywhere: images [frames, height, width, channels], tokens [frames, pixels, channels] or [rows, channels],
/// contiguous. An image, its tokens and the rows of a matrix product are then one memory, convolutions meet the layout that oneDNN and cuDNN
/// like best, and a temporal convolution is a convolution over an image of height `frames` and width `pixels`: nothing is ever transposed.
namespace weft::model {

enum class Bias { with, without };

struct Linear {
    at::Tensor weight;  ///< [out, in]
    at::Tensor bias;    ///< [out], or undefined
};
[[nodiscard]] Linear take_linear(const Weights& weights, std::int64_t in, std::int64_t out, Bias bias = Bias::with);
/// Several maps of the same input as one product: rows of `names[0]`, then `names[1]`, ...
[[nodiscard]] Linear take_stacked(const Weights& weights, std::initializer_list<std::string_view> names, std::int64_t in, std::int64_t out_each, Bias bias);
/// x [..., in] -> [..., out]
[[nodiscard]] at::Tensor linear(const at::Tensor& x, const Linear& map);
/// into += scale * (x weight^T + bias), without a tensor in between. into, x: any leading dims, contiguous rows.
void add_linear(at::Tensor& into, const at::Tensor& x, const Linear& map, double scale = 1.0);

struct GroupNorm {
    at::Tensor weight, bias;  ///< [channels]
    double eps = 1e-5;
};
[[nodiscard]] GroupNorm take_group_norm(const Weights& weights, std::int64_t channels, double eps);
inline constexpr std::int64_t norm_groups = 32;  ///< hard-coded in the published classes
/// x [n, ..., channels]: statistics over all but the first dim and within each of the 32 groups.
[[nodiscard]] at::Tensor group_norm(const at::Tensor& x, const GroupNorm& norm);
/// SiLU(group_norm(x))
[[nodiscard]] at::Tensor group_norm_silu(const at::Tensor& x, const GroupNorm& norm);

struct LayerNorm {
    at::Tensor weight, bias;  ///< [channels]
    double eps = 1e-5;
};
[[nodiscard]] LayerNorm take_layer_norm(const Weights& weights, std::int64_t channels, double eps = 1e-5);
[[nodiscard]] at::Tensor layer_norm(const at::Tensor& x, const LayerNorm& norm);

struct Conv2d {
    at::Tensor weight;  ///< [out, in, height, width]
    at::Tensor bias;    ///< [out]
    std::int64_t stride = 1;
    std::int64_t padding_y = 1, padding_x = 1;
};
[[nodiscard]] Conv2d take_conv(const Weights& weights, std::int64_t in, std::int64_t out, std::int64_t kernel, std::int64_t stride = 1,
                               std::int64_t padding = 1);
enum class Pointwise { linear, convolution };  ///< how a map of each pixel is published: [out, in] or [out, in, 1, 1]
[[nodiscard]] Linear take_pointwise(const Weights& weights, std::int64_t in, std::int64_t out, Pointwise form);
/// Kernel 3 over frames, published as [out, in, 3, 1, 1].
[[nodiscard]] Conv2d take_temporal_conv(const Weights& weights, std::int64_t in, std::int64_t out);
/// x [frames, height, width, in] -> [frames, height', width', out]. `bias`: in place of the layer's own, where given.
[[nodiscard]] at::Tensor conv2d(const at::Tensor& x, const Conv2d& conv, const std::optional<at::Tensor>& bias = std::nullopt);
/// The same as one product a tap of the kernel; conv2d on GPUs in fp32.
[[nodiscard]] at::Tensor conv2d_by_products(const at::Tensor& x, const Conv2d& conv, const at::Tensor& bias);
/// x [frames, height, width, in]: each pixel over its frames, zeros beyond both ends.
[[nodiscard]] at::Tensor temporal_conv(const at::Tensor& x, const Conv2d& conv, const std::optional<at::Tensor>& bias = std::nullopt);
/// Nearest neighbour, twice as high and wide.
[[nodiscard]] at::Tensor upsample_twice(const at::Tensor& x);
/// Nearest neighbour to any size, as torch's interpolate takes them: row floor(y * h / height), in fp32.
[[nodiscard]] at::Tensor upsample_nearest(const at::Tensor& x, std::int64_t height, std::int64_t width);

/// Self-attention with one product for query, key and value.
struct SelfAttention {
    Linear qkv;  ///< [3 * channels, channels]
    Linear out;  ///< [channels, channels]
    std::int64_t heads = 1;
};
[[nodiscard]] SelfAttention take_self_attention(const Weights& weights, std::int64_t channels, std::int64_t heads, Bias qkv_bias = Bias::without);
/// x [n, tokens, channels]: every token attends to all tokens of its row. Result before `out`.
[[nodiscard]] at::Tensor attend_tokens(const at::Tensor& x, const SelfAttention& attention);
/// The same, and to others' tokens, the same for all rows, behind its own: `others` [tokens', 2 * channels] are their keys and values.
[[nodiscard]] at::Tensor attend_tokens_and(const at::Tensor& x, const at::Tensor& others, const SelfAttention& attention);
/// x [frames, pixels, channels]: every pixel attends to itself in all frames. Result before `out`, [frames, pixels, channels].
[[nodiscard]] at::Tensor attend_frames(const at::Tensor& x, const SelfAttention& attention);

/// GEGLU: out(value * gelu(gate)), value being the first half of `in`'s result, gate the second; gelu with the exact erf.
struct FeedForward {
    Linear in;   ///< [2 * inner, channels]
    Linear out;  ///< [channels, inner]
};
[[nodiscard]] FeedForward take_feed_forward(const Weights& weights, std::int64_t channels);
/// into += feed_forward(x), so many rows at a time.
void add_feed_forward(at::Tensor& into, const at::Tensor& x, const FeedForward& feed, std::int64_t most_rows = std::numeric_limits<std::int64_t>::max());

/// [cos(t f_0) .. cos(t f_k-1), sin(t f_0) .. sin(t f_k-1)], f_i = 10000^(-i / k), k = dim / 2. values [n] fp32 -> [n, dim] fp32.
[[nodiscard]] at::Tensor sinusoid(const at::Tensor& values, std::int64_t dim);

/// linear_2(SiLU(linear_1(x)))
struct Embedding {
    Linear first, second;
};
[[nodiscard]] Embedding take_embedding(const Weights& weights, std::int64_t in, std::int64_t inner, std::int64_t out);
[[nodiscard]] at::Tensor embed(const at::Tensor& x, const Embedding& embedding);

/// conv2(SiLU(norm2(conv1(SiLU(norm1 x)) + time))) + shortcut(x); spatial (3x3) or temporal (3 over frames).
struct Resnet {
    GroupNorm norm1, norm2;
    Conv2d conv1, conv2;
    std::optional<Linear> time;      ///< of SiLU(embedding), [out, embedding]
    std::optional<Linear> shortcut;  ///< where widths differ
};
/// `embedding`: width of the time embedding, 0 for networks without.
[[nodiscard]] Resnet take_resnet(const Weights& weights, std::int64_t in, std::int64_t out, std::int64_t embedding, double eps);
[[nodiscard]] Resnet take_temporal_resnet(const Weights& weights, std::int64_t channels, std::int64_t embedding, double eps);
/// x [frames, height, width, in] -> out [frames, height, width, out]; norms per frame. `silu_embedding` [1, embedding], or undefined.
[[nodiscard]] at::Tensor resnet(const at::Tensor& x, const Resnet& block, const at::Tensor& silu_embedding);
/// Lines [first, first + count) of a picture that need never stand whole: [1, count, width, channels].
using Lines = std::function<at::Tensor(std::int64_t first, std::int64_t count)>;
/// A convolution of kernel 3 and stride 1 on the picture of `height` lines that `make` gives, zeros around it, in strips of `lines`: `take(first, result)` gets
/// [1, lines, width, out] strip by strip.
void conv_by_strips(const Lines& make, std::int64_t height, const Conv2d& conv, std::int64_t lines,
                    const std::function<void(std::int64_t first, const at::Tensor& result)>& take);
/// conv(SiLU(norm x)) on one picture x [1, height, width, in], in the same way.
void normed_conv_by_strips(const at::Tensor& x, const GroupNorm& norm, const Conv2d& conv, std::int64_t lines,
                           const std::function<void(std::int64_t first, const at::Tensor& result)>& take);
/// A spatial resnet without time embedding on one picture x [1, height, width, in], in strips of `lines`: [1, height, width, out]. Nothing else stands whole.
[[nodiscard]] at::Tensor resnet_by_strips(const at::Tensor& x, const Resnet& block, std::int64_t lines);

/// What a temporal resnet does with its first convolution's result, which it needs twice.
enum class FirstResult { kept, made_again };
/// x [frames, height, width, channels] += scale * (temporal resnet's branch of x): with scale = 1 - a this is a * x + (1 - a) * (x + branch), the published
/// blend. Norms over all frames and pixels; everything else on `pixels` of them at a time, so that beside x one tensor of its size is needed and no more.
void add_temporal_resnet(at::Tensor& x, const Resnet& block, const at::Tensor& silu_embedding, double scale, std::int64_t pixels);
/// The same of frames that lie apart, [1, height, width, channels] each; where the first result is made again, beside them no tensor of their size is needed:
/// the same bits for one more convolution.
void add_temporal_resnet(std::span<at::Tensor> frames, const Resnet& block, double scale, std::int64_t pixels, FirstResult first_result);

}  // namespace weft::model

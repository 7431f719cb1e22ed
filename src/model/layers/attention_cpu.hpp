#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace weft::model {

/// Keys and values of a sequence, fp32: those of token i begin at keys + i * stride and values + i * stride.
struct KeysValues {
    const float* keys;
    const float* values;
    std::int64_t count;
    std::int64_t stride;
};

/// Widths of a head for which attention_cpu is there: small ones, where libtorch's spends its time on the way to products of 8 by 8.
[[nodiscard]] bool attention_cpu_knows(std::int64_t head_width);

/// softmax(q k^T / sqrt(width)) v of one head over all tokens of `seen`, one source after the other. Query i is read from q + i * q_stride and its result
/// written to out + i * out_stride, and depends on no other query. fp32, one thread.
class AttentionCpu {
  public:
    /// Takes the keys and values; `scratch` is kept by the caller from head to head.
    AttentionCpu(std::span<const KeysValues> seen, std::int64_t head_width, std::vector<float>& scratch);
    void operator()(const float* q, std::int64_t q_stride, std::int64_t num_queries, float* out, std::int64_t out_stride) const;

  private:
    std::int64_t width_, num_keys_, padded_;
    float *keys_, *values_, *scores_;  ///< in the scratch: [width, padded], [num_keys, width], [queries at a time, padded]
};

}  // namespace weft::model

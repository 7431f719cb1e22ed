#include "model/layers/attention_cpu.hpp"

#include "base/error.hpp"
#include "model/layers/cpu_math.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>

// The same as WEFT_FOR_EACH_ISA with sets that multiply and add at once.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) && !defined(__clang__)
#define WEFT_FOR_EACH_FMA __attribute__((target_clones("avx512f", "fma", "default")))
#else
#define WEFT_FOR_EACH_FMA
#endif

namespace weft::model {

namespace {

constexpr std::int64_t lanes = 16;  // numbers that go side by side; keys are padded to a multiple
constexpr std::int64_t queries_at_a_time = 8;

/// Numbers side by side.
template <std::int64_t Count>
struct Side {
    using Type [[gnu::vector_size(Count * 4)]] = float;
};
template <std::int64_t Count>
using Vector = typename Side<Count>::Type;

template <class Type>
[[gnu::always_inline]] inline void load(Type& to, const float* from) {
    std::memcpy(&to, from, sizeof to);
}

struct Block {
    const float* queries;  ///< [queries_at_a_time, width], scaled
    const float* keys;     ///< [width, padded]
    const float* values;   ///< [num_keys, width]
    float* scores;         ///< [queries_at_a_time, padded]
    float* out;            ///< [queries_at_a_time, width]
    std::int64_t num_keys, padded;
};

template <std::int64_t Width>
[[gnu::always_inline]] inline void score(const Block& block) {
    using Keys = Vector<lanes>;
    for (std::int64_t key = 0; key < block.padded; key += lanes) {
        Keys sums[queries_at_a_time] = {};
        for (std::int64_t c = 0; c < Width; ++c) {
            Keys k;
            load(k, block.keys + c * block.padded + key);
#pragma GCC unroll 8
            for (std::int64_t q = 0; q < queries_at_a_time; ++q) sums[q] += block.queries[q * Width + c] * k;
        }
#pragma GCC unroll 8
        for (std::int64_t q = 0; q < queries_at_a_time; ++q) std::memcpy(block.scores + q * block.padded + key, &sums[q], sizeof sums[q]);
    }
}

/// Scores of one query to exponentials; returns one over their sum.
[[gnu::always_inline]] inline float exponentiate(float* scores, std::int64_t num_keys, std::int64_t padded) {
    for (std::int64_t key = num_keys; key < padded; ++key) scores[key] = -std::numeric_limits<float>::infinity();
    Vector<lanes> most, some;
    load(most, scores);
    for (std::int64_t key = lanes; key < padded; key += lanes) {
        load(some, scores + key);
        most = most > some ? most : some;
    }
    float largest = most[0], sums[lanes] = {};
    for (std::int64_t l = 1; l < lanes; ++l) largest = std::max(largest, most[l]);
    for (std::int64_t key = 0; key < padded; key += lanes)
        for (std::int64_t l = 0; l < lanes; ++l) {
            const float x = scores[key + l] - largest;
            const float power = x > -87.0F ? exp_poly(x > -87.0F ? x : 0.0F) : 0.0F;
            scores[key + l] = power;
            sums[l] += power;
        }
    float sum = 0;
    for (const float one : sums) sum += one;
    return 1.0F / sum;
}

template <std::int64_t Width, std::int64_t Queries>
[[gnu::always_inline]] inline void mix(const Block& block, std::int64_t first, const float* inverse) {
    using Value = Vector<Width>;
    Value sums[Queries] = {};
    const float* const scores = block.scores + first * block.padded;
    for (std::int64_t key = 0; key < block.num_keys; ++key) {
        Value v;
        load(v, block.values + key * Width);
#pragma GCC unroll 8
        for (std::int64_t q = 0; q < Queries; ++q) sums[q] += scores[q * block.padded + key] * v;
    }
#pragma GCC unroll 8
    for (std::int64_t q = 0; q < Queries; ++q) {
        sums[q] *= inverse[first + q];
        std::memcpy(block.out + (first + q) * Width, &sums[q], sizeof sums[q]);
    }
}

template <std::int64_t Width>
[[gnu::always_inline]] inline void attend(const Block& block) {
    score<Width>(block);
    float inverse[queries_at_a_time];
    for (std::int64_t q = 0; q < queries_at_a_time; ++q) inverse[q] = exponentiate(block.scores + q * block.padded, block.num_keys, block.padded);
    constexpr std::int64_t together = Width > 32 ? 4 : queries_at_a_time;  // sums that fit into registers
    for (std::int64_t first = 0; first < queries_at_a_time; first += together) mix<Width, together>(block, first, inverse);
}

WEFT_FOR_EACH_FMA void attend_8(const Block& block) {
    attend<8>(block);
}
WEFT_FOR_EACH_FMA void attend_16(const Block& block) {
    attend<16>(block);
}
WEFT_FOR_EACH_FMA void attend_32(const Block& block) {
    attend<32>(block);
}

using Attend = void (*)(const Block&);

Attend attend_of(std::int64_t width) {
    return width == 8 ? attend_8 : width == 16 ? attend_16 : width == 32 ? attend_32 : nullptr;
}

}  // namespace

bool attention_cpu_knows(std::int64_t head_width) {
    return attend_of(head_width) != nullptr;
}

AttentionCpu::AttentionCpu(std::span<const KeysValues> seen, std::int64_t head_width, std::vector<float>& scratch) : width_{head_width}, num_keys_{0} {
    ensure(attention_cpu_knows(width_), "attention on CPUs is asked for a width that it knows");
    for (const auto& source : seen) num_keys_ += source.count;
    padded_ = (num_keys_ + lanes - 1) / lanes * lanes;
    const auto keys = width_ * padded_, values = width_ * num_keys_, scores = queries_at_a_time * padded_;
    if (const auto wanted = static_cast<std::size_t>(keys + values + scores); scratch.size() < wanted) scratch.resize(wanted);
    keys_ = scratch.data();
    scores_ = keys_ + keys;
    values_ = scores_ + scores;
    std::int64_t to = 0;
    for (const auto& source : seen)
        for (std::int64_t from = 0; from < source.count; ++from, ++to) {
            for (std::int64_t c = 0; c < width_; ++c) keys_[c * padded_ + to] = source.keys[from * source.stride + c];
            std::copy_n(source.values + from * source.stride, width_, values_ + to * width_);
        }
    for (std::int64_t c = 0; c < width_; ++c) std::fill(keys_ + c * padded_ + num_keys_, keys_ + (c + 1) * padded_, 0.0F);
}

void AttentionCpu::operator()(const float* q, std::int64_t q_stride, std::int64_t num_queries, float* out, std::int64_t out_stride) const {
    constexpr std::int64_t widest = 32;
    alignas(64) std::array<float, queries_at_a_time * widest> queries{}, results;
    const float scale = 1.0F / std::sqrt(static_cast<float>(width_));
    const auto attend = attend_of(width_);
    for (std::int64_t first = 0; first < num_queries; first += queries_at_a_time) {
        const auto count = std::min(queries_at_a_time, num_queries - first);  // beyond them stand older queries, whose results go nowhere
        for (std::int64_t i = 0; i < count; ++i)
            for (std::int64_t c = 0; c < width_; ++c) queries[static_cast<std::size_t>(i * width_ + c)] = q[(first + i) * q_stride + c] * scale;
        attend({queries.data(), keys_, values_, scores_, results.data(), num_keys_, padded_});
        for (std::int64_t i = 0; i < count; ++i) std::copy_n(results.data() + i * width_, width_, out + (first + i) * out_stride);
    }
}

}  // namespace weft::model

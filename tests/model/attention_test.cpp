#include "base/text.hpp"
#include "model/layers/attention_cpu.hpp"
#include "model/layers/layers.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <array>

namespace weft::model {
namespace {

struct Shape {
    std::int64_t width, queries, own, others;
};

class AttentionOnCpu : public testing::TestWithParam<Shape> {
  protected:
    void SetUp() override { at::manual_seed(3); }

    /// One head; rows of the sequences are wider than it, as they are beside other heads.
    static at::Tensor attend(const at::Tensor& q, const at::Tensor& own, const at::Tensor& others) {
        const auto width = q.size(1);
        std::array seen{KeysValues{own.const_data_ptr<float>(), own.const_data_ptr<float>() + width, own.size(0), own.size(1)},
                        KeysValues{others.const_data_ptr<float>(), others.const_data_ptr<float>() + width, others.size(0), others.size(1)}};
        std::vector<float> scratch;
        auto out = at::full({q.size(0), width}, std::nan(""));
        AttentionCpu({seen.data(), others.size(0) > 0 ? 2U : 1U}, width, scratch)(q.const_data_ptr<float>(), q.stride(0), q.size(0),
                                                                                  out.mutable_data_ptr<float>(), width);
        return out;
    }
};

/// [keys | values | something else]
at::Tensor tokens(std::int64_t count, std::int64_t width) {
    return at::randn({count, 2 * width + 5});
}

TEST_P(AttentionOnCpu, AgreesWithDoublePrecision) {
    const auto [width, queries, own_count, other_count] = GetParam();
    const auto own = tokens(own_count, width), others = tokens(other_count, width);
    for (const double spread : {1e-3, 1.0, 40.0}) {  // from plain means to the one largest score
        const auto q = at::randn({queries, width}) * spread;
        const auto all = at::cat({own, others}).to(at::kDouble);
        const auto scores = q.to(at::kDouble).mm(all.narrow(1, 0, width).t()) / std::sqrt(static_cast<double>(width));
        const auto wanted = scores.softmax(-1).mm(all.narrow(1, width, width));
        const auto off = (attend(q, own, others).to(at::kDouble) - wanted).abs().max() / wanted.abs().max();
        EXPECT_LT(off.item<double>(), spread > 1 ? 2e-5 : 1e-6) << "queries times " << spread;  // large scores lose digits whoever computes them in fp32
    }
}

TEST_P(AttentionOnCpu, AQuerysBitsAreItsOwn) {
    const auto [width, queries, own_count, other_count] = GetParam();
    const auto own = tokens(own_count, width), others = tokens(other_count, width);
    const auto q = at::randn({queries, width});
    const auto together = attend(q, own, others);
    for (std::int64_t one = 0; one < queries; ++one) EXPECT_TRUE(at::equal(attend(q.narrow(0, one, 1), own, others)[0], together[one])) << one;
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionOnCpu,
                         testing::Values(Shape{8, 1, 1, 0}, Shape{8, 256, 256, 256}, Shape{8, 13, 7, 0}, Shape{16, 16, 16, 0}, Shape{16, 9, 33, 20},
                                         Shape{32, 5, 100, 1}, Shape{32, 64, 64, 64}),
                         [](const auto& one) { return cat("Width", one.param.width, "Of", one.param.own, "And", one.param.others); });

/// The layers take the kernel for narrow heads and libtorch's for others; both mean the same.
TEST(Attention, OfNarrowHeadsIsWhatWideOnesMean) {
    at::manual_seed(4);
    constexpr std::int64_t channels = 32, heads = 4, frames = 6, pixels = 10;
    const SelfAttention attention{{at::randn({3 * channels, channels}) / 6, at::randn({3 * channels})}, {}, heads};
    const auto x = at::randn({frames, pixels, channels});
    const auto others = at::randn({7, 2 * channels});
    const auto reference = [&](const at::Tensor& rows, const at::Tensor& more) {  // [n, tokens, channels]
        const auto qkv = linear(rows, attention.qkv).to(at::kDouble).view({rows.size(0), rows.size(1), 3, heads, -1}).permute({2, 0, 3, 1, 4});
        const auto kv = more.to(at::kDouble).view({1, -1, 2, heads, channels / heads}).permute({2, 0, 3, 1, 4}).expand({-1, rows.size(0), -1, -1, -1});
        const auto k = at::cat({qkv[1], kv[0]}, 2), v = at::cat({qkv[2], kv[1]}, 2);
        const auto weights = (qkv[0].matmul(k.transpose(-1, -2)) / std::sqrt(static_cast<double>(channels / heads))).softmax(-1);
        return weights.matmul(v).transpose(1, 2).reshape(rows.sizes());
    };
    const auto expect_near = [](const at::Tensor& got, const at::Tensor& wanted) {
        EXPECT_LT(((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>(), 2e-6);
    };
    const auto none = others.narrow(0, 0, 0);
    expect_near(attend_tokens(x, attention), reference(x, none));
    expect_near(attend_tokens_and(x, others, attention), reference(x, others));
    expect_near(attend_frames(x, attention), reference(x.transpose(0, 1), none).transpose(0, 1));
}

}  // namespace
}  // namespace weft::model

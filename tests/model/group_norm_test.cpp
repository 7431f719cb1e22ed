#include "model/layers/layers.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model {
namespace {

/// Largest difference to the same in double precision, over the largest value.
double error_of(const at::Tensor& x, const GroupNorm& norm, bool silu) {
    const auto channels_first = x.to(at::kDouble).movedim(-1, 1);
    auto wanted = at::group_norm(channels_first, norm_groups, norm.weight.to(at::kDouble), norm.bias.to(at::kDouble), norm.eps).movedim(1, -1);
    if (silu) wanted = at::silu(wanted);
    const auto got = silu ? group_norm_silu(x, norm) : group_norm(x, norm);
    EXPECT_EQ(got.sizes(), x.sizes());
    return ((got.to(at::kDouble) - wanted).abs().max() / wanted.abs().max()).item<double>();
}

class GroupNormOf : public testing::TestWithParam<std::vector<std::int64_t>> {};

TEST_P(GroupNormOf, AgreesWithDoublePrecision) {
    at::manual_seed(1);
    const auto channels = GetParam().back();
    const GroupNorm norm{at::randn({channels}), at::randn({channels}), 1e-5};
    const auto noise = at::randn(GetParam());
    for (const bool silu : {false, true}) {
        EXPECT_LT(error_of(noise, norm, silu), 2e-6);
        EXPECT_LT(error_of(noise * 1e-3, norm, silu), 2e-6) << "small values: eps counts";
        // A mean a thousand times the deviation costs three digits of the difference to it, whoever computes it in fp32.
        EXPECT_LT(error_of(noise + 1000.0, norm, silu), 2e-4) << "large mean";
        EXPECT_LT(error_of(noise * 30.0, {norm.weight * 10.0, norm.bias * 10.0, norm.eps}, silu), 2e-6) << "far into SiLU's ends";
    }
    EXPECT_EQ(at::zeros_like(noise).sum().item<float>(), (group_norm(at::zeros_like(noise), norm) - norm.bias).abs().sum().item<float>())
        << "nothing but the bias is left of zeros";
}

INSTANTIATE_TEST_SUITE_P(Shapes, GroupNormOf,
                         testing::Values(std::vector<std::int64_t>{1, 2, 3, 32}, std::vector<std::int64_t>{3, 5, 7, 64},
                                         std::vector<std::int64_t>{2, 16, 24, 96}, std::vector<std::int64_t>{1, 4, 9, 5, 320}));

}  // namespace
}  // namespace weft::model

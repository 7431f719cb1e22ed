#include "model/musepose/ddim.hpp"
#include "model/musepose/slow_job.hpp"

#include "base/text.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model::musepose {
namespace {

class GoldenMusePose : public testing::TestWithParam<const char*> {};

TEST_P(GoldenMusePose, AsRecorded) {
    const auto wanted = golden::read_case(GetParam(), FamilyName::musepose);
    golden::expect_as_recorded(wanted, run_slowly(wanted));
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenMusePose, testing::Values("ragged", "single", "nocfg"), [](const auto& one) { return std::string(one.param); });

TEST(GoldenDdim, AsRecorded) {
    const auto wanted = golden::read_case("scheduler", FamilyName::musepose);
    golden::Tensors out;
    for (const std::int64_t steps : {1, 4, 7, 20, 50, 61}) {
        const DdimSampler sampler(steps, {});
        const auto name = [&](const char* what) { return cat("n", steps, ".", what); };
        out[name("timesteps")] = at::tensor(sampler.timesteps());
        out["betas"] = at::tensor(sampler.betas());
        out["alphas_cumprod"] = at::tensor(sampler.alphas_cumprod());
        out["final_alpha_cumprod"] = at::ones({1});
        if (!wanted.recorded.contains(name("x"))) continue;
        auto x = wanted.recorded.at(name("x"));
        std::vector<at::Tensor> next, clean;
        for (std::int64_t step = 0; step < static_cast<std::int64_t>(sampler.timesteps().size()); ++step) {
            const auto v = wanted.recorded.at(name("v"))[step];
            clean.push_back(sampler.predicted_clean(x, v, step));
            x = sampler.step(x, v, step);
            next.push_back(x);
        }
        out[name("prev_sample")] = at::stack(next);
        out[name("pred_x0")] = at::stack(clean);
    }
    golden::expect_as_recorded(wanted, out);
}

}  // namespace
}  // namespace weft::model::musepose

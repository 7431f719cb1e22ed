#include "model/mimicmotion/euler.hpp"
#include "base/text.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model::mimicmotion {
namespace {

TEST(Euler, AsRecorded) {
    const auto wanted = golden::read_case("scheduler");
    golden::Tensors out;
    for (const std::int64_t n : {1, 4, 25, 50}) {
        const EulerSampler sampler(n, 0.002, 700.0);
        const auto numbers = [&](const char* name, std::int64_t count, const auto& value) {
            std::vector<float> values;
            for (std::int64_t i = 0; i < count; ++i) values.push_back(value(i));
            out[cat("n", n, ".", name)] = at::tensor(values);
        };
        numbers("sigmas", n + 1, [&](std::int64_t i) { return sampler.sigma(i); });
        numbers("timesteps", n, [&](std::int64_t i) { return sampler.timestep(i); });
        numbers("init_noise_sigma", 1, [&](std::int64_t) { return sampler.init_noise_sigma(); });
        numbers("c_in", n, [&](std::int64_t i) { return sampler.coefficients(i).in; });
        numbers("c_out", n, [&](std::int64_t i) { return sampler.coefficients(i).out; });
        numbers("c_skip", n, [&](std::int64_t i) { return sampler.coefficients(i).skip; });
        numbers("c_noise", n, [&](std::int64_t i) { return sampler.timestep(i); });
        auto x = wanted.recorded.at("noise") * sampler.init_noise_sigma();
        out[cat("n", n, ".x0")] = x;
        std::vector<at::Tensor> inputs;
        std::vector<at::Tensor> steps;
        for (std::int64_t i = 0; i < n; ++i) {
            inputs.push_back(sampler.scale_input(x, i));
            x = sampler.step(x, wanted.recorded.at("v"), i);
            steps.push_back(x);
        }
        out[cat("n", n, ".scaled_input")] = at::stack(inputs);
        out[cat("n", n, ".step")] = at::stack(steps);
    }
    golden::expect_as_recorded(wanted, out);
}

/// Small sigmas vanish beside the largest one above, so each by itself.
TEST(Euler, EverySigmaIsTheRecordedOne) {
    const auto wanted = golden::read_case("scheduler");
    for (const std::int64_t n : {1, 4, 25, 50}) {
        const EulerSampler sampler(n, 0.002, 700.0);
        const auto sigmas = wanted.recorded.at(cat("n", n, ".sigmas"));
        ASSERT_EQ(sampler.steps(), n);
        for (std::int64_t i = 0; i <= n; ++i) EXPECT_FLOAT_EQ(sampler.sigma(i), sigmas[i].item<float>()) << "step " << i << " of " << n;
    }
}

TEST(Euler, AnySubsetOfFramesGivesTheSameBits) {
    const auto wanted = golden::read_case("scheduler");
    const EulerSampler sampler(4, 0.002, 700.0);
    const auto x = wanted.recorded.at("noise")[0];
    const auto v = wanted.recorded.at("v")[0];
    const auto whole = sampler.step(x, v, 1);
    for (std::int64_t frame = 0; frame < x.size(0); ++frame) EXPECT_TRUE(at::equal(whole[frame], sampler.step(x[frame], v[frame], 1)));
}

}  // namespace
}  // namespace weft::model::mimicmotion

#include "base/text.hpp"
#include "io/picture.hpp"
#include "model/mimicmotion/config.hpp"
#include "model/musepose/slow_job.hpp"
#include "model/pictures.hpp"
#include "model/slow_job.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

/// Tests that need what lies beside the full golden data: `launch/test --golden DIR`.
namespace weft::model {
namespace {

using golden::nchw;

class GoldenReference : public testing::TestWithParam<const char*> {};

TEST_P(GoldenReference, PublishedResizeGivesTheSameBytes) {
    const auto wanted = golden::read_case(GetParam());
    auto picture = io::read_picture(golden::beside_full_data(wanted.facts.at("image").at("file")));
    const auto bytes = at::from_blob(picture.rgb.data(), {picture.height, picture.width, 3}, at::kByte);
    const auto& size = wanted.facts.at("parameters");
    const auto reference = cover_bilinear(bytes, size.at("height"), size.at("width"));
    const auto off = (reference.to(at::kInt) - wanted.recorded.at("reference_u8").to(at::kInt)).abs();
    EXPECT_EQ(off.max().item<int>(), 0) << off.ne(0).sum().item<std::int64_t>() << " of " << off.numel() << " bytes differ";
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenReference, testing::Values("plain", "ramp", "single"), [](const auto& name) { return std::string(name.param); });

/// Too large for tests/golden, which has the other pipeline cases (pipeline_cases_test.cpp, musepose/cases_test.cpp).
TEST(GoldenPipeline, PlainAsRecorded) {
    const auto wanted = golden::read_case("plain");
    golden::expect_as_recorded(wanted, mimicmotion::run_slowly(wanted));
}

TEST(GoldenMusePosePipeline, PlainAsRecorded) {
    const auto wanted = golden::read_case("plain", FamilyName::musepose);
    golden::expect_as_recorded(wanted, musepose::run_slowly(wanted));
}

TEST(GoldenPoseNet, RealWeights) {
    const auto wanted = golden::read_case("pose-net-real");
    const auto file = std::make_shared<const io::WeightFile>(io::WeightFile::open(golden::beside_full_data(wanted.facts.at("weights"))));
    auto net = mimicmotion::Config{}.networks().pose;
    FileSource source(file, "", at::kCPU, at::kFloat);
    net.bind(Weights{source});
    std::vector<at::Tensor> steps;
    const auto features = net(wanted.recorded.at("poses_u8").to(at::kFloat) / 127.5 - 1.0, &steps);
    golden::Tensors out{{"features", nchw(features)}};
    for (std::size_t i = 0; i + 1 < steps.size(); ++i) out[cat("conv_layers.", 2 * i + 1)] = nchw(at::silu(steps[i]));
    golden::expect_as_recorded(wanted, out);
}

TEST(GoldenDemo, TheTrainedModelOpens) {
    Mistakes mistakes;
    const auto folder = mimicmotion::ModelFolder::open(golden::beside_full_data("demo-spike/model"), mistakes);
    EXPECT_THAT(mistakes.texts(), testing::IsEmpty());
    EXPECT_EQ(folder.config().vae.latent_channels, 16);
    EXPECT_EQ(folder.config().vae.layers, 1);
}

}  // namespace
}  // namespace weft::model

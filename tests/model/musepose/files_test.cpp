#include "io/weight_files.hpp"
#include "support/golden.hpp"
#include "support/model_files.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

/// Which file a value comes from: the published program loads a base UNet and then MusePose's own files over it.
namespace weft::model::musepose {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

constexpr std::uint16_t one_as_half = 0x3c00;

class MusePoseFiles : public testing::TestWithParam<const char*> {
  protected:
    MusePoseFiles() { test::link_files(golden::musepose() / "model", folder_.path()); }

    [[nodiscard]] fs::path weights() const { return folder_.path() / "pretrained_weights"; }
    [[nodiscard]] fs::path denoising() const { return weights() / "MusePose/denoising_unet.pth"; }

    /// A base UNet of all keys, whose values are 1.
    void add_base() const {
        const auto path = weights() / "sd-image-variations-diffusers/unet" / GetParam();
        fs::remove(weights() / "sd-image-variations-diffusers/unet/diffusion_pytorch_model.bin");  // the full data has one
        test::rewrite_weights(denoising(), path, [](auto& tensors) {
            for (auto& [name, tensor] : tensors) tensor.bytes = test::filled_with(one_as_half, tensor.bytes.size());
        });
    }

    /// All of a part as it reaches the networks.
    [[nodiscard]] golden::Tensors loaded(Part part) const {
        Mistakes mistakes;
        const auto folder = ModelFolder::open(folder_.path(), mistakes);
        EXPECT_THAT(mistakes.texts(), testing::IsEmpty());
        const auto source = folder.source(part, at::kCPU, at::kFloat);
        golden::Tensors tensors;
        for (const auto& spec : folder.networks().keys(part))
            tensors.emplace(spec.key, source->load(spec.key, spec.shape, at::MemoryFormat::Contiguous).clone());
        return tensors;
    }

    io::TemporaryFolder folder_;
};

void expect_equal(const golden::Tensors& wanted, const golden::Tensors& got) {
    ASSERT_EQ(wanted.size(), got.size());
    for (const auto& [key, tensor] : wanted) EXPECT_TRUE(at::equal(tensor, got.at(key))) << key;
}

TEST_P(MusePoseFiles, ABaseUNetIsOverwritten) {
    const auto denoiser = loaded(Part::denoiser);
    const auto reference = loaded(Part::reference);
    EXPECT_EQ(denoiser.size(), 686U + 546U);
    add_base();
    testing::internal::CaptureStderr();
    expect_equal(denoiser, loaded(Part::denoiser));
    expect_equal(reference, loaded(Part::reference));
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST_P(MusePoseFiles, WhatTheDenoiserLacksIsTakenFromTheBaseUNetWithAWarning) {
    auto wanted = loaded(Part::denoiser);
    add_base();
    test::rewrite_weights(denoising(), denoising(), [](auto& tensors) { EXPECT_EQ(tensors.erase("mid_block.resnets.1.conv1.bias"), 1U); });
    testing::internal::CaptureStderr();
    const auto got = loaded(Part::denoiser);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::AllOf(HasSubstr("denoising_unet.pth"), HasSubstr("mid_block.resnets.1.conv1.bias"), HasSubstr(GetParam())));
    wanted.at("mid_block.resnets.1.conv1.bias").fill_(1);
    expect_equal(wanted, got);
}

INSTANTIATE_TEST_SUITE_P(Base, MusePoseFiles, testing::Values("diffusion_pytorch_model.bin", "diffusion_pytorch_model.safetensors"),
                         [](const auto& one) { return std::string(one.param).substr(std::string("diffusion_pytorch_model.").size()); });

}  // namespace
}  // namespace weft::model::musepose

// Which type computes what: the picture's latents always in fp32, frames beyond fp16 in bf16.
#include "model/mimicmotion/mimicmotion.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace weft::model::mimicmotion {
namespace {

constexpr std::int64_t frames = 2, side = 64;

class Precision : public testing::Test {
  protected:
    [[nodiscard]] std::unique_ptr<Family> family(c10::ScalarType dtype, c10::ScalarType decode_dtype) const {
        ClipSettings settings;
        settings.width = settings.height = side;
        settings.num_frames = settings.slice_length = frames;
        settings.dtype = dtype;
        settings.decode_dtype = decode_dtype;
        return make_mimicmotion(folder_, settings, ComputeDevice{}, [](const std::vector<std::int64_t>& some) {
            return at::zeros({static_cast<std::int64_t>(some.size()), side, side, 3}, at::kByte);
        });
    }

    [[nodiscard]] at::Tensor decode(c10::ScalarType dtype, double scale) const {
        const auto made = family(c10::kFloat, dtype);
        made->load_decoder();
        return made->decode(scale * at::arange(frames * 4 * 64, at::kFloat).sin().view({frames, 4, side / 8, side / 8}));
    }

    ModelFolder folder_ = golden::tiny_model();
};

TEST_F(Precision, FramesBeyondFp16AreThoseOfBf16) {
    constexpr double beyond = 1e5;
    EXPECT_TRUE(at::equal(decode(c10::kHalf, beyond), decode(c10::kBFloat16, beyond)));
    EXPECT_LT(golden::relative_error(decode(c10::kFloat, beyond), decode(c10::kHalf, beyond)), 0.1);
}

TEST_F(Precision, FramesWithinFp16StayInFp16) {
    const auto exact = decode(c10::kFloat, 0.2);
    const auto half = decode(c10::kHalf, 0.2);
    EXPECT_LT(golden::relative_error(exact, half), 0.01);
    EXPECT_LT(golden::relative_error(exact, half), golden::relative_error(exact, decode(c10::kBFloat16, 0.2)));
}

TEST_F(Precision, ThePictureIsEncodedInFp32) {
    const auto latents_of_picture = [&](c10::ScalarType dtype) {
        const auto made = family(dtype, dtype);
        made->encode(at::arange(side * side * 3, at::kLong).remainder(251).to(at::kByte).view({side, side, 3}));
        made->load_denoiser();
        return made->begin({0, 0, Branch::conditional}, made->initial_latents({0, 1}), {0, 1}).hidden.narrow(-1, 4, 4).clone();
    };
    EXPECT_TRUE(at::equal(latents_of_picture(c10::kFloat).to(c10::kBFloat16), latents_of_picture(c10::kBFloat16)));
}

}  // namespace
}  // namespace weft::model::mimicmotion

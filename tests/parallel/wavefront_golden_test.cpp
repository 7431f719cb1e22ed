#include "io/picture.hpp"
#include "io/video_reader.hpp"
#include "parallel/wavefront.hpp"

#include <cstdlib>

/// The same with the full golden data's tiny model and a real pose clip, looped: `launch/test --golden DIR`.
namespace weft::test {

TEST(WavefrontOverMpi, OfARealClipThroughTheGoldenModel) {
    const char* const golden = std::getenv("WEFT_GOLDEN");
    ASSERT_NE(golden, nullptr) << "this test needs the full golden data: launch/test --golden DIR, or WEFT_GOLDEN=DIR";
    const Wavefront wanted;
    const RankedJob job({.poses = wanted.poses, .steps = wanted.steps, .size = 128, .musepose = true});
    fs::create_directories(job / "clip");
    fs::create_directories(job / "looped");
    io::VideoReader reader(fs::path(golden) / "../data/poses/moore-anyone-2-kps.mp4");
    std::int64_t frames = 0;
    for (; const auto frame = reader.next(); ++frames) io::write_png(job / "clip" / cat(frames, ".png"), *frame);
    for (std::int64_t frame = 0; frame < wanted.poses; ++frame)
        fs::create_symlink(job / "clip" / cat(frame % frames, ".png"), job / "looped" / cat(frame + 10000, ".png"));
    expect_wavefront(job, wanted, {cat("model.path=", in_quotes(golden + std::string("/musepose/model"))), "input.pose=looped"});
}

}  // namespace weft::test

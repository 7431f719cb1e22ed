#include "app/small_job.hpp"

/// Promise 5: host memory does not grow with the clip.
namespace weft::test {

TEST(PeakMemory, DoesNotGrowWithTheClip) {
    const SmallJob job;
    fs::create_directories(job / "pose");
    for (int frame = 0; frame < 300; ++frame) {
        char name[16];
        std::snprintf(name, sizeof name, "%05d.png", frame);
        fs::create_symlink(tiny_model() / "example" / "pose" / cat("000", frame % 30 + 10, ".png"), job / "pose" / name);
    }
    const auto peak = [&](int frames) {
        const auto ended = job.generate({"input.pose=pose", cat("input.frames=", frames), "sampling.steps=1", "sampling.guidance=[1.0, 1.0]", "slices.length=12", cat("output.run_file=", frames, ".h5"), "output.video=out.mp4"});
        expect_done(ended);
        return static_cast<double>(ended.peak_resident_bytes);
    };
    const auto of_60 = peak(60);
    const auto of_300 = peak(300);
    EXPECT_LT(std::abs(of_300 / of_60 - 1), 0.05) << "60 frames: " << of_60 / 1e6 << " MB, 300 frames: " << of_300 / 1e6 << " MB";
}

}  // namespace weft::test

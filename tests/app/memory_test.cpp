#include "app/small_job.hpp"

/// Promise 5: host memory does not grow with the clip. Resident bytes, which pools of libraries move by a tenth at these small sizes, are in the long test.
namespace weft::test {

/// Pose features that are kept from step to step, as long as they take less than 64 MiB: 8x8 of 32 channels for each slot of slices of 12, of which 10 are new.
double kept_pose_megabytes(int num_poses) {
    const int slices = (num_poses + 1 - 12 + 9) / 10 + 1;
    return slices * 12 * 8 * 8 * 32 * 4 / 1e6;
}

TEST(PeakMemory, OfTensorsDoesNotGrowWithTheClip) {
    const double few = peak_tensor_megabytes(25);
    EXPECT_NEAR(peak_tensor_megabytes(100) - (kept_pose_megabytes(100) - kept_pose_megabytes(25)), few, 0.05 * few);
}

}  // namespace weft::test

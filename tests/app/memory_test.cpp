#include "app/small_job.hpp"

/// Promise 5: host memory does not grow with the clip. Resident bytes, which pools of libraries move by a tenth at these small sizes, are in the long test.
namespace weft::test {

TEST(PeakMemory, OfTensorsDoesNotGrowWithTheClip) {
    const double few = peak_tensor_megabytes(25);
    EXPECT_NEAR(peak_tensor_megabytes(100), few, 0.05 * few);
}

}  // namespace weft::test

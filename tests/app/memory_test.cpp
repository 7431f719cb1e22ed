#include "app/small_job.hpp"

/// Promise 5: host memory does not grow with the clip.
namespace weft::test {

TEST(PeakMemory, DoesNotGrowWithTheClip) {
    const double few = peak_megabytes(25);
    EXPECT_NEAR(peak_megabytes(100), few, 0.05 * few);
}

}  // namespace weft::test

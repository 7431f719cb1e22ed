#include "app/small_job.hpp"

namespace weft::test {

TEST(PeakMemory, OfThreeHundredFramesIsThatOfSixty) {
    const double few = peak_megabytes(60);
    EXPECT_NEAR(peak_megabytes(300), few, 0.05 * few);
}

}  // namespace weft::test

#include "parallel/wavefront.hpp"

namespace weft::test {

TEST(WavefrontOverMpi, OfMusePosePassesFlowFromStepToStep) {
    const Wavefront wanted;
    expect_wavefront(RankedJob({.poses = wanted.poses, .steps = wanted.steps, .musepose = true}), wanted);
}

}  // namespace weft::test

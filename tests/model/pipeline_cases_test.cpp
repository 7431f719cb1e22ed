#include "model/slow_job.hpp"

#include <gtest/gtest.h>

namespace weft::model::mimicmotion {
namespace {

class GoldenPipeline : public testing::TestWithParam<const char*> {};

TEST_P(GoldenPipeline, AsRecorded) {
    const auto wanted = golden::read_case(GetParam());
    golden::expect_as_recorded(wanted, run_slowly(wanted));
}

INSTANTIATE_TEST_SUITE_P(Cases, GoldenPipeline, testing::Values("ramp", "single"), [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace weft::model::mimicmotion

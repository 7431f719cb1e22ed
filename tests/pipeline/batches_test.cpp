#include "pipeline/batches.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace weft::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

/// Passes of 100 bytes, 40 for each beside the first.
class BatchesTest : public ::testing::Test {
  protected:
    std::int64_t free = 1000000;
    std::vector<std::string> records;
    Batches batches{
        {.first = 100, .more = 40, .limit = 1000, .slack = 0}, [this] { return free; }, [this](const std::string& what) { records.push_back(what); }};
};

TEST_F(BatchesTest, AllThatFitRunSideBySideAndNothingIsRecorded) {
    EXPECT_EQ(batches.fitting(6, 0, 0), 6);
    EXPECT_EQ(batches.fitting(2, 0, 0), 2);
    EXPECT_THAT(records, IsEmpty());
}

TEST_F(BatchesTest, TheLimitHoldsWithWhatIsHeldAlready) {
    EXPECT_EQ(batches.fitting(10, 740, 0), 5);  // 260 bytes: 100 and four times 40
    EXPECT_THAT(records, ElementsAre(HasSubstr("from step 1 on 5 passes side by side")));
}

TEST_F(BatchesTest, OnePassIsAlwaysTried) {
    free = 10;
    EXPECT_EQ(batches.fitting(4, 0, 0), 1);
}

TEST_F(BatchesTest, WhatAnotherProcessTakesIsNoticedAndToldOnce) {
    EXPECT_EQ(batches.fitting(4, 0, 0), 4);
    free = 190;  // less 5 % are 180
    EXPECT_EQ(batches.fitting(4, 0, 2), 3);
    EXPECT_EQ(batches.fitting(1, 0, 2), 1);
    EXPECT_EQ(batches.fitting(4, 0, 3), 3);
    EXPECT_THAT(records, ElementsAre(HasSubstr("from step 3 on 3 passes")));
}

TEST_F(BatchesTest, WhatIsGivenBackIsUsedFromTheNextStepOn) {
    free = 160;
    EXPECT_EQ(batches.fitting(4, 0, 0), 2);
    free = 1000000;
    EXPECT_EQ(batches.fitting(4, 0, 0), 2);
    EXPECT_EQ(batches.fitting(4, 0, 1), 4);
    EXPECT_THAT(records, ElementsAre(HasSubstr("from step 1 on 2 passes"), HasSubstr("from step 2 on 4 passes")));
}

TEST_F(BatchesTest, SmallChangesOfWhatIsFreeAreLeftAlone) {
    free = 190;
    EXPECT_EQ(batches.fitting(8, 0, 0), 3);
    free = 240;  // for four
    EXPECT_EQ(batches.fitting(8, 0, 1), 3);
    EXPECT_THAT(records, ElementsAre(HasSubstr("3 passes")));
}

TEST_F(BatchesTest, AfterMemoryRanOutHalfAsManyAreTriedForGood) {
    EXPECT_EQ(batches.fitting(6, 0, 0), 6);
    batches.ran_out(6, 0);
    EXPECT_EQ(batches.fitting(6, 0, 0), 3);
    EXPECT_EQ(batches.fitting(6, 0, 5), 3);
    batches.ran_out(3, 5);
    EXPECT_EQ(batches.fitting(6, 0, 9), 1);
    EXPECT_THAT(records, ElementsAre("from step 1 on 3 passes side by side: memory ran out", "from step 6 on 1 pass side by side: memory ran out"));
}

}  // namespace
}  // namespace weft::pipeline

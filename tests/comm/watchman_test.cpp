#include "comm/watchman.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

/// Liveness by a made-up clock.
namespace weft::comm {

namespace {

const std::vector<std::string> names{"rank 0 on a", "rank 1 on a", "rank 2 on b"};
using Activity = Pulse::Activity;

Watchman::Beat doing(Activity activity, std::uint64_t ticks = 0, double still_s = 0, double expected_s = 0) {
    return {{activity, "a pass", ticks, still_s, expected_s}, 0};
}

}  // namespace

TEST(Watchman, SilenceIsFoundWithinFifteenSeconds) {
    Watchman watchman{0, names, 100};
    const Watch limits;
    for (double now = 100; now < 120; now += 2) {
        watchman.heard(1, now);
        if (now < 104) watchman.heard(2, now);  // last at 102
        const auto found = watchman.look(now, limits, doing(Activity::idle));
        EXPECT_EQ(found.has_value(), now > 102 + limits.silent_s) << now;
        if (!found) continue;
        EXPECT_EQ(found->verdict.culprit, "rank 2 on b");
        EXPECT_EQ(found->verdict.code, ExitCode::rank_failed);
        EXPECT_FALSE(found->own);
    }
    EXPECT_LT(limits.silent_s + 2 * limits.beat_s, 15.1);
}

TEST(Watchman, LowerRanksSpeakForRankZeroFirst) {
    const Watch limits;
    Watchman first{1, names, 0};
    Watchman second{2, names, 0};
    EXPECT_FALSE(first.look(11, limits, doing(Activity::idle)));
    EXPECT_TRUE(first.look(11.1, limits, doing(Activity::idle)));
    EXPECT_FALSE(second.look(11.9, limits, doing(Activity::idle)));
    EXPECT_TRUE(second.look(12.1, limits, doing(Activity::idle)));
    Watchman sixty_fourth{63, std::vector<std::string>(64, "x"), 0};
    EXPECT_TRUE(sixty_fourth.look(15.1, limits, doing(Activity::idle)));
}

TEST(Watchman, AJobThatWasSuspendedIsGivenTime) {
    Watchman watchman{0, names, 0};
    watchman.woke(1000);
    EXPECT_FALSE(watchman.look(1000, {}, doing(Activity::idle)));
    EXPECT_FALSE(watchman.look(1010, {}, doing(Activity::idle)));
    EXPECT_TRUE(watchman.look(1012, {}, doing(Activity::idle)));
}

TEST(Watchman, AStallIsMeasuredByWhatIsExpected) {
    Watchman watchman{2, names, 0};
    const Watch limits;  // stall_s = 30
    const auto stalls = [&](double still_s, double expected_s) {
        return watchman.look(1, limits, doing(Activity::working, 0, still_s, expected_s)).has_value();
    };
    EXPECT_FALSE(stalls(29, 1));
    EXPECT_TRUE(stalls(31, 1));
    EXPECT_FALSE(stalls(99, 10));
    EXPECT_TRUE(stalls(101, 10));
    EXPECT_FALSE(stalls(599, 0));
    EXPECT_TRUE(stalls(601, 0));
    EXPECT_FALSE(watchman.look(1, limits, doing(Activity::waiting, 0, 1000)));
    EXPECT_FALSE(watchman.look(1, limits, doing(Activity::idle, 0, 1000)));
    const auto found = watchman.look(1, limits, doing(Activity::working, 0, 601));
    EXPECT_TRUE(found->own);
    EXPECT_EQ(found->verdict.culprit, "rank 2 on b");
}

TEST(Watchman, AllWaitOnlyWhenNothingMovesAnywhere) {
    Watchman watchman{0, names, 0};
    const Watch limits;  // 2 x 30 s
    const auto found_at = [&](double now, const Watchman::Beat& other) {
        for (const int rank : {1, 2}) {
            watchman.heard(rank, now);
            watchman.beat(rank, rank == 1 ? doing(Activity::waiting) : other);
        }
        return watchman.look(now, limits, doing(Activity::waiting)).has_value();
    };
    EXPECT_FALSE(found_at(1, doing(Activity::waiting)));
    EXPECT_FALSE(found_at(60, doing(Activity::waiting)));
    EXPECT_FALSE(found_at(62, doing(Activity::waiting, 1)));  // a tick
    EXPECT_FALSE(found_at(121, doing(Activity::waiting, 1)));
    EXPECT_FALSE(found_at(123, doing(Activity::working, 1)));
    EXPECT_FALSE(found_at(183, doing(Activity::waiting, 1)));
    EXPECT_TRUE(found_at(244, doing(Activity::waiting, 1)));
}

}  // namespace weft::comm

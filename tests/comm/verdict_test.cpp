#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/transport.hpp"
#include "support/ranks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

/// How jobs end: failures, stalls, silence, stops, leaving. Ranks as threads, short times.
namespace weft::comm {

namespace {

using test::quick_watch;
using test::Ran;
using test::try_ranks;
using testing::AllOf;
using testing::HasSubstr;

using Seconds = std::chrono::duration<double>;

double since(std::chrono::steady_clock::time_point begin) {
    return Seconds(std::chrono::steady_clock::now() - begin).count();
}

/// Waits for what never comes: until the job is over.
void wait_for_ever(Transport& transport, int from, const std::string& what) {
    transport.pulse().waiting(what);
    transport.receive(from, {1, 1}, make_buffer(8), what).wait();
}

void expect_one_verdict(const Ran& ran, int told_by, const std::string& culprit, const std::string& text) {
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_EQ(ran.verdicts[0].first, told_by);
    EXPECT_EQ(ran.verdicts[0].second.culprit, culprit);
    EXPECT_THAT(ran.verdicts[0].second.text, HasSubstr(text));
}

/// Its communication thread hangs while `paused`, as that of a stopped process.
class PausedLink final : public Link {
  public:
    PausedLink(std::unique_ptr<Link> link, const std::atomic<bool>& paused) : link_{std::move(link)}, paused_{paused} {}
    const std::vector<Identity>& everyone() const override { return link_->everyone(); }
    const Identity& who() const override { return link_->who(); }
    Ticket start_send(int to, Tag tag, std::span<const std::byte> bytes) override { return link_->start_send(to, tag, bytes); }
    Ticket start_receive(int from, Tag tag, std::span<std::byte> bytes) override { return link_->start_receive(from, tag, bytes); }
    void poll(std::vector<Ended>& ended) override {
        while (paused_) std::this_thread::sleep_for(Seconds{0.005});
        link_->poll(ended);
    }
    void post_letter(int to, const std::string& text) override { link_->post_letter(to, text); }
    std::optional<Letter> next_letter() override { return link_->next_letter(); }
    void close() override { link_->close(); }
    void abort(int code) override { link_->abort(code); }
    std::optional<int> aborted() const override { return link_->aborted(); }

  private:
    std::unique_ptr<Link> link_;
    const std::atomic<bool>& paused_;
};

/// Rank `silent` stops after 0.1 s and comes back long after the job is over.
Ran run_with_silent(int silent, int num_ranks) {
    std::atomic<bool> paused{false};
    auto watch = quick_watch();
    watch.silent_s = 0.6;
    return try_ranks(
        num_ranks,
        [&](Transport& transport) {
            if (transport.who().rank == silent) {
                transport.pulse().working("pass of step 3", 1);
                std::this_thread::sleep_for(Seconds{0.2});
                paused = true;
                std::this_thread::sleep_for(Seconds{1.5});
                paused = false;
            }
            wait_for_ever(transport, (transport.who().rank + 1) % num_ranks, "the rest");
        },
        watch,
        [&](int rank, std::unique_ptr<Link> link) -> std::unique_ptr<Link> {
            if (rank != silent) return link;
            return std::make_unique<PausedLink>(std::move(link), paused);
        });
}

}  // namespace

TEST(Verdict, ARankThatFailsIsTheCulpritForAll) {
    for (const int culprit : {0, 1, 4}) {
        const auto ran = try_ranks(5, [&](Transport& transport) {
            if (transport.who().rank == culprit) throw Error(ExitCode::does_not_fit, "out of memory in pass 7");
            wait_for_ever(transport, culprit, "its frames");
        });
        const auto name = cat("rank ", culprit, " on h", culprit / 2);
        expect_one_verdict(ran, 0, name, "out of memory in pass 7");
        EXPECT_EQ(ran.verdicts[0].second.code, ExitCode::does_not_fit);
        for (int rank = 0; rank < 5; ++rank) {
            if (rank == culprit) continue;
            const auto& ended = ran.ranks[static_cast<std::size_t>(rank)];
            EXPECT_EQ(ended.code, ExitCode::rank_failed) << rank;
            EXPECT_THAT(ended.error, HasSubstr(name + ": out of memory in pass 7")) << rank;
        }
    }
}

TEST(Verdict, ATransferThatDisagreesEndsTheJobByName) {
    const auto ran = try_ranks(3, [](Transport& transport) {
        if (transport.who().rank == 1) transport.send(2, {1, 5}, make_buffer(8), "frame 5").wait();
        if (transport.who().rank == 2) transport.receive(1, {1, 6}, make_buffer(8), "frame 6").wait();
        wait_for_ever(transport, (transport.who().rank + 1) % 3, "the rest");
    });
    ASSERT_GE(ran.verdicts.size(), 1U);
    EXPECT_THAT(ran.verdicts[0].second.text, HasSubstr("the sender sends kind 1, item 5, 8 bytes; the receiver expects kind 1, item 6, 8 bytes"));
}

TEST(Verdict, AStalledRankIsFoundAndOnlyIt) {
    for (const int culprit : {0, 2}) {
        auto watch = quick_watch();
        watch.stall_s = 0.4;
        watch.all_wait_s = 60;
        const auto ran = try_ranks(
            3,
            [&](Transport& transport) {
                if (transport.who().rank == culprit) transport.pulse().working("pass of step 3, slice 2, conditional", 0.01);
                if (transport.who().rank != culprit) transport.pulse().waiting("its frames");
                transport.receive((transport.who().rank + 1) % 3, {1, 1}, make_buffer(8), "never sent").wait();
            },
            watch);
        expect_one_verdict(ran, 0, cat("rank ", culprit, " on h", culprit / 2),
                           "in pass of step 3, slice 2, conditional, where 0.010 s were expected (watchdog.stall_s = 0.4)");
    }
}

TEST(Verdict, SlowWorkThatTicksOrIsExpectedToBeSlowIsNoStall) {
    auto watch = quick_watch();
    watch.stall_s = 0.3;
    watch.all_wait_s = 60;
    const auto ran = try_ranks(
        3,
        [&](Transport& transport) {
            if (transport.who().rank == 0) {
                transport.pulse().working("units", 0.01);
                for (int i = 0; i < 10; ++i) {
                    std::this_thread::sleep_for(Seconds{0.1});
                    transport.pulse().tick();
                }
            } else if (transport.who().rank == 1) {
                transport.pulse().working("a large unit", 0.5);
                std::this_thread::sleep_for(Seconds{1});
            } else {
                transport.pulse().working("a first pass of unknown length");
                std::this_thread::sleep_for(Seconds{1});
            }
        },
        watch);
    EXPECT_TRUE(ran.verdicts.empty());
    for (const auto& rank : ran.ranks) EXPECT_EQ(rank.left, 0);
}

TEST(Verdict, ARankThatFallsSilentIsNamedWithItsLastWord) {
    expect_one_verdict(run_with_silent(2, 3), 0, "rank 2 on h1", "no heartbeat for ");
    expect_one_verdict(run_with_silent(1, 2), 0, "rank 1 on h0", "its last word: working on pass of step 3");
}

TEST(Verdict, WhenRankZeroFallsSilentTheLowestOtherSpeaks) {
    expect_one_verdict(run_with_silent(0, 4), 1, "rank 0 on h0", "its last word: working on pass of step 3");
}

TEST(Verdict, AllRanksWaitingForEachOtherAreFound) {
    auto watch = quick_watch();
    watch.all_wait_s = 0.5;
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = try_ranks(
        3, [&](Transport& transport) { wait_for_ever(transport, (transport.who().rank + 1) % 3, cat("frame ", transport.who().rank)); }, watch);
    EXPECT_LT(since(begin), 3);
    expect_one_verdict(ran, 0, "", "all ranks wait for each other");
    EXPECT_THAT(ran.verdicts[0].second.text,
                AllOf(HasSubstr("rank 0 on h0 waits for frame 0"), HasSubstr("rank 1 on h0 waits for frame 1"), HasSubstr("rank 2 on h1 waits for frame 2")));
}

TEST(Verdict, AReportThatRankZeroDoesNotAnswerIsCarriedOutByItsRank) {
    std::atomic<bool> paused{false};
    auto watch = quick_watch();
    watch.silent_s = 30;
    watch.grace_s = 0.3;
    const auto ran = try_ranks(
        2,
        [&](Transport& transport) {
            if (transport.who().rank == 0) {
                paused = true;
                std::this_thread::sleep_for(Seconds{1.5});
                paused = false;
                wait_for_ever(transport, 1, "the rest");
            }
            std::this_thread::sleep_for(Seconds{0.2});
            throw Error(ExitCode::failure, "lost");
        },
        watch,
        [&](int rank, std::unique_ptr<Link> link) -> std::unique_ptr<Link> {
            if (rank != 0) return link;
            return std::make_unique<PausedLink>(std::move(link), paused);
        });
    expect_one_verdict(ran, 1, "rank 1 on h0", "lost");
}

TEST(Verdict, ATransportDestroyedWithoutLeavingEndsTheJob) {
    ThreadsHub hub{{"h0", "h1"}};
    std::vector<Verdict> verdicts;
    auto watch = quick_watch();
    std::thread other{[&hub, watch] {
        const Transport transport{[&] { return hub.link(1); }, watch};
        std::this_thread::sleep_for(Seconds{0.2});
    }};
    {
        watch.on_verdict = [&](const Verdict& verdict) { verdicts.push_back(verdict); };
        Transport transport{[&] { return hub.link(0); }, watch};
        EXPECT_THROW(transport.receive(1, {1, 1}, make_buffer(1), "never sent").wait(), Error);
        EXPECT_THROW(transport.receive(1, {1, 1}, make_buffer(1), "posted afterwards").wait(), Error);
        EXPECT_EQ(transport.leave(0), 1);
    }
    other.join();
    ASSERT_EQ(verdicts.size(), 1U);
    EXPECT_EQ(verdicts[0].culprit, "rank 1 on h1");
    EXPECT_EQ(verdicts[0].code, ExitCode::failure);
}

TEST(Leaving, EveryRankGetsRankZerosCodeWhenTheLastHasCome) {
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = try_ranks(5, [](Transport& transport) {
        if (transport.who().rank == 3) std::this_thread::sleep_for(Seconds{0.3});
    });
    EXPECT_GT(since(begin), 0.3);
    for (const auto& rank : ran.ranks) EXPECT_EQ(rank.left, 0);  // try_ranks leaves with the rank as code
}

TEST(Leaving, WhatIsInFlightIsDropped) {
    std::weak_ptr<void> keeper;
    std::vector<Future> futures(3);
    const auto ran = try_ranks(3, [&](Transport& transport) {
        const int rank = transport.who().rank;
        auto buffer = make_buffer(1000);
        if (rank == 1) keeper = buffer.keeper;
        futures[static_cast<std::size_t>(rank)] = transport.send((rank + 1) % 3, {1, 1}, std::move(buffer), "never received");
    });
    for (const auto& rank : ran.ranks) EXPECT_EQ(rank.left, 0);
    for (const auto& future : futures) EXPECT_THROW(static_cast<void>(future.wait_for(0)), Error);
    EXPECT_TRUE(keeper.expired());
}

TEST(Stopping, WaitsEndWithTheRequestAndAllLeaveTogether) {
    std::atomic<int> stopped{0};
    const auto ran = try_ranks(3, [&](Transport& transport) {
        if (transport.who().rank == 1) {  // computes its unit to the end first
            std::this_thread::sleep_for(Seconds{0.1});
            stop::request(SIGUSR1);
            std::this_thread::sleep_for(Seconds{0.3});
            EXPECT_EQ(stopped, 2);
            const auto done = transport.send(2, {2, 2}, make_buffer(4), "moves while the job stops");
            EXPECT_TRUE(done.wait_for(5));
            stop::here_if_requested();
        }
        const auto late = transport.receive(1, {2, 2}, make_buffer(4), "from the one that stops");
        const auto future = transport.receive(1, {1, 1}, make_buffer(8), "never sent");
        try {
            if (transport.who().rank == 2) {
                EXPECT_THROW(late.wait(), Error);
                ++stopped;
                EXPECT_TRUE(late.wait_for(5));
            }
            future.wait();
        } catch (const Error&) {
            if (transport.who().rank == 0) ++stopped;
            throw;
        }
    });
    stop::request(0);
    EXPECT_TRUE(ran.verdicts.empty());
    for (const auto& rank : ran.ranks) {
        EXPECT_EQ(rank.code, ExitCode::stopped);
        EXPECT_EQ(rank.left, 75);
    }
}

TEST(Starting, WhatMakesTheLinkMayThrow) {
    EXPECT_THROW((Transport{[]() -> std::unique_ptr<Link> { refuse("no network"); }, Watch{}}), Error);
}

TEST(Solo, ALoneRankHasNobodyToWaitFor) {
    std::vector<Verdict> verdicts;
    Watch watch;
    watch.on_verdict = [&](const Verdict& verdict) { verdicts.push_back(verdict); };
    {
        Transport transport{make_solo_link, watch};
        EXPECT_EQ(transport.who().name(), "rank 0 on " + this_host());
        EXPECT_EQ(transport.gather("me"), std::vector<std::string>{"me"});
        EXPECT_EQ(transport.broadcast("all"), "all");
        transport.barrier();
        EXPECT_THROW(transport.send(0, {1, 1}, make_buffer(1), "to itself"), Error);
        EXPECT_TRUE(Future{}.ready());
        EXPECT_EQ(transport.leave(7), 7);
    }
    { const Transport transport{make_solo_link, watch}; }
    EXPECT_TRUE(verdicts.empty());
    Transport transport{make_solo_link, watch};
    transport.fail(ExitCode::does_not_fit, "too large");
    ASSERT_EQ(verdicts.size(), 1U);
    EXPECT_EQ(verdicts[0].text, "too large");
}

TEST(Solo, AStalledRankEndsItsProcess) {
    const auto stall = [] {
        Watch watch;
        watch.stall_s = 0.2;
        watch.on_verdict = [](const Verdict& verdict) { std::fputs((verdict.text + "\n").c_str(), stderr); };
        Transport transport{make_solo_link, watch};
        transport.pulse().working("a pass", 0.01);
        std::this_thread::sleep_for(Seconds{20});
    };
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_EXIT(stall(), testing::ExitedWithCode(4), "no progress for 0.* s in a pass");
}

TEST(Buffers, BeginOnA64ByteBorder) {
    for (const std::size_t bytes : {0, 1, 63, 64, 65, 4096}) {
        const auto buffer = make_buffer(bytes);
        EXPECT_EQ(buffer.bytes.size(), bytes);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.bytes.data()) % 64, 0U);
    }
}

}  // namespace weft::comm

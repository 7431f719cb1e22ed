#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/nccl_calls.hpp"
#include "comm/transport.hpp"
#include "support/fake_nccl.hpp"
#include "support/ranks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

/// Device transfers over a stand-in for NCCL: ranks as threads, short times.
namespace weft::comm {

namespace {

using test::differs;
using test::FakeFence;
using test::FakeNccl;
using test::on_device;
using test::quick_watch;
using test::Ran;
using test::stamped;
using test::try_ranks;
using testing::AllOf;
using testing::HasSubstr;

using Seconds = std::chrono::duration<double>;
using Direction = Transfer::Direction;

double since(std::chrono::steady_clock::time_point begin) {
    return Seconds(std::chrono::steady_clock::now() - begin).count();
}

Transfer sending(int to, std::int64_t turn, Buffer buffer, int item = 0) {
    return {Direction::send, to, {1, item}, std::move(buffer), cat("message ", item), 0, turn};
}
Transfer receiving(int from, std::int64_t turn, Buffer buffer, int item = 0) {
    return {Direction::receive, from, {1, item}, std::move(buffer), cat("message ", item), 0, turn};
}
Buffer device_room(std::size_t bytes) {
    return on_device(make_buffer(bytes));
}

/// Ranks that have opened device transfers; then `body`.
Ran run_on(FakeNccl& nccl, int num_ranks, const std::function<void(Transport&)>& body, const Watch& watch = quick_watch()) {
    return try_ranks(
        num_ranks,
        [&](Transport& transport) {
            const auto result = transport.use_device_transfers(nccl.offer(transport.who().rank));
            EXPECT_TRUE(result.on) << result.reason;
            body(transport);
        },
        watch);
}

void expect_all_well(const Ran& ran, const FakeNccl& nccl) {
    for (std::size_t rank = 0; rank < ran.ranks.size(); ++rank) EXPECT_EQ(ran.ranks[rank].error, "") << "thrown by rank " << rank;
    EXPECT_TRUE(ran.verdicts.empty());
    EXPECT_EQ(nccl.misuse(), "");
    EXPECT_EQ(nccl.counts().destroyed, static_cast<int>(ran.ranks.size()));
    EXPECT_EQ(nccl.counts().aborted, 0);
    EXPECT_EQ(nccl.counts().alive, 0);
}

/// Passes fences after random times, as a GPU that comes to them.
class LateFences {
  public:
    LateFences(std::uint64_t seed, double longest_s) : random_{seed}, longest_s_{longest_s}, thread_{[this] { run(); }} {}
    LateFences(const LateFences&) = delete;
    LateFences& operator=(const LateFences&) = delete;
    ~LateFences() {
        {
            const std::lock_guard lock{mutex_};
            ending_ = true;
        }
        bell_.notify_all();
        thread_.join();
    }
    [[nodiscard]] FakeFence make() {
        FakeFence fence;
        {
            const std::lock_guard lock{mutex_};
            fences_.push_back(fence);
        }
        bell_.notify_all();
        return fence;
    }

  private:
    void run() {
        std::unique_lock lock{mutex_};
        while (true) {
            bell_.wait(lock, [this] { return ending_ || !fences_.empty(); });
            if (ending_) return;
            auto fence = fences_.front();
            fences_.pop_front();
            const Seconds late{std::uniform_real_distribution<>{0, longest_s_}(random_)};
            lock.unlock();
            std::this_thread::sleep_for(late);
            fence.pass();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable bell_;
    std::deque<FakeFence> fences_;
    bool ending_ = false;
    std::mt19937_64 random_;
    double longest_s_;
    std::thread thread_;
};

/// One of all messages of a job, in their total order.
struct Message {
    int number = 0;
    int from = 0;
    int to = 0;
    std::size_t bytes = 0;
    bool device = true;
};

std::vector<Message> random_messages(int num_ranks, int number, double host_share, std::mt19937_64& random) {
    std::vector<Message> all;
    const auto below = [&](int limit) { return std::uniform_int_distribution<>{0, limit - 1}(random); };
    for (int i = 0; i < number; ++i) {
        Message one;
        one.number = i;
        one.from = below(num_ranks);
        one.to = (one.from + 1 + below(num_ranks - 1)) % num_ranks;
        if (i > 0 && below(3) == 0) {  // crosses the one before
            one.from = all.back().to;
            one.to = all.back().from;
        }
        one.bytes = below(8) == 0 ? 0 : static_cast<std::size_t>(below(5000));
        one.device = std::uniform_real_distribution<>{0, 1}(random) >= host_share;
        all.push_back(one);
    }
    return all;
}

/// One rank's program: its messages in order. Receives, and some sends, are posted up to `ahead` places early; other sends first wait for a receive that
/// comes before them, as one does whose bytes are computed from it.
void run_program(Transport& transport, const std::vector<Message>& all, std::uint64_t seed, int ahead) {
    const int rank = transport.who().rank;
    std::mt19937_64 random{seed + static_cast<std::uint64_t>(rank)};
    const auto one_in = [&](int number) { return std::uniform_int_distribution<>{0, number - 1}(random) == 0; };
    LateFences fences{random(), 0.0002};
    struct Mine {
        Message message;
        std::int64_t turn = -1;
        bool free = false;  // may be posted early
        bool posted = false;
        Buffer buffer;
        Future future;
    };
    std::vector<Mine> mine;
    std::int64_t turns = 0;
    for (const auto& message : all)
        if (message.from == rank || message.to == rank)
            mine.push_back({message, message.device ? turns++ : -1, message.to == rank || one_in(3), false, {}, {}});

    const auto post = [&](Mine& one) {
        one.posted = true;
        const auto& message = one.message;
        one.buffer = message.from == rank ? stamped(message.bytes, message.number) : make_buffer(message.bytes);
        if (message.device) {
            if (one_in(2)) {
                const auto fence = fences.make();
                one.buffer = on_device(one.buffer, &fence);
            } else
                one.buffer = on_device(one.buffer);
        }
        std::vector<Transfer> group;
        group.push_back({message.from == rank ? Direction::send : Direction::receive,
                         message.from == rank ? message.to : message.from,
                         {2, message.number},
                         one.buffer,
                         cat("message ", message.number),
                         0,
                         one.turn});
        one.future = transport.post(std::move(group)).front();
    };
    // Host messages of a pair and direction are posted in order: none overtakes one that is not free.
    const auto overtakes = [&](std::size_t at) {
        const auto& one = mine[at].message;
        if (one.device) return false;
        return std::any_of(mine.begin(), mine.begin() + static_cast<std::ptrdiff_t>(at), [&](const Mine& other) {
            return !other.posted && !other.message.device && other.message.from == one.from && other.message.to == one.to;
        });
    };
    for (std::size_t at = 0; at < mine.size(); ++at) {
        for (std::size_t next = at; next < std::min(mine.size(), at + static_cast<std::size_t>(ahead)); ++next)
            if (mine[next].free && !mine[next].posted && !overtakes(next)) post(mine[next]);
        if (!mine[at].posted) {
            for (std::size_t before = at; before-- > 0;)
                if (mine[before].message.to == rank) {
                    transport.pulse().waiting(cat("message ", mine[before].message.number));
                    mine[before].future.wait();
                    break;
                }
            post(mine[at]);
        }
        if (one_in(10)) std::this_thread::sleep_for(Seconds{0.0003});
    }
    for (const auto& one : mine) {
        transport.pulse().waiting(cat("message ", one.message.number));
        one.future.wait();
        if (one.message.to == rank) {
            EXPECT_EQ(differs(one.buffer, one.message.number), "") << "message " << one.message.number;
        }
    }
}

void run_random_programs(int num_ranks, double host_share, std::uint64_t seed) {
    std::mt19937_64 random{seed};
    const auto all = random_messages(num_ranks, 40 * num_ranks, host_share, random);
    FakeNccl::Settings settings;
    settings.seed = seed;
    settings.slow_s = 0.0002;
    FakeNccl nccl{num_ranks, settings};
    auto watch = quick_watch();
    watch.all_wait_s = 5;
    const int ahead = 1 + static_cast<int>(seed % 7);
    const auto ran = run_on(
        nccl, num_ranks, [&](Transport& transport) { run_program(transport, all, seed, ahead); }, watch);
    for (const auto& [rank, verdict] : ran.verdicts) ADD_FAILURE() << "seed " << seed << ": " << verdict.text;
    expect_all_well(ran, nccl);
}

class DeviceTransfersOf : public testing::TestWithParam<int> {};

}  // namespace

INSTANTIATE_TEST_SUITE_P(Ranks, DeviceTransfersOf, testing::Values(2, 3, 5, 8), testing::PrintToStringParamName());

TEST_P(DeviceTransfersOf, AnyTotalOrderOfMessagesEnds) {
    for (std::uint64_t seed = 1; seed <= 8; ++seed) run_random_programs(GetParam(), 0, seed);
}

TEST_P(DeviceTransfersOf, AnyTotalOrderEndsWithHostMessagesBetween) {
    for (std::uint64_t seed = 101; seed <= 108; ++seed) run_random_programs(GetParam(), 0.4, seed);
}

TEST_P(DeviceTransfersOf, NeighboursCrossInGroups) {
    const int size = GetParam();
    FakeNccl nccl{size};
    const auto ran = run_on(nccl, size, [&](Transport& transport) {
        const int rank = transport.who().rank;
        for (std::int64_t round = 0; round < 5; ++round) {
            std::vector<Transfer> group;
            std::vector<std::pair<Buffer, int>> rooms;
            std::int64_t turn = round * ((rank > 0 ? 2 : 0) + (rank + 1 < size ? 2 : 0));
            for (const int peer : {rank - 1, rank + 1}) {  // pair (r, r + 1): first to the right, then to the left
                if (peer < 0 || peer >= size) continue;
                const int stamp = static_cast<int>(round);
                rooms.emplace_back(device_room(3000), 100 * peer + stamp);
                auto there = sending(peer, peer > rank ? turn : turn + 1, on_device(stamped(3000, 100 * rank + stamp)), stamp);
                auto here = receiving(peer, peer > rank ? turn + 1 : turn, rooms.back().first, stamp);
                group.push_back(std::move(there));
                group.push_back(std::move(here));
                turn += 2;
            }
            transport.barrier();
            for (const auto& future : transport.post(std::move(group))) future.wait();
            for (const auto& [room, of] : rooms) EXPECT_EQ(differs(room, of), "");
        }
    });
    expect_all_well(ran, nccl);
    EXPECT_EQ(nccl.counts().operations, 5 * 4 * (size - 1));
    // Whatever the times, the two that cross in front of a rank's list go together.
    EXPECT_LE(nccl.counts().groups, nccl.counts().operations / 2 + 5 * (size - 2));
    EXPECT_GE(nccl.counts().largest_group, 2);
}

TEST(DeviceTransfers, OpenWithTheirReasonAndCloseInOrder) {
    FakeNccl nccl{3};
    const auto ran = try_ranks(3, [&](Transport& transport) {
        EXPECT_FALSE(transport.carries_device());
        if (transport.who().rank == 1) std::this_thread::sleep_for(Seconds{0.1});
        const auto result = transport.use_device_transfers(nccl.offer(transport.who().rank), DeviceWish::required);
        EXPECT_TRUE(result.on);
        EXPECT_EQ(result.reason, "NCCL 2.28.9, each of 3 ranks with its own GPU");
        EXPECT_TRUE(transport.carries_device());
    });
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, AreNotNeededByALoneRank) {
    FakeNccl nccl{1};
    Transport transport{make_solo_link, quick_watch()};
    EXPECT_FALSE(transport.use_device_transfers(nccl.offer(0)).on);
    const auto result = transport.use_device_transfers(nccl.offer(0), DeviceWish::required);
    EXPECT_EQ(result.reason, "NCCL 2.28.9, each of 1 ranks with its own GPU");
    EXPECT_EQ(transport.leave(0), 0);
    EXPECT_EQ(nccl.counts().destroyed, 1);
    EXPECT_EQ(nccl.misuse(), "");
}

namespace {
/// All ranks go on over host buffers, for this reason.
void expect_fallback(FakeNccl& nccl, int num_ranks, const testing::Matcher<const std::string&>& reason) {
    const auto ran = try_ranks(num_ranks, [&](Transport& transport) {
        const int rank = transport.who().rank;
        const auto result = transport.use_device_transfers(nccl.offer(rank));
        EXPECT_FALSE(result.on);
        EXPECT_THAT(result.reason, reason);
        EXPECT_FALSE(transport.carries_device());
        EXPECT_THROW(transport.post({receiving((rank + 1) % num_ranks, 0, device_room(8))}), Error);
        const auto sent = transport.send((rank + 1) % num_ranks, {1, 1}, stamped(100, rank), "host bytes");
        const auto room = make_buffer(100);
        transport.receive((rank + num_ranks - 1) % num_ranks, {1, 1}, room, "host bytes").wait();
        sent.wait();
        EXPECT_EQ(differs(room, (rank + num_ranks - 1) % num_ranks), "");
    });
    for (const auto& rank : ran.ranks) EXPECT_EQ(rank.error, "");
    EXPECT_EQ(nccl.misuse(), "");
    EXPECT_EQ(nccl.counts().alive, 0);
}
}  // namespace

TEST(DeviceTransfers, FallBackWhereARankHasNoDevice) {
    FakeNccl some{5, {.no_device_at = "1 4"}};
    expect_fallback(some, 5, "through host buffers: rank 1 on h0, rank 4 on h2: no GPU: the driver shows none");
    FakeNccl none{2, {.no_device_at = "0 1"}};
    expect_fallback(none, 2, "through host buffers: all ranks: no GPU: the driver shows none");
}

TEST(DeviceTransfers, FallBackWhereRanksShareADevice) {
    FakeNccl nccl{3, {.gpu = "0000:01:00.0"}};  // ranks 0 and 1 are on h0
    expect_fallback(nccl, 3,
                    AllOf(HasSubstr("through host buffers: ranks 0, 1 share GPU 0000:01:00.0 of h0, and NCCL 2.28.9 wants one for each"),
                          HasSubstr("NCCL_MULTI_RANK_GPU_ENABLE=1")));
}

TEST(DeviceTransfers, MayShareADeviceWhereNcclAllowsIt) {
    FakeNccl nccl{3, {.version = 23003, .gpu = "0000:01:00.0", .may_share = true}};
    const auto ran = try_ranks(
        3, [&](Transport& transport) { EXPECT_EQ(transport.use_device_transfers(nccl.offer(transport.who().rank)).reason, "NCCL 2.30.3, 3 ranks on 2 GPUs"); });
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, FallBackWhereTheCommunicatorCannotBeMade) {
    for (const int culprit : {0, 2}) {
        FakeNccl nccl{3, {.init_fails_at = culprit}};
        expect_fallback(nccl, 3,
                        AllOf(HasSubstr(cat("NCCL failed while making a communicator of all ranks: rank ", culprit, " on h", culprit / 2)),
                              HasSubstr("unhandled system error; the stand-in of rank ")));
    }
}

TEST(DeviceTransfers, AreRefusedWhereTheyAreAskedForAndCannotBe) {
    FakeNccl nccl{3, {.no_device_at = "2"}};
    const auto ran = try_ranks(3, [&](Transport& transport) {
        try {
            transport.use_device_transfers(nccl.offer(transport.who().rank), DeviceWish::required);
            ADD_FAILURE() << "not refused";
        } catch (const Error& error) {
            EXPECT_EQ(error.code(), ExitCode::user_mistake);
            EXPECT_THAT(error.what(), HasSubstr("rank 2 on h1: no GPU"));
        }
    });
    EXPECT_TRUE(ran.verdicts.empty());
}

TEST(DeviceTransfers, OpeningEndsWithTheJob) {
    FakeNccl nccl{3};
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = try_ranks(3, [&](Transport& transport) {
        if (transport.who().rank == 1) throw Error(ExitCode::does_not_fit, "no room for the model");
        transport.use_device_transfers(nccl.offer(transport.who().rank));
    });
    EXPECT_LT(since(begin), 3);
    EXPECT_THAT(ran.ranks[2].error, HasSubstr("rank 1 on h0: no room for the model"));
    EXPECT_EQ(nccl.counts().alive, 0);
}

TEST(DeviceTransfers, EmptyOnesEndWhenBothSidesHaveCome) {
    FakeNccl nccl{2};
    const auto ran = run_on(nccl, 2, [](Transport& transport) {
        if (transport.who().rank == 0) {
            const auto sent = transport.post({sending(1, 0, device_room(0))}).front();
            EXPECT_FALSE(sent.wait_for(0.1));
            sent.wait();
        } else {
            std::this_thread::sleep_for(Seconds{0.2});
            transport.post({receiving(0, 0, device_room(0))}).front().wait();
        }
    });
    expect_all_well(ran, nccl);
    EXPECT_EQ(nccl.counts().operations, 0);
}

TEST(DeviceTransfers, NothingIsOnTheGpuBeforeBothSidesCanMove) {
    FakeNccl nccl{2};
    FakeFence final_bytes;
    const auto ran = run_on(nccl, 2, [&](Transport& transport) {
        const auto early = transport.who().rank == 0 ? transport.post({sending(1, 0, on_device(stamped(64, 5), &final_bytes))}).front()
                                                     : transport.post({receiving(0, 0, device_room(64))}).front();
        EXPECT_FALSE(early.wait_for(0.1));
        EXPECT_EQ(nccl.counts().groups, 0);
        transport.barrier();
        if (transport.who().rank == 0) final_bytes.pass();
        early.wait();
    });
    expect_all_well(ran, nccl);
    EXPECT_EQ(nccl.counts().groups, 2);
}

TEST(DeviceTransfers, AGroupHoldsNoneWhosePeerHasNotComeToIt) {
    // In order: 0 (1 to 0), 1 (0 to 3 over host memory, after 0), 2 (3 to 2, after 1), 3 (0 to 2). Were 3 in one group with 0, 0 would end with 3, behind 2.
    FakeNccl nccl{4};
    auto watch = quick_watch();
    watch.all_wait_s = 2;
    const auto ran = run_on(
        nccl, 4,
        [](Transport& transport) {
            transport.pulse().waiting("the four messages");
            const auto host_room = make_buffer(16);
            switch (transport.who().rank) {
                case 0: {
                    const auto futures = transport.post({receiving(1, 0, device_room(16), 0), sending(2, 1, device_room(16), 3)});
                    futures[0].wait();
                    transport.send(3, {1, 1}, host_room, "message 1").wait();
                    return futures[1].wait();
                }
                case 1: std::this_thread::sleep_for(Seconds{0.1}); return transport.post({sending(0, 0, device_room(16), 0)}).front().wait();
                case 2:
                    for (const auto& future : transport.post({receiving(3, 0, device_room(16), 2), receiving(0, 1, device_room(16), 3)})) future.wait();
                    return;
                default: transport.receive(0, {1, 1}, host_room, "message 1").wait(); return transport.post({sending(2, 0, device_room(16), 2)}).front().wait();
            }
        },
        watch);
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, ALaterTurnPostedEarlierWaits) {
    FakeNccl nccl{2};
    const auto ran = run_on(nccl, 2, [](Transport& transport) {
        const bool sends = transport.who().rank == 0;
        std::vector<Buffer> buffers;
        std::vector<Future> futures;
        for (const int turn : {3, 1, 2}) {
            buffers.push_back(on_device(sends ? stamped(500, turn) : make_buffer(500)));
            futures.push_back(transport.post({sends ? sending(1, turn, buffers.back(), turn) : receiving(0, turn, buffers.back(), turn)}).front());
        }
        EXPECT_FALSE(futures[1].wait_for(0.1));
        transport.post({sends ? sending(1, 0, on_device(stamped(1, 0))) : receiving(0, 0, device_room(1))}).front().wait();
        for (const auto& future : futures) future.wait();
        EXPECT_EQ(differs(buffers[0], 3) + differs(buffers[1], 1) + differs(buffers[2], 2), "");
    });
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, TrafficIsCounted) {
    FakeNccl nccl{2};
    const auto ran = run_on(nccl, 2, [](Transport& transport) {
        if (transport.who().rank == 0) {
            transport.post({sending(1, 0, on_device(stamped(1000, 1)))}).front().wait();
            EXPECT_EQ(transport.traffic().of_kind(1).bytes, 1000);
        } else
            transport.post({receiving(0, 0, device_room(1000))}).front().wait();
    });
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, TurnsAreChecked) {
    FakeNccl nccl{2};
    const auto ran = run_on(nccl, 2, [](Transport& transport) {
        const int peer = 1 - transport.who().rank;
        const auto wrong = [&](Transfer transfer) {
            try {
                transport.post({std::move(transfer)});
            } catch (const Error& error) {
                return std::string{error.what()};
            }
            return std::string{"nothing was thrown"};
        };
        EXPECT_THAT(wrong(receiving(peer, -1, device_room(8))), HasSubstr("a device buffer without a turn: message 0"));
        EXPECT_THAT(wrong(receiving(peer, 0, make_buffer(8))), HasSubstr("a host buffer with a turn"));
        const bool sends = transport.who().rank == 0;
        const auto post = [&](int turn) { return transport.post({sends ? sending(1, turn, device_room(8)) : receiving(0, turn, device_room(8))}).front(); };
        const auto later = post(1);
        EXPECT_THAT(wrong(receiving(peer, 1, device_room(8))), HasSubstr("turn 1 a second time"));
        post(0).wait();
        later.wait();
        EXPECT_THAT(wrong(receiving(peer, 0, device_room(8))), HasSubstr("turn 0 a second time"));
    });
    expect_all_well(ran, nccl);
}

TEST(DeviceTransfers, SidesThatDisagreeAreNamedAndNothingReachesTheGpu) {
    FakeNccl nccl{2};
    const auto ran = run_on(nccl, 2, [](Transport& transport) {
        const auto text = [](const Future& future) {
            try {
                future.wait();
            } catch (const Error& error) {
                return std::string{error.what()};
            }
            return std::string{"nothing was thrown"};
        };
        const bool sends = transport.who().rank == 0;
        const auto post = [&](int turn, std::size_t bytes, int item) {
            return transport.post({sends ? sending(1, turn, device_room(bytes), item) : receiving(0, turn, device_room(bytes), item)}).front();
        };
        // Two messages in the other order, then a wrong size.
        const auto first = post(0, 96, sends ? 17 : 18);
        const auto second = post(1, 96, sends ? 18 : 17);
        const auto third = post(2, sends ? 90 : 96, 19);
        const auto last = post(3, 8, 20);
        EXPECT_THAT(text(first), AllOf(HasSubstr(sends ? "message 17: sending to rank 1 on h0 failed" : "message 18: receiving from rank 0 on h0 failed"),
                                       HasSubstr("the sender sends kind 1, item 17, 96 bytes; the receiver expects kind 1, item 18, 96 bytes")));
        EXPECT_THAT(text(second), HasSubstr("the sender sends kind 1, item 18, 96 bytes; the receiver expects kind 1, item 17, 96 bytes"));
        EXPECT_THAT(text(third), HasSubstr("the sender sends kind 1, item 19, 90 bytes; the receiver expects kind 1, item 19, 96 bytes"));
        last.wait();
    });
    expect_all_well(ran, nccl);
    EXPECT_EQ(nccl.counts().operations, 2);
}

TEST(DeviceTransfers, RanksWhoseOrdersDisagreeAreFoundAndSayWhatTheyWaitFor) {
    FakeNccl nccl{3};
    auto watch = quick_watch();
    watch.all_wait_s = 0.5;
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = run_on(
        nccl, 3,
        [](Transport& transport) {
            // Each receives first: no order of the three messages gives that.
            const int rank = transport.who().rank;
            transport.pulse().waiting(cat("message ", rank));
            for (const auto& future :
                 transport.post({receiving((rank + 2) % 3, 0, device_room(8), (rank + 2) % 3), sending((rank + 1) % 3, 1, device_room(8), rank)}))
                future.wait();
        },
        watch);
    EXPECT_LT(since(begin), 4);
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_THAT(ran.verdicts[0].second.text,
                AllOf(HasSubstr("all ranks wait for each other"), HasSubstr("rank 1 on h0 waits for message 1; its device transfer 0 (receiving from rank 0 on "
                                                                            "h0: message 0) waits for its peer to come to it")));
    EXPECT_EQ(nccl.counts().alive, 0);
}

TEST(DeviceTransfers, ATurnThatIsNeverPostedIsNamed) {
    FakeNccl nccl{2};
    auto watch = quick_watch();
    watch.all_wait_s = 0.5;
    const auto ran = run_on(
        nccl, 2,
        [](Transport& transport) {
            const bool sends = transport.who().rank == 0;
            transport.pulse().waiting("a message");
            transport.post({sends ? sending(1, 1, device_room(8)) : receiving(0, 0, device_room(8))}).front().wait();
        },
        watch);
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_THAT(ran.verdicts[0].second.text, HasSubstr("its device transfer 1 (sending to rank 1 on h0: message 0) waits for turn 0, which was not posted"));
}

namespace {
/// A ring that goes round until something ends it.
void go_round(Transport& transport) {
    const int rank = transport.who().rank;
    const int size = transport.who().size;
    transport.pulse().waiting("the ring");
    for (std::int64_t round = 0; round < 100000; ++round) {
        std::vector<Future> futures;
        // Message r of a round goes from rank r to the next; the last one's turns are the other way round.
        for (const bool receives : {rank > 0, rank == 0}) {
            const std::int64_t turn = 2 * round + static_cast<std::int64_t>(futures.size());
            futures.push_back(transport
                                  .post({receives ? receiving((rank + size - 1) % size, turn, device_room(64), static_cast<int>(round))
                                                  : sending((rank + 1) % size, turn, on_device(stamped(64, rank)), static_cast<int>(round))})
                                  .front());
        }
        for (const auto& future : futures) future.wait();
    }
    ADD_FAILURE() << "nothing ended the ring";
}

void expect_culprit(const Ran& ran, const FakeNccl& nccl, int culprit, const testing::Matcher<const std::string&>& text) {
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_EQ(ran.verdicts[0].first, 0);
    EXPECT_EQ(ran.verdicts[0].second.culprit, cat("rank ", culprit, " on h", culprit / 2));
    EXPECT_EQ(ran.verdicts[0].second.code, ExitCode::rank_failed);
    EXPECT_THAT(ran.verdicts[0].second.text, text);
    for (const auto& rank : ran.ranks) EXPECT_THAT(rank.error, text);
    EXPECT_EQ(nccl.misuse(), "");
}
}  // namespace

TEST(DeviceTransfers, AnErrorInTheCommunicatorNamesTheRankAndEndsTheJob) {
    for (const int culprit : {0, 1, 4}) {
        FakeNccl nccl{5, {.breaks_at = culprit, .breaks_after = 20}};
        const auto begin = std::chrono::steady_clock::now();
        const auto ran = run_on(nccl, 5, go_round);
        EXPECT_LT(since(begin), 5);
        expect_culprit(ran, nccl, culprit,
                       AllOf(HasSubstr("NCCL failed while "), HasSubstr("message "), HasSubstr("unhandled system error; the stand-in of rank "),
                             HasSubstr("nccl_link.cpp:")));
        EXPECT_EQ(nccl.counts().alive, 0);
        EXPECT_EQ(nccl.counts().aborted, 5);
    }
}

TEST(DeviceTransfers, ARefusedSendNamesTheRankAndWhatItSent) {
    FakeNccl nccl{3, {.send_fails_at = 1}};
    const auto ran = run_on(nccl, 3, go_round);
    expect_culprit(ran, nccl, 1, HasSubstr("NCCL failed while sending to rank 2 on h1: message 0: unhandled system error"));
    EXPECT_EQ(nccl.counts().aborted, 3);
}

TEST(DeviceTransfers, AnAbortThatHangsDoesNotHoldTheJob) {
    FakeNccl nccl{3, {.breaks_at = 1, .breaks_after = 5, .abort_hangs_at = 2}};
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = run_on(nccl, 3, go_round);
    EXPECT_LT(since(begin), 7);
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_EQ(ran.verdicts[0].second.culprit, "rank 1 on h0");
    while (nccl.counts().alive > 0) std::this_thread::sleep_for(Seconds{0.05});  // its thread ends before the test does
}

TEST(DeviceTransfers, ARankThatFailsElsewhereEndsThemToo) {
    FakeNccl nccl{3};
    const auto ran = run_on(nccl, 3, [](Transport& transport) {
        if (transport.who().rank == 2) {
            std::this_thread::sleep_for(Seconds{0.2});
            throw Error(ExitCode::does_not_fit, "out of memory in pass 7");
        }
        go_round(transport);
    });
    ASSERT_EQ(ran.verdicts.size(), 1U);
    EXPECT_EQ(ran.verdicts[0].second.text, "out of memory in pass 7");
    EXPECT_EQ(nccl.counts().aborted, 3);
    EXPECT_EQ(nccl.counts().alive, 0);
}

TEST(DeviceTransfers, AStopLeavesInOrderWithTransfersInFlight) {
    FakeNccl nccl{3};
    std::weak_ptr<void> keeper;
    const auto begin = std::chrono::steady_clock::now();
    const auto ran = run_on(nccl, 3, [&](Transport& transport) {
        const int rank = transport.who().rank;
        auto room = device_room(100);
        if (rank == 1) keeper = room.keeper;
        std::vector<Future> futures = transport.post({receiving((rank + 1) % 3, 0, std::move(room))});
        if (rank == 1) stop::request(SIGUSR1);
        futures.front().wait();
    });
    stop::request(0);
    EXPECT_LT(since(begin), 4);
    for (const auto& rank : ran.ranks) EXPECT_EQ(rank.left, 75);
    EXPECT_TRUE(keeper.expired());
    EXPECT_EQ(nccl.misuse(), "");
    EXPECT_EQ(nccl.counts().destroyed, 3);
}

TEST(DeviceTransfers, ThisMachineOffersAGpuOrSaysWhyNot) {
    const auto offer = offer_device(0);
    EXPECT_EQ(offer.why_not.empty(), offer.calls != nullptr);
    EXPECT_EQ(offer.why_not.empty(), !offer.gpu.empty());
    EXPECT_NE(nccl_version(), "");
}

// The stand-in is as strict as it says.

namespace {
using Calls = std::shared_ptr<NcclCalls>;

void wait_until_through(const Calls& calls) {
    for (NcclCalls::Code code = NcclCalls::in_progress; code == NcclCalls::in_progress;) EXPECT_EQ(calls->state(code), NcclCalls::success);
}

std::vector<Calls> opened(FakeNccl& nccl, int num_ranks) {
    std::vector<Calls> all;
    NcclCalls::Id id{};
    for (int rank = 0; rank < num_ranks; ++rank) {
        all.push_back(nccl.calls(rank));
        if (rank == 0) {
            EXPECT_EQ(all[0]->unique_id(id), NcclCalls::success);
        }
        EXPECT_EQ(all.back()->init(id, rank, num_ranks), NcclCalls::in_progress);
    }
    for (const auto& calls : all) wait_until_through(calls);
    return all;
}

std::shared_ptr<void> give(const Calls& calls, const std::vector<std::pair<int, Buffer>>& sends, const std::vector<std::pair<int, Buffer>>& receives) {
    EXPECT_EQ(calls->group_start(), NcclCalls::success);
    for (const auto& [peer, buffer] : sends) EXPECT_EQ(calls->send(buffer.bytes, peer), NcclCalls::success);
    for (const auto& [peer, buffer] : receives) EXPECT_EQ(calls->receive(buffer.bytes, peer), NcclCalls::success);
    EXPECT_EQ(calls->group_end(), NcclCalls::in_progress);
    wait_until_through(calls);
    return calls->mark();
}
}  // namespace

TEST(FakeNccl, HangsWhereTwoSendFirstAndMovesWhereTheyDoSoInGroups) {
    FakeNccl nccl{2};
    const auto ranks = opened(nccl, 2);
    const std::vector rooms{make_buffer(9), make_buffer(9)};
    const std::vector bytes{stamped(9, 0), stamped(9, 1)};
    std::vector<std::shared_ptr<void>> ends;
    for (const std::size_t rank : {0, 1}) {
        const int peer = 1 - static_cast<int>(rank);
        ends.push_back(give(ranks[rank], {{peer, bytes[rank]}}, {{peer, rooms[rank]}}));
    }
    for (const auto& end : ends)
        while (!ranks[0]->passed(end.get())) std::this_thread::yield();
    EXPECT_EQ(differs(rooms[0], 1) + differs(rooms[1], 0), "");

    ends.clear();
    for (const std::size_t rank : {0, 1}) {
        const int peer = 1 - static_cast<int>(rank);
        ends.push_back(give(ranks[rank], {{peer, bytes[rank]}}, {}));
        ends.push_back(give(ranks[rank], {}, {{peer, rooms[rank]}}));
    }
    std::this_thread::sleep_for(Seconds{0.2});
    for (const auto& end : ends) EXPECT_FALSE(ranks[0]->passed(end.get()));
    EXPECT_EQ(nccl.misuse(), "");
    for (const auto& calls : ranks) calls->abort();
}

TEST(FakeNccl, NotesWrongSizesAndCallsWhileInProgress) {
    FakeNccl nccl{2};
    const auto ranks = opened(nccl, 2);
    const auto bytes = stamped(9, 3);
    const auto room = make_buffer(8);
    give(ranks[0], {{1, bytes}}, {});
    give(ranks[1], {}, {{0, room}});
    NcclCalls::Code code = NcclCalls::success;
    while (code == NcclCalls::success) EXPECT_EQ(ranks[1]->state(code), NcclCalls::success);
    EXPECT_EQ(nccl.misuse(), "rank 0 sends 9 bytes where rank 1 expects 8\n");
    for (const auto& calls : ranks) calls->abort();

    FakeNccl slow{1, {.slow_s = 10}};
    const auto calls = slow.calls(0);
    EXPECT_EQ(calls->init(NcclCalls::Id{}, 0, 1), NcclCalls::in_progress);
    EXPECT_EQ(calls->group_start(), NcclCalls::success);
    EXPECT_THAT(slow.misuse(), AllOf(HasSubstr("another's id"), HasSubstr("calls group_start while its communicator is in progress")));
    calls->abort();
}

}  // namespace weft::comm

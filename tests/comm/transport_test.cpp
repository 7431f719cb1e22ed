#include "comm/transport.hpp"
#include "base/text.hpp"
#include "support/fake_nccl.hpp"
#include "support/ranks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

/// What every transport must do; runs over threads, and over MPI when mpirun starts this program.
namespace weft::comm {

namespace {

using test::differs;
using test::run_ranks;
using test::stamped;
using testing::AllOf;
using testing::HasSubstr;

double seconds_since(std::chrono::steady_clock::time_point begin) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// 1000 * from + number: whose the bytes are.
int stamp(int from, int number) {
    return 1000 * from + number;
}

class TransportOf : public testing::TestWithParam<int> {};

std::string text_thrown_by(const Future& future) {
    try {
        future.wait();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::rank_failed);
        return error.what();
    }
    return "nothing was thrown";
}

}  // namespace

INSTANTIATE_TEST_SUITE_P(Ranks, TransportOf, testing::ValuesIn(test::rank_counts({1, 2, 3, 5, 8})), testing::PrintToStringParamName());

TEST_P(TransportOf, EveryoneIsKnownByRankAndHost) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto& me = transport.who();
        ASSERT_EQ(transport.everyone().size(), static_cast<std::size_t>(me.size));
        int before_me = 0;
        int here = 0;
        for (int rank = 0; rank < me.size; ++rank) {
            const auto& one = transport.everyone()[static_cast<std::size_t>(rank)];
            EXPECT_EQ(one.rank, rank);
            EXPECT_EQ(one.size, me.size);
            EXPECT_GT(one.pid, 0);
            here += one.host == me.host ? 1 : 0;
            before_me += one.host == me.host && rank < me.rank ? 1 : 0;
        }
        EXPECT_EQ(me.node_rank, before_me);
        EXPECT_EQ(me.node_size, here);
        EXPECT_EQ(me.name(), cat("rank ", me.rank, " on ", me.host));
        EXPECT_EQ(transport.speaks(), me.rank == 0);
    });
}

TEST_P(TransportOf, MessagesOfManySizesArriveInOrderFromEverybody) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        const std::vector<std::size_t> sizes{0, 1, 7, 4095, 65537, 0, 300000, 3};
        std::vector<Future> futures;
        std::vector<std::pair<Buffer, int>> got;
        for (std::size_t i = 0; i < sizes.size(); ++i)
            for (int other = 0; other < size; ++other) {
                if (other == rank) continue;
                const int number = static_cast<int>(i);
                const auto what = cat("message ", i);
                futures.push_back(transport.send(other, {2, number}, stamped(sizes[i], stamp(rank, number)), what));
                got.emplace_back(make_buffer(sizes[i]), stamp(other, number));
                futures.push_back(transport.receive(other, {2, number}, got.back().first, what));
            }
        for (const auto& future : futures) future.wait();
        for (const auto& [buffer, from] : got) EXPECT_EQ(differs(buffer, from), "");
    });
}

TEST_P(TransportOf, SixteenMegabytesGoRoundTheRing) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        if (size == 1) return;
        constexpr std::size_t bytes = std::size_t{16} << 20;
        const auto into = make_buffer(bytes);
        const auto sent = transport.send((rank + 1) % size, {3, 7}, stamped(bytes, rank), "round the ring");
        transport.receive((rank + size - 1) % size, {3, 7}, into, "round the ring").wait();
        sent.wait();
        EXPECT_EQ(differs(into, (rank + size - 1) % size), "");
    });
}

TEST_P(TransportOf, ManyTransfersAreInFlightAtOnce) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        if (size == 1) return;
        constexpr int number = 500;
        const int to = (rank + 1) % size;
        const int from = (rank + size - 1) % size;
        std::vector<Transfer> group;
        std::vector<Buffer> got;
        for (int i = 0; i < number; ++i) {
            got.push_back(make_buffer(100));
            group.push_back({Transfer::Direction::receive, from, {1, i}, got.back(), cat("receive ", i), 0});
        }
        for (int i = 0; i < number; ++i) group.push_back({Transfer::Direction::send, to, {1, i}, stamped(100, stamp(rank, i)), cat("send ", i), 0});
        for (const auto& future : transport.post(std::move(group))) future.wait();
        for (int i = 0; i < number; ++i) EXPECT_EQ(differs(got[static_cast<std::size_t>(i)], stamp(from, i)), "");
    });
}

TEST_P(TransportOf, ASendEndsOnlyWhenItsReceiveIsPosted) {
    run_ranks(GetParam(), [](Transport& transport) {
        if (transport.who().size == 1 || transport.who().rank > 1) return;
        if (transport.who().rank == 0) {
            const auto future = transport.send(1, {0, 1}, stamped(4, 1), "a small message");
            EXPECT_FALSE(future.wait_for(0.2));
            EXPECT_FALSE(future.ready());
            transport.send(1, {0, 2}, stamped(0, 1), "an empty message behind it").wait();
            future.wait();
            EXPECT_TRUE(future.ready());
        } else {
            std::this_thread::sleep_for(std::chrono::milliseconds{400});
            const auto into = make_buffer(4);
            transport.receive(0, {0, 1}, into, "a small message").wait();
            transport.receive(0, {0, 2}, make_buffer(0), "an empty message behind it").wait();
            EXPECT_EQ(differs(into, 1), "");
        }
    });
}

TEST_P(TransportOf, ASendThatIsNotReadyHoldsBackTheSamePeerOnly) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        if (size < 3 || rank > 2) return;
        if (rank > 0) {
            for (int i = 0; i < 2; ++i) {
                const auto into = make_buffer(9);
                transport.receive(0, {4, i}, into, cat("message ", i)).wait();
                EXPECT_EQ(differs(into, i), "");
            }
            return;
        }
        const auto copied = std::make_shared<std::atomic<bool>>(false);
        auto late = make_buffer(9);  // as after a copy from a GPU: its bytes come later
        late.ready = [copied] { return copied->load(); };
        const auto first = transport.send(1, {4, 0}, late, "message 0");
        const auto second = transport.send(1, {4, 1}, stamped(9, 1), "message 1");
        for (int i = 0; i < 2; ++i) transport.send(2, {4, i}, stamped(9, i), cat("message ", i)).wait();
        EXPECT_FALSE(second.wait_for(0.1));
        const auto bytes = stamped(9, 0);
        std::copy(bytes.bytes.begin(), bytes.bytes.end(), late.bytes.begin());
        *copied = true;
        first.wait();
        second.wait();
    });
}

TEST_P(TransportOf, AWrongTagOrSizeIsNamedWithBothSides) {
    struct Case {
        Tag sent, expected;
        std::size_t bytes_sent, bytes_expected;
        std::string sender, receiver;
    };
    const std::vector<Case> cases{
        {{3, 17}, {3, 18}, 96, 96, "the sender sends kind 3, item 17, 96 bytes", "the receiver expects kind 3, item 18, 96 bytes"},
        {{3, 17}, {4, 17}, 96, 96, "the sender sends kind 3, item 17, 96 bytes", "the receiver expects kind 4, item 17, 96 bytes"},
        {{3, 17}, {3, 17}, 90, 96, "the sender sends kind 3, item 17, 90 bytes", "the receiver expects kind 3, item 17, 96 bytes"},
        {{3, 17}, {3, 17}, 100, 96, "the sender sends kind 3, item 17, ", "the receiver expects kind 3, item 17, 96 bytes"},
        {{3, 17}, {3, 17}, 1000000, 96, "the sender sends kind 3, item 17, ", "the receiver expects kind 3, item 17, 96 bytes"},
        {{3, 17}, {3, 17}, 1, 0, "the sender sends kind 3, item 17, ", "the receiver expects kind 3, item 17, 0 bytes"},
    };
    run_ranks(GetParam(), [&](Transport& transport) {
        if (transport.who().size == 1 || transport.who().rank > 1) return;
        for (const auto& one : cases) {
            if (transport.who().rank == 0) {
                const auto future = transport.send(1, one.sent, stamped(one.bytes_sent, 1), "pass 4");
                try {
                    future.wait();  // the receiver is who must find it; the sender may
                } catch (const Error& error) {
                    EXPECT_THAT(error.what(), AllOf(HasSubstr("sending to rank 1 on "), HasSubstr(one.sender), HasSubstr(one.receiver)));
                }
            } else {
                const auto text = text_thrown_by(transport.receive(0, one.expected, make_buffer(one.bytes_expected), "pass 5"));
                EXPECT_THAT(text, AllOf(HasSubstr("pass 5: receiving from rank 0 on "), HasSubstr(one.sender), HasSubstr(one.receiver)));
            }
        }
        // Afterwards all is well again.
        if (transport.who().rank == 0)
            transport.send(1, {3, 19}, stamped(5, 19), "pass 6").wait();
        else
            transport.receive(0, {3, 19}, make_buffer(5), "pass 6").wait();
    });
}

TEST_P(TransportOf, ItemsAreComparedModulo26Bits) {
    run_ranks(GetParam(), [](Transport& transport) {
        if (transport.who().size == 1 || transport.who().rank > 1) return;
        constexpr std::int64_t large = (std::int64_t{1} << 40) + 5;
        if (transport.who().rank == 0)
            transport.send(1, {15, large}, stamped(5, 1), "far on").wait();
        else
            transport.receive(0, {15, large}, make_buffer(5), "far on").wait();
    });
}

TEST_P(TransportOf, ADeadlineEndsTheWait) {
    run_ranks(GetParam(), [](Transport& transport) {
        if (transport.who().size == 1 || transport.who().rank > 1) return;
        const auto into = make_buffer(8);
        if (transport.who().rank == 1) {
            const auto begin = std::chrono::steady_clock::now();
            const auto late = transport.post({{Transfer::Direction::receive, 0, {5, 1}, into, "the first frames", 0.2}}).front();
            EXPECT_THAT(text_thrown_by(late), AllOf(HasSubstr("the first frames: receiving from rank 0 on "), HasSubstr("did not end within 0.2 s")));
            EXPECT_GT(seconds_since(begin), 0.15);
            EXPECT_LT(seconds_since(begin), 2);
            EXPECT_THROW(static_cast<void>(late.wait_for(0)), Error);
            transport.send(0, {5, 2}, make_buffer(0), "go on").wait();
        } else {
            transport.receive(1, {5, 2}, make_buffer(0), "go on").wait();
            transport.send(1, {5, 1}, stamped(8, 1), "the first frames").wait();  // the receive is still there
        }
    });
}

TEST_P(TransportOf, TextsAreGatheredAndBroadcast) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        const auto text = [](int of) { return of == 1 ? std::string{} : of == 2 ? std::string(200000, 'x') : cat("text of ", of, std::string(1, '\0')); };
        const auto all = transport.gather(text(rank));
        if (rank == 0) {
            ASSERT_EQ(all.size(), static_cast<std::size_t>(size));
            for (int of = 0; of < size; ++of) EXPECT_EQ(all[static_cast<std::size_t>(of)], text(of));
        } else
            EXPECT_TRUE(all.empty());
        EXPECT_EQ(transport.broadcast(rank == 0 ? "rank 0's word" : "not this"), "rank 0's word");
        EXPECT_EQ(transport.broadcast(""), "");
        const std::string large(300001, 'y');
        EXPECT_EQ(transport.broadcast(rank == 0 ? large : ""), large);
    });
}

TEST_P(TransportOf, ABarrierHoldsAllUntilTheLastCame) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        transport.barrier();
        const auto begin = std::chrono::steady_clock::now();
        if (rank == size - 1) std::this_thread::sleep_for(std::chrono::milliseconds{200});
        transport.barrier();
        EXPECT_GT(seconds_since(begin), 0.15);
    });
}

TEST_P(TransportOf, TrafficIsCountedToTheByte) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        if (size == 1) return;
        const int to = (rank + 1) % size;
        const int from = (rank + size - 1) % size;
        const auto before = transport.traffic();
        std::vector<Future> futures;
        for (int i = 0; i < 10; ++i) {
            const auto bytes = static_cast<std::size_t>(100 * i);
            futures.push_back(transport.send(to, {6 + i % 2, i}, stamped(bytes, i), "counted"));
            futures.push_back(transport.receive(from, {6 + i % 2, i}, make_buffer(bytes), "counted"));
        }
        for (const auto& future : futures) future.wait();
        const auto after = transport.traffic();
        const auto grown = [&](int kind, int rank_to) {
            const auto count = [&](const Traffic& traffic) {
                const auto at = traffic.sent.find({kind, rank_to});
                return at == traffic.sent.end() ? Traffic::Count{} : at->second;
            };
            return std::pair{count(after).messages - count(before).messages, count(after).bytes - count(before).bytes};
        };
        EXPECT_EQ(grown(6, to), (std::pair<std::int64_t, std::int64_t>{5, 2000}));
        EXPECT_EQ(grown(7, to), (std::pair<std::int64_t, std::int64_t>{5, 2500}));
        EXPECT_EQ(after.of_kind(6).bytes - before.of_kind(6).bytes, 2000);
        EXPECT_EQ(after.of_kind(6).messages - before.of_kind(6).messages, 5);
        if (size > 2) {
            EXPECT_EQ(grown(6, from), (std::pair<std::int64_t, std::int64_t>{0, 0}));
        }
    });
}

TEST_P(TransportOf, ARankThatComputesStillMovesBytesAndBeats) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        if (size == 1) return;
        constexpr std::size_t bytes = 300000;
        constexpr double busy_s = 3;  // longer than silent_s of the threads' watch
        if (rank == 1) {
            std::vector<Future> futures;
            for (int other = 0; other < size; ++other) {
                if (other == rank) continue;
                futures.push_back(transport.receive(other, {8, 1}, make_buffer(bytes), "to the busy one"));
                futures.push_back(transport.send(other, {8, 2}, stamped(bytes, 1), "from the busy one"));
            }
            transport.pulse().working("a long pass", 5);
            const auto begin = std::chrono::steady_clock::now();
            volatile double sink = 0;
            while (seconds_since(begin) < busy_s)
                for (int i = 0; i < 10000; ++i) sink = sink + i;
            for (const auto& future : futures) EXPECT_TRUE(future.ready());
            transport.pulse().idle();
        } else {
            const auto begin = std::chrono::steady_clock::now();
            const auto into = make_buffer(bytes);
            const auto sent = transport.send(1, {8, 1}, stamped(bytes, rank), "to the busy one");
            transport.receive(1, {8, 2}, into, "from the busy one").wait();
            sent.wait();
            EXPECT_EQ(differs(into, 1), "");
            EXPECT_LT(seconds_since(begin), busy_s - 0.5);
        }
    });
}

TEST_P(TransportOf, TogetherAllGoOnOrAllRefuse) {
    run_ranks(GetParam(), [](Transport& transport) {
        const int rank = transport.who().rank;
        const int size = transport.who().size;
        int done = 0;
        together(transport, [&] { ++done; });
        EXPECT_EQ(done, 1);

        const auto refused = [&](const std::function<void()>& work) {
            try {
                together(transport, work);
            } catch (const JobRefused& error) {
                return cat(static_cast<int>(error.code()), "|", error.culprit(), "|", error.what());
            }
            return std::string{"not refused"};
        };
        const auto name = [&](int of) { return transport.everyone()[static_cast<std::size_t>(of)].name(); };
        EXPECT_EQ(refused([] { refuse("no such file"); }), "2||no such file");
        if (size < 3) return;
        EXPECT_EQ(refused([&] {
                      if (rank == 2) throw Error(ExitCode::does_not_fit, "too large");
                  }),
                  cat("3|", name(2), "|", name(2), ": too large"));
        EXPECT_EQ(refused([&] {
                      if (rank == 1) throw std::runtime_error{"odd"};
                      if (rank != 0) refuse("even");
                  }),
                  [&] {
                      std::string text = cat("1|", name(1), "|", name(1), ": odd\n", name(2));
                      for (int of = 3; of < size; ++of) text += cat(", ", name(of));
                      return text + ": even";
                  }());
    });
}

// The last one: over MPI, what asks for device transfers stays with the transport.
TEST_P(TransportOf, DeviceBuffersStayAtHomeWhereARankHasNoGpu) {
    run_ranks(GetParam(), [](Transport& transport) {
        const auto [rank, size] = std::pair{transport.who().rank, transport.who().size};
        test::FakeNccl nccl{size};
        const auto result = transport.use_device_transfers(rank == size - 1 ? offer_no_device("no GPU: a test") : nccl.offer(rank));
        EXPECT_FALSE(result.on);
        EXPECT_FALSE(transport.carries_device());
        if (size == 1) return;
        EXPECT_EQ(result.reason, cat("through host buffers: ", transport.everyone().back().name(), ": no GPU: a test"));
        const auto into = make_buffer(70000);
        const auto sent = transport.send((rank + 1) % size, {3, 7}, stamped(70000, rank), "round the ring");
        transport.receive((rank + size - 1) % size, {3, 7}, into, "round the ring").wait();
        sent.wait();
        EXPECT_EQ(differs(into, (rank + size - 1) % size), "");
        EXPECT_EQ(transport.broadcast(rank == 0 ? "rank 0's word" : ""), "rank 0's word");
    });
}

}  // namespace weft::comm

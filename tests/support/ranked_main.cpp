#include "base/stop.hpp"
#include "base/text.hpp"
#include "support/ranks.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <iostream>
#include <thread>

/// Main of a test program that runs alone (ranks as threads) and under mpirun. There every rank runs all tests in the same order; rank 0 prints as usual,
/// the others only their failures; a failure on any rank fails the program. It ends as a stopped job does: a request to stop on one rank reaches all,
/// and transfers that will never match are in flight.
namespace {

class OnlyFailures final : public testing::EmptyTestEventListener {
  public:
    explicit OnlyFailures(int rank) : rank_{rank} {}
    void OnTestStart(const testing::TestInfo& info) override { test_ = weft::cat(info.test_suite_name(), ".", info.name()); }
    void OnTestPartResult(const testing::TestPartResult& result) override {
        if (!result.failed()) return;
        std::cerr << weft::cat("rank ", rank_, ", ", test_, ": ", result.file_name() != nullptr ? result.file_name() : "", ":", result.line_number(), ": ",
                               result.message(), "\n");
    }

  private:
    int rank_;
    std::string test_;
};

int end_over_mpi(int failed) {
    using namespace weft;
    int code = failed;
    test::run_ranks(comm::launched_ranks(), [&](comm::Transport& transport) {
        const auto failures = transport.gather(failed != 0 ? "failed" : "");
        for (std::size_t rank = 0; rank < failures.size(); ++rank) {
            if (failures[rank].empty()) continue;
            std::cerr << transport.everyone()[rank].name() << ": tests failed\n";
            code = 1;
        }
        transport.barrier();
    });
    auto transport = test::take_transport();
    const int rank = transport->who().rank;
    const int size = transport->who().size;
    // A stop ends the waits of a barrier too, so the last rank asks for it when all others are behind theirs; wait_for ignores stops.
    if (rank == size - 1)
        for (int other = 0; other + 1 < size; ++other) transport->receive(other, {1, 0}, comm::make_buffer(0), "behind the barrier").wait();
    else if (!transport->send(size - 1, {1, 0}, comm::make_buffer(0), "behind the barrier").wait_for(30))
        code = 1;
    const auto never = comm::make_buffer(std::size_t{1} << 20);
    std::vector<comm::Future> futures;
    if (size > 1) {
        futures.push_back(transport->send((rank + 1) % size, {1, 1}, never, "a send that nobody receives"));
        futures.push_back(transport->send((rank + 1) % size, {1, 1}, comm::make_buffer(0), "an empty send that nobody receives"));
        if (size > 2) futures.push_back(transport->receive((rank + 2) % size, {1, 1}, never, "a receive that nobody sends"));
    }
    if (rank == size - 1) stop::request(SIGUSR1);
    try {
        for (const auto& future : futures) future.wait();
        if (size > 2) throw std::runtime_error{"all transfers ended"};
    } catch (const Error& error) {
        if (error.code() != ExitCode::stopped) {
            std::cerr << weft::cat("rank ", rank, ": instead of stopping: ", error.what(), "\n");
            code = 1;
        }
    }
    return transport->leave(code);
}

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    if (!weft::test::over_mpi()) return RUN_ALL_TESTS();
    int rank = 0;
    weft::test::run_ranks(weft::comm::launched_ranks(), [&](const weft::comm::Transport& transport) { rank = transport.who().rank; });
    auto& listeners = testing::UnitTest::GetInstance()->listeners();
    if (rank != 0) {
        delete listeners.Release(listeners.default_result_printer());
        listeners.Append(new OnlyFailures{rank});
    }
    int failed = RUN_ALL_TESTS();
    if (testing::UnitTest::GetInstance()->test_to_run_count() == 0) {
        std::cerr << "no test was run\n";
        failed = 1;
    }
    return end_over_mpi(failed);
}

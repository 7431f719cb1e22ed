#include "support/ranks.hpp"

#include "base/text.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <mutex>
#include <thread>

namespace weft::test {

namespace {

/// Over MPI one transport serves all tests, since MPI starts only once in a process.
std::unique_ptr<comm::Transport>& shared_transport() {
    static std::unique_ptr<comm::Transport> transport;
    return transport;
}

void note(Ran::Rank& rank, ExitCode code, const std::string& text) {
    rank.error = text;
    rank.code = code;
}

void run_thread(comm::Transport& transport, Ran::Rank& ended, const std::function<void(comm::Transport&)>& body) {
    try {
        body(transport);
    } catch (const Error& error) {
        note(ended, error.code(), error.what());
    } catch (const std::exception& error) {
        note(ended, ExitCode::failure, error.what());
    }
    if (ended.code != ExitCode::done && ended.code != ExitCode::stopped) {
        transport.fail(ended.code, ended.error);
        return;
    }
    ended.left = transport.leave(ended.code == ExitCode::stopped ? static_cast<int>(ended.code) : transport.who().rank);
}

}  // namespace

bool over_mpi() {
    return !comm::launcher().empty();
}

std::vector<int> rank_counts(std::vector<int> over_threads) {
    if (over_mpi()) return {comm::launched_ranks()};
    return over_threads;
}

std::unique_ptr<comm::Transport> take_transport() {
    return std::move(shared_transport());
}

comm::Watch quick_watch() {
    comm::Watch watch;
    watch.beat_s = 0.05;
    watch.silent_s = 2;
    watch.stall_s = 60;
    watch.grace_s = 2;
    return watch;
}

Ran try_ranks(int num_ranks, const std::function<void(comm::Transport&)>& body, const comm::Watch& watch, const LinkWrapper& wrap) {
    std::vector<std::string> hosts;
    for (int rank = 0; rank < num_ranks; ++rank) hosts.push_back(cat("h", rank / 2));
    comm::ThreadsHub hub{hosts};
    Ran ran;
    ran.ranks.resize(hosts.size());
    std::mutex mutex;
    std::vector<std::thread> threads;
    for (int rank = 0; rank < num_ranks; ++rank)
        threads.emplace_back([&, rank] {
            const ::testing::ScopedTrace trace{__FILE__, __LINE__, cat("rank ", rank, " of ", num_ranks)};
            auto mine = watch;
            mine.on_verdict = [&, rank](const comm::Verdict& verdict) {
                const std::lock_guard lock{mutex};
                ran.verdicts.emplace_back(rank, verdict);
            };
            comm::Transport transport{[&] {
                                          auto link = hub.link(rank);
                                          return wrap ? wrap(rank, std::move(link)) : std::move(link);
                                      },
                                      mine};
            run_thread(transport, ran.ranks[static_cast<std::size_t>(rank)], body);
        });
    for (auto& thread : threads) thread.join();
    return ran;
}

void run_ranks(int num_ranks, const std::function<void(comm::Transport&)>& body) {
    if (!over_mpi()) {
        const auto ran = try_ranks(num_ranks, body);
        for (std::size_t rank = 0; rank < ran.ranks.size(); ++rank) EXPECT_EQ(ran.ranks[rank].error, "") << "thrown by rank " << rank << " of " << num_ranks;
        return;
    }
    auto& transport = shared_transport();
    if (!transport) {
        std::string reason;
        transport = comm::open_transport(comm::Watch{}, reason);
    }
    ASSERT_EQ(transport->everyone().size(), static_cast<std::size_t>(num_ranks));
    try {
        body(*transport);
        transport->barrier();
    } catch (const std::exception& error) {
        ADD_FAILURE() << "thrown by rank " << transport->who().rank << " of " << num_ranks << ": " << error.what();
        transport->fail(ExitCode::failure, error.what());
    }
}

comm::Buffer stamped(std::size_t bytes, int stamp) {
    auto buffer = comm::make_buffer(bytes);
    for (std::size_t i = 0; i < bytes; ++i) buffer.bytes[i] = static_cast<std::byte>((i * 31 + i / 251 + static_cast<std::size_t>(stamp) * 17) & 255);
    return buffer;
}

std::string differs(const comm::Buffer& buffer, int stamp) {
    const auto expected = stamped(buffer.bytes.size(), stamp);
    for (std::size_t i = 0; i < buffer.bytes.size(); ++i)
        if (buffer.bytes[i] != expected.bytes[i]) return cat("byte ", i, " of ", buffer.bytes.size(), " is not that of stamp ", stamp);
    return {};
}

}  // namespace weft::test

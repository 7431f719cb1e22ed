#pragma once
#include "comm/transport.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Runs a test body on several ranks: threads of this process, or the processes of mpirun where that started the program (support/ranked_main.cpp is its main).
namespace weft::test {

/// Was this program started by mpirun?
[[nodiscard]] bool over_mpi();

/// Rank counts to run with: over MPI only the one given by mpirun.
[[nodiscard]] std::vector<int> rank_counts(std::vector<int> over_threads);

/// Runs `body` on every rank, then waits for all. What a rank throws is a failure of the test, with the rank's number.
void run_ranks(int num_ranks, const std::function<void(comm::Transport&)>& body);

/// Over MPI: the transport that all tests used, to end with.
[[nodiscard]] std::unique_ptr<comm::Transport> take_transport();

/// A watch with times for tests: a beat each 50 ms, silence after 2 s, a stall after 60 s.
[[nodiscard]] comm::Watch quick_watch();

/// How ranks as threads ended, for tests in which they fail.
struct Ran {
    struct Rank {
        std::string error;  ///< what it threw, or ""
        ExitCode code = ExitCode::done;
        int left = -1;  ///< what `leave` gave, if it came to that
    };
    std::vector<Rank> ranks;
    std::vector<std::pair<int, comm::Verdict>> verdicts;  ///< (rank that told it, verdict)
};

using LinkWrapper = std::function<std::unique_ptr<comm::Link>(int rank, std::unique_ptr<comm::Link>)>;

/// Threads only. A rank that throws calls `fail`, or `leave` when it was stopped; others leave with their rank as code. Two ranks share a host.
[[nodiscard]] Ran try_ranks(int num_ranks, const std::function<void(comm::Transport&)>& body, const comm::Watch& watch = quick_watch(),
                            const LinkWrapper& wrap = {});

/// Bytes that say whose they are.
[[nodiscard]] comm::Buffer stamped(std::size_t bytes, int stamp);
/// Where the bytes differ from those of `stamped`, or "".
[[nodiscard]] std::string differs(const comm::Buffer& buffer, int stamp);

}  // namespace weft::test

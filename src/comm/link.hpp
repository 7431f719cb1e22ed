#pragma once
#include "comm/identity.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::comm {

/// What a transfer carries, as both its ends say it. A difference ends the job by name.
struct Tag {
    int kind = 0;           ///< 0 to 15; bytes are counted by it
    std::int64_t item = 0;  ///< compared modulo 2^26
    [[nodiscard]] bool operator==(const Tag&) const = default;
};

/// A short text between communication threads: heartbeats, reports, verdicts. Order is kept between two ranks.
struct Letter {
    int from = 0;
    std::string text;
};

/// One way of moving bytes between ranks: solo, threads, MPI, and NCCL over one of them. Made, called and destroyed by one thread, the communication thread;
/// nothing here blocks but `close`.
///
/// Transfers between two ranks in one direction match in the order in which each side starts them, as NCCL's do. All bodies are unbuffered: a send ends only
/// when its receive was started, so that memory in flight is bounded and a wrong order cannot pass with small messages.
class Link {
  public:
    virtual ~Link() = default;

    /// All ranks, by rank; `who()` is this one.
    [[nodiscard]] virtual const std::vector<Identity>& everyone() const = 0;
    [[nodiscard]] virtual const Identity& who() const = 0;

    using Ticket = std::uint64_t;
    /// The bytes must stay until the ticket has ended.
    [[nodiscard]] virtual Ticket start_send(int to, Tag tag, std::span<const std::byte> bytes) = 0;
    [[nodiscard]] virtual Ticket start_receive(int from, Tag tag, std::span<std::byte> bytes) = 0;

    struct Ended {
        Ticket ticket = 0;
        std::string wrong;  ///< "" when all is well; else how tag or size differ from what was expected
    };
    /// Moves bytes, and gives what has ended since the last call.
    virtual void poll(std::vector<Ended>& ended) = 0;

    /// Letters never wait for the other side.
    virtual void post_letter(int to, const std::string& text) = 0;
    [[nodiscard]] virtual std::optional<Letter> next_letter() = 0;

    /// Orderly end, all ranks together; what is still in flight is dropped.
    virtual void close() = 0;

    /// Ends the whole job at once with this exit code. MPI and a lone rank do not come back from it; ranks as threads find `aborted()` set.
    virtual void abort(int code) = 0;
    [[nodiscard]] virtual std::optional<int> aborted() const = 0;
};

/// A lone rank, without peers. A transfer to itself is refused: plans have none.
[[nodiscard]] std::unique_ptr<Link> make_solo_link();

/// Ranks as threads of one process, for tests. `hosts[rank]` are made-up host names; their number is the number of ranks.
class ThreadsHub {
  public:
    explicit ThreadsHub(const std::vector<std::string>& hosts);
    ~ThreadsHub();
    [[nodiscard]] std::unique_ptr<Link> link(int rank);

    struct State;

  private:
    std::shared_ptr<State> state_;
};

/// Initialises MPI in this thread, which then alone calls it. Refuses (exit code 2) in a build without MPI, saying how to enable it.
[[nodiscard]] std::unique_ptr<Link> make_mpi_link();

/// Which launcher started this process as one of several ranks, told by its environment: "mpirun", "srun --mpi=pmix", "PMI"; "" when none did.
/// Refuses (exit code 2) an srun of several tasks without MPI, which would start the same job several times.
[[nodiscard]] std::string launcher();

/// How many ranks that launcher says it started; 0: it does not say.
[[nodiscard]] int launched_ranks();

/// "Open MPI v4.1.4", or "none (built without MPI)"; for `weft doctor`.
[[nodiscard]] std::string mpi_version();

}  // namespace weft::comm

#pragma once
#include "base/error.hpp"
#include "comm/link.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

/// What is posted to a transport, what it gives back, and how it watches.
namespace weft::comm {

/// Bytes that a transfer reads or fills; they live as long as anyone holds the buffer, a transfer in flight included.
/// Tensors on a GPU are staged through pinned host memory by their owner (src/pipeline/staging.hpp), or travel as they are where
/// `Transport::carries_device()` says so.
struct Buffer {
    std::span<std::byte> bytes;
    std::shared_ptr<void> keeper;
    std::function<bool()> ready;  ///< asked by the communication thread before a send starts; empty: at once

    enum class Memory { host, device };
    Memory memory = Memory::host;
    /// Device memory: a CUDA event (what `get()` gives is the cudaEvent_t) that the owner has recorded on its stream behind the last use that comes before
    /// the transfer: a send's bytes are final, a receive's room may be overwritten. The transfer starts when it has passed; empty: at once.
    std::shared_ptr<void> fence;
};

/// Fresh bytes on a 64-byte border.
[[nodiscard]] Buffer make_buffer(std::size_t bytes);

struct Transfer {
    enum class Direction { send, receive };
    Direction direction = Direction::send;
    int peer = 0;
    Tag tag;
    Buffer buffer;
    std::string what;       ///< for messages: "step 3, slice 2, conditional: frames 70-74"
    double deadline_s = 0;  ///< from posting to end; 0: none of its own (heartbeats and stall watch find what hangs)
    /// Device memory only, else -1: the transfer's place among all device transfers of this rank, 0, 1, 2, ... Some order of all messages of the job, in which
    /// each waits only for smaller ones, gives every rank its turns: those of the messages that it sends or receives. They may be posted in any order.
    std::int64_t turn = -1;
};

/// The end of a transfer. Copies share it.
class Future {
  public:
    Future();  ///< has ended
    [[nodiscard]] bool ready() const;

    /// Waits for the end. Throws what failed: the transfer (exit code 4), the job (exit code 4), or the request to stop (exit code 75).
    void wait() const;

    /// Waits at most so long, also while the job stops; true when the transfer has ended well. Throws what failed, but not the request to stop.
    [[nodiscard]] bool wait_for(double seconds) const;

    /// When it ended, as the communication thread saw it: seconds of std::chrono::steady_clock. 0 while it has not, and for one that ended from the start.
    [[nodiscard]] double ended_s() const;

    struct State;
    explicit Future(std::shared_ptr<State> state);

  private:
    std::shared_ptr<State> state_;
};

/// How a job that cannot go on ended, and by whom.
struct Verdict {
    ExitCode code = ExitCode::rank_failed;
    std::string culprit;  ///< "rank 3 on node2"
    std::string text;
};

struct Watch {
    double beat_s = 2;      ///< between two heartbeats
    double silent_s = 11;   ///< without a heartbeat: dead or stopped. Found within 15 s
    double stall_s = 30;    ///< watchdog.stall_s: no progress for max(stall_s, 10 x expected) is a stall; 20 x stall_s where nothing is expected yet
    double all_wait_s = 0;  ///< every rank waits and nothing moves: a deadlock after so long; 0: 2 x max(stall_s, 30)
    double grace_s = 5;     ///< from a report to the end of the process
    /// Called once, by the communication thread of the rank that ends the job (rank 0, or the lowest one alive), before it does.
    std::function<void(const Verdict&)> on_verdict;
};

/// Bytes and number of messages that this rank has sent, by kind of tag and receiver.
struct Traffic {
    struct Count {
        std::int64_t messages = 0;
        std::int64_t bytes = 0;
    };
    std::map<std::pair<int, int>, Count> sent;  ///< (kind, to rank)
    [[nodiscard]] Count of_kind(int kind) const;
};

}  // namespace weft::comm

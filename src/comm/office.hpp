#pragma once
#include "comm/transfer.hpp"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>

/// Where threads meet the communication thread. Internal to comm.
namespace weft::comm {

/// What the communication thread, posting threads and futures share; lives as long as a future does.
struct Office {
    std::mutex mutex;
    std::condition_variable bell;  ///< rung for those who wait: a transfer or the job has ended, or a stop was asked for
    std::condition_variable wake;  ///< rung for the communication thread
    int waiting = 0;               ///< threads in Future::wait
    std::optional<Verdict> over;   ///< the job cannot go on
};

struct Future::State {
    std::shared_ptr<Office> office;
    bool done = false;
    std::string wrong;   ///< "" when it ended well
    double ended_s = 0;  ///< on the clock of Future::ended_s
};

/// "rank 3 on node2: text"
[[nodiscard]] std::string told(const Verdict& verdict);

}  // namespace weft::comm

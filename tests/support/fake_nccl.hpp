#pragma once
#include "comm/device_transfers.hpp"
#include "comm/nccl_calls.hpp"
#include "comm/transfer.hpp"

#include <cstdint>
#include <memory>
#include <string>

namespace weft::test {

/// NCCL and CUDA streams for ranks as threads, in host memory, as strict as the real ones can be:
/// - One stream a rank, a thread of its own: groups run one after the other, in the order in which they were given.
/// - Unbuffered: bytes move only while the send and its receive both run; they match by pair and order, without tags. Sizes that differ fail.
/// - A group runs as a whole: its operations move at the same time, and it ends when all have.
/// - Calls do not block: the communicator is in progress for a while, in which any other call is noted as misuse. A group is on the stream only afterwards.
/// - All takes random times.
class FakeNccl {
  public:
    struct Settings {
        std::uint64_t seed = 1;
        int version = 22809;
        double slow_s = 0.0005;         ///< the longest of the random waits of a stream and of a communicator in progress
        int init_fails_at = -1;         ///< this rank's `init` fails later on
        int breaks_at = -1;             ///< this rank's communicator reports an error ...
        int breaks_after = 0;           ///< ... after so many groups
        int send_fails_at = -1;         ///< this rank's first send is refused
        int abort_hangs_at = -1;        ///< this rank's abort takes 3 s
        std::string no_device_at = {};  ///< ranks without a device: "0 3"
        std::string gpu = {};           ///< the name of every rank's GPU; "": each its own
        bool may_share = false;
    };
    FakeNccl(int num_ranks, Settings settings);
    explicit FakeNccl(int num_ranks) : FakeNccl(num_ranks, Settings{}) {}
    ~FakeNccl();

    [[nodiscard]] comm::DeviceOffer offer(int rank);
    [[nodiscard]] std::shared_ptr<comm::NcclCalls> calls(int rank);

    /// What real NCCL would answer by a hang or by nonsense: one line each.
    [[nodiscard]] std::string misuse() const;

    struct Counts {
        int groups = 0;
        int operations = 0;
        int largest_group = 0;
        int aborted = 0;    ///< communicators
        int destroyed = 0;  ///< in good order
        int alive = 0;
    };
    [[nodiscard]] Counts counts() const;

    struct World;

  private:
    std::shared_ptr<World> world_;
};

/// An event of the stand-in that passes when it is told to.
class FakeFence {
  public:
    FakeFence();
    void pass();
    [[nodiscard]] std::shared_ptr<void> event() const;

  private:
    std::shared_ptr<void> event_;
};

/// Host memory that counts as that of a device.
[[nodiscard]] comm::Buffer on_device(comm::Buffer buffer, const FakeFence* fence = nullptr);

}  // namespace weft::test

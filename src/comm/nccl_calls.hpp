#pragma once
#include <array>
#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace weft::comm {

/// The few calls of NCCL and CUDA that transfers between GPUs stand on, in plain types: the real ones (nccl_calls.cpp), or a stand-in in host memory for
/// tests. One object holds one rank's communicator and stream. Only the communication thread calls it, but for `abort`. What fails in CUDA throws.
class NcclCalls {
  public:
    virtual ~NcclCalls() = default;

    using Code = int;  ///< an ncclResult_t
    static constexpr Code success = 0;
    static constexpr Code in_progress = 7;  ///< the communicator does not block: `state` says when the call is through, and no other may come before
    [[nodiscard]] virtual std::string error_text(Code code) const = 0;
    [[nodiscard]] virtual std::string last_error() const = 0;  ///< NCCL's own words; "" when it has none
    [[nodiscard]] virtual int version() const = 0;             ///< 22809 is 2.28.9

    using Id = std::array<std::byte, 128>;
    [[nodiscard]] virtual Code unique_id(Id& id) = 0;
    /// Makes stream and communicator; all ranks together, each in its own time.
    [[nodiscard]] virtual Code init(const Id& id, int rank, int size) = 0;
    [[nodiscard]] virtual Code state(Code& of_communicator) const = 0;  ///< ncclCommGetAsyncError

    /// Operations, in groups only, on the stream.
    [[nodiscard]] virtual Code group_start() = 0;
    [[nodiscard]] virtual Code send(std::span<const std::byte> bytes, int to) = 0;
    [[nodiscard]] virtual Code receive(std::span<std::byte> bytes, int from) = 0;
    [[nodiscard]] virtual Code group_end() = 0;

    [[nodiscard]] virtual Code finalize() = 0;
    [[nodiscard]] virtual Code destroy() = 0;  ///< after `finalize` is through
    virtual void abort() = 0;                  ///< instead of both, at any time and from any thread; may wait for the GPU

    /// An event behind all that is on the stream now.
    [[nodiscard]] virtual std::shared_ptr<void> mark() = 0;
    [[nodiscard]] virtual bool passed(void* event) const = 0;
};

/// The real ones on this CUDA device; nullptr in a build without NCCL.
[[nodiscard]] std::shared_ptr<NcclCalls> make_nccl_calls(int device);

/// "2.28.9"
[[nodiscard]] std::string nccl_version_text(int version);

}  // namespace weft::comm

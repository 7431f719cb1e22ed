#pragma once
#include <memory>
#include <string>

/// Whether buffers in GPU memory travel as they are, and over what.
namespace weft::comm {

class NcclCalls;

/// How one rank can take part in transfers between GPUs.
struct DeviceOffer {
    std::string why_not;               ///< "" when it can; else the reason, for the user: "no GPU: the driver shows none"
    std::string gpu;                   ///< what tells its GPU from the others of its host: the PCI bus id
    bool may_share = false;            ///< this NCCL lets several ranks share a GPU: from 2.30 on, with NCCL_MULTI_RANK_GPU_ENABLE=1
    std::shared_ptr<NcclCalls> calls;  ///< none when it cannot
};

/// What this process can do with the CUDA device of this index. The build or the machine may lack what it takes: the offer says what.
[[nodiscard]] DeviceOffer offer_device(int index);

/// The offer of a rank that computes on its CPU.
[[nodiscard]] DeviceOffer offer_no_device(const std::string& why_not);

enum class DeviceWish { where_possible, required };

struct DeviceTransfers {
    bool on = false;
    std::string reason;  ///< for the user: "NCCL 2.28.9, each of 8 ranks with its own GPU", "through host buffers: rank 1 on node1 has no GPU"
};

/// "2.28.9", or "none (built without NCCL)"; for `weft doctor`.
[[nodiscard]] std::string nccl_version();

}  // namespace weft::comm

#include "comm/nccl_calls.hpp"

#include "base/error.hpp"
#include "base/handle.hpp"
#include "base/text.hpp"
#include "comm/device_transfers.hpp"

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <array>
#include <cstdlib>
#include <cstring>

namespace weft::comm {

namespace {

static_assert(std::tuple_size_v<NcclCalls::Id> == NCCL_UNIQUE_ID_BYTES);
static_assert(NcclCalls::success == ncclSuccess && NcclCalls::in_progress == ncclInProgress);

/// From this version on NCCL_MULTI_RANK_GPU_ENABLE=1 lets several ranks share a GPU.
constexpr int first_that_shares_gpus = NCCL_VERSION(2, 30, 0);

void check(cudaError_t code, std::string_view doing, std::source_location at = std::source_location::current()) {
    if (code != cudaSuccess) fail(cat("CUDA failed while ", doing, ": ", cudaGetErrorString(code)), at);
}

struct StreamTraits {
    using Raw = cudaStream_t;
    static Raw null() { return nullptr; }
    static void close(Raw raw) noexcept { cudaStreamDestroy(raw); }
};

int version_now() {
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : 0;
}

class RealCalls final : public NcclCalls {
  public:
    explicit RealCalls(int device) : device_{device} {}

    std::string error_text(Code code) const override { return ncclGetErrorString(static_cast<ncclResult_t>(code)); }
    std::string last_error() const override {
        const char* text = ncclGetLastError(communicator_);
        return text != nullptr ? text : "";
    }
    int version() const override { return version_now(); }

    Code unique_id(Id& id) override {
        ncclUniqueId raw{};
        const auto code = ncclGetUniqueId(&raw);
        std::memcpy(id.data(), raw.internal, id.size());
        return code;
    }

    Code init(const Id& id, int rank, int size) override {
        check(cudaSetDevice(device_), "choosing the GPU for the communication thread");
        int least = 0;
        int greatest = 0;
        check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "asking for stream priorities");
        cudaStream_t stream = nullptr;
        // Transfers are short and others wait for them: they go before the compute stream's next kernels.
        check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), "making the stream for transfers");
        stream_ = Handle<StreamTraits>{stream};
        ncclUniqueId raw{};
        std::memcpy(raw.internal, id.data(), id.size());
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        return ncclCommInitRankConfig(&communicator_, size, raw, rank, &config);
    }

    Code state(Code& of_communicator) const override {
        ncclResult_t found = ncclSuccess;
        const auto code = ncclCommGetAsyncError(communicator_, &found);
        of_communicator = found;
        return code;
    }

    Code group_start() override { return ncclGroupStart(); }
    Code send(std::span<const std::byte> bytes, int to) override { return ncclSend(bytes.data(), bytes.size(), ncclUint8, to, communicator_, stream_.get()); }
    Code receive(std::span<std::byte> bytes, int from) override { return ncclRecv(bytes.data(), bytes.size(), ncclUint8, from, communicator_, stream_.get()); }
    Code group_end() override { return ncclGroupEnd(); }

    Code finalize() override { return ncclCommFinalize(communicator_); }
    Code destroy() override { return ncclCommDestroy(std::exchange(communicator_, nullptr)); }
    void abort() override {
        if (communicator_ != nullptr) ncclCommAbort(std::exchange(communicator_, nullptr));
    }

    std::shared_ptr<void> mark() override {
        cudaEvent_t event = nullptr;
        check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
        std::shared_ptr<void> owner{event, [](void* raw) { cudaEventDestroy(static_cast<cudaEvent_t>(raw)); }};
        check(cudaEventRecord(event, stream_.get()), "marking the stream for transfers");
        return owner;
    }

    bool passed(void* event) const override {
        const auto code = cudaEventQuery(static_cast<cudaEvent_t>(event));
        if (code == cudaErrorNotReady) {
            cudaGetLastError();  // is no error, but would be found as one
            return false;
        }
        check(code, "looking after an event");
        return true;
    }

  private:
    int device_;
    Handle<StreamTraits> stream_;
    ncclComm_t communicator_ = nullptr;
};

}  // namespace

std::shared_ptr<NcclCalls> make_nccl_calls(int device) {
    return std::make_shared<RealCalls>(device);
}

DeviceOffer offer_device(int index) {
    std::array<char, 32> bus_id{};
    const auto code = cudaDeviceGetPCIBusId(bus_id.data(), static_cast<int>(bus_id.size()), index);
    if (code != cudaSuccess) return offer_no_device(cat("no GPU ", index, ": ", cudaGetErrorString(code)));
    const char* asked = std::getenv("NCCL_MULTI_RANK_GPU_ENABLE");
    DeviceOffer offer;
    offer.gpu = bus_id.data();
    offer.may_share = asked != nullptr && std::string_view{asked} == "1" && version_now() >= first_that_shares_gpus;
    offer.calls = make_nccl_calls(index);
    return offer;
}

std::string nccl_version() {
    return nccl_version_text(version_now());
}

}  // namespace weft::comm

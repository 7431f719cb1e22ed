#include "comm/device_transfers.hpp"
#include "comm/nccl_calls.hpp"

namespace weft::comm {

std::shared_ptr<NcclCalls> make_nccl_calls(int /*device*/) {
    return nullptr;
}

DeviceOffer offer_device(int /*index*/) {
    return offer_no_device(
        "this build of weft has no NCCL; configure with -DWEFT_NCCL=on where CUDA's toolkit and nccl.h are (launch/setup --cuda fetches it)");
}

std::string nccl_version() {
    return "none (built without NCCL)";
}

}  // namespace weft::comm

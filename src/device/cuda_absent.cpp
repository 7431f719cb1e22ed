#include "base/error.hpp"
#include "device/cuda.hpp"

namespace weft::cuda {

int device_count() {
    return 0;
}
std::string why_none() {
    return "this build has no CUDA; configure with -DWEFT_CUDA=on where the toolkit is";
}
void open(int) {
    refuse("device.kind = \"cuda\": " + why_none());
}
DeviceFacts facts(int) {
    return {};
}
void synchronize() {}
std::int64_t bytes_now() {
    return 0;
}
std::int64_t peak_bytes_since_reset() {
    return 0;
}
void reset_peak() {}
std::int64_t reserved_bytes() {
    return 0;
}
void set_limit(std::int64_t) {}
void release_cache() {}
std::string versions() {
    return "none";
}

}  // namespace weft::cuda

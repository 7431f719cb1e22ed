#include "model/model.hpp"

#include <algorithm>

namespace weft::model {

PassLayout Model::pass_layout(const Settings& settings, std::int64_t num_slots, const ComputeDevice& device) const {
    const auto kind = device.torch.type();
    const auto dtype = resolve_dtype(settings.model.dtype, device, "model.dtype");
    return pass_layout(settings, num_slots, kind, dtype, assumed_flops_per_second(kind, dtype));
}

double assumed_flops_per_second(c10::DeviceType kind, c10::ScalarType dtype) {
    if (kind != c10::kCUDA) return 50e9;
    return dtype == c10::kFloat ? 50e12 : 400e12;
}

std::int64_t other_weight_bytes(const ModelSizes& sizes, const Settings& settings, const ComputeDevice& device) {
    const auto width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.model.dtype, device, "model.dtype")));
    const auto decode_width = static_cast<std::int64_t>(c10::elementSize(resolve_dtype(settings.decode.dtype, device, "decode.dtype")));
    return std::max(sizes.encode_elements * width, sizes.decode_elements * decode_width);
}

}  // namespace weft::model

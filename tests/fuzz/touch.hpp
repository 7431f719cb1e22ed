#pragma once
#include "base/error.hpp"
#include "io/weight_file.hpp"

#include <algorithm>

/// What both fuzz targets do with an index: whatever the bytes, a reader either refuses them as a user's mistake or describes elements that are there.
namespace weft::io {

inline void require(bool holds) {
    if (!holds) __builtin_trap();
}

/// Reads the first and the last element of every tensor, so that the sanitizer sees a place outside the buffer.
inline void touch(const TensorIndex& index) {
    for (const auto& [name, tensor] : index) {
        require(tensor.shape.size() == tensor.strides.size() && tensor.offset >= 0);
        const auto width = element_bytes(tensor.type);
        if (tensor.num_elements() == 0) continue;
        auto last = tensor.offset;
        for (std::size_t dim = 0; dim < tensor.shape.size(); ++dim) last += (tensor.shape[dim] - 1) * tensor.strides[dim];
        for (const auto element : {tensor.offset, last}) {
            require(static_cast<std::size_t>(element) < tensor.storage.size() / width);
            const volatile auto byte = tensor.storage[static_cast<std::size_t>(element) * width + width - 1];
            static_cast<void>(byte);
        }
        static_cast<void>(tensor.contiguous());
    }
}

template <class Read>
void touch_or_refuse(Read read) {
    try {
        touch(read());
    } catch (const Error& error) {
        require(error.code() == ExitCode::user_mistake);
    }
}

}  // namespace weft::io

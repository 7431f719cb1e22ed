#pragma once
#include "comm/transfer.hpp"

#include <ATen/core/Tensor.h>

/// Tensors as bytes in host memory, and back: pinned where the tensor is on a GPU, ordered by events instead of waits.
namespace weft::pipeline {

/// How tensors travel from here.
enum class Travel { host, device };

/// The bytes of `tensor`, which is contiguous and does not change any more: its own on a CPU, a copy on its way to pinned memory on a GPU.
[[nodiscard]] comm::Buffer to_host(const at::Tensor& tensor);

/// Room for a tensor of these sizes that will live on `device`.
[[nodiscard]] comm::Buffer room_for(at::IntArrayRef sizes, c10::ScalarType type, c10::Device device);

/// What was received in `room_for(...)`, on the device; queued on the current stream there.
[[nodiscard]] at::Tensor from_host(const comm::Buffer& buffer, c10::Device device);

/// The bytes of a contiguous tensor on a GPU as they are there: final, or free to be overwritten, behind what is queued on the current stream now.
[[nodiscard]] comm::Buffer on_device(at::Tensor tensor);

/// The tensor of a buffer, wherever it was received.
[[nodiscard]] at::Tensor tensor_in(const comm::Buffer& buffer, c10::Device device);

}  // namespace weft::pipeline

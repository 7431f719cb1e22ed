#include "pipeline/staging.hpp"

#include "base/error.hpp"
#include "device/meter.hpp"

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <memory>

namespace weft::pipeline {

namespace {
/// `tensor` is contiguous.
comm::Buffer buffer_of(at::Tensor tensor) {
    comm::Buffer buffer;
    buffer.bytes = {static_cast<std::byte*>(tensor.mutable_data_ptr()), tensor.nbytes()};
    buffer.keeper = std::make_shared<at::Tensor>(std::move(tensor));
    return buffer;
}

at::Tensor empty_on_host(at::IntArrayRef sizes, c10::ScalarType type, c10::Device device) {
    const OwnedBy owner(Owner::latents);
    return at::empty(sizes, at::TensorOptions{}.dtype(type).pinned_memory(device.is_cuda()));
}
}  // namespace

comm::Buffer to_host(const at::Tensor& tensor) {
    ensure(tensor.is_contiguous(), "a tensor that travels is contiguous");
    if (!tensor.is_cuda()) return buffer_of(tensor);
    auto host = empty_on_host(tensor.sizes(), tensor.scalar_type(), tensor.device());
    host.copy_(tensor, /*non_blocking=*/true);
    const auto arrived = std::make_shared<c10::Event>(c10::DeviceType::CUDA);
    arrived->record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(tensor.device()));
    auto buffer = buffer_of(std::move(host));
    buffer.ready = [arrived, device = tensor.device()] {
        const c10::DeviceGuard here(device);  // asked by threads whose current device is another
        return arrived->query();
    };
    return buffer;
}

comm::Buffer room_for(at::IntArrayRef sizes, c10::ScalarType type, c10::Device device) {
    return buffer_of(empty_on_host(sizes, type, device));
}

comm::Buffer on_device(at::Tensor tensor) {
    ensure(tensor.is_contiguous() && tensor.is_cuda(), "a tensor that travels from GPU to GPU is contiguous there");
    const auto fence = std::make_shared<c10::Event>(c10::DeviceType::CUDA);
    fence->record(c10::impl::VirtualGuardImpl(c10::DeviceType::CUDA).getStream(tensor.device()));
    auto buffer = buffer_of(std::move(tensor));
    buffer.memory = comm::Buffer::Memory::device;
    buffer.fence = std::shared_ptr<void>(fence, fence->eventId());
    return buffer;
}

at::Tensor tensor_in(const comm::Buffer& buffer, c10::Device device) {
    if (buffer.memory == comm::Buffer::Memory::device) return *static_cast<const at::Tensor*>(buffer.keeper.get());
    return from_host(buffer, device);
}

at::Tensor from_host(const comm::Buffer& buffer, c10::Device device) {
    return static_cast<const at::Tensor*>(buffer.keeper.get())->to(device, /*non_blocking=*/true);
}

}  // namespace weft::pipeline

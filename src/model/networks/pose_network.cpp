#include "model/networks/pose_network.hpp"

#include "device/meter.hpp"
#include "model/unit_form.hpp"

namespace weft::model {

void PoseNetwork::bind(const Weights& source) {
    convs_.clear();
    for (const auto& layer : layers_) convs_.push_back(take_conv(source / layer.name, layer.in, layer.out, layer.kernel, layer.stride, layer.padding));
    if (scaled_ == Scaled::no) return;
    const auto scale = source.take("scale", {1});
    const OwnedBy owner(Owner::weights);
    convs_.back().weight = convs_.back().weight * scale;
    convs_.back().bias = convs_.back().bias * scale;
}

std::int64_t PoseNetwork::work(std::int64_t height, std::int64_t width) const {
    std::int64_t sum = 0;
    for (const auto& layer : layers_) {
        height = (height + 2 * layer.padding - layer.kernel) / layer.stride + 1;
        width = (width + 2 * layer.padding - layer.kernel) / layer.stride + 1;
        sum += height * width * conv_work(layer.in, layer.out, layer.kernel);
    }
    return sum;
}

at::Tensor PoseNetwork::operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps) const {
    auto x = maps;
    for (std::size_t i = 0; i < convs_.size(); ++i) {
        x = conv2d(x, convs_[i]);
        if (steps != nullptr) steps->push_back(x.clone());
        if (i + 1 < convs_.size()) at::silu_(x);
    }
    return x;
}

}  // namespace weft::model

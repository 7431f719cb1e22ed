#include "model/mimicmotion/pose_net.hpp"

#include "base/text.hpp"
#include "device/meter.hpp"

namespace weft::model::mimicmotion {

namespace {
struct Layer {
    std::int64_t in, out, kernel, stride;
};
constexpr std::array<Layer, 8> layers{
    {{3, 3, 3, 1}, {3, 16, 4, 2}, {16, 16, 3, 1}, {16, 32, 4, 2}, {32, 32, 3, 1}, {32, 64, 4, 2}, {64, 64, 3, 1}, {64, 128, 3, 1}}};
}  // namespace

void PoseNet::bind(const Weights& source) {
    convs_.clear();
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const auto& layer = layers[i];
        convs_.push_back(take_conv(source / cat("conv_layers.", 2 * i), layer.in, layer.out, layer.kernel, layer.stride, 1));
    }
    final_ = take_conv(source / "final_proj", layers.back().out, out_, 1, 1, 0);
    const auto scale = source.take("scale", {1});
    const OwnedBy owner(Owner::weights);
    final_.weight = final_.weight * scale;
    final_.bias = final_.bias * scale;
}

at::Tensor PoseNet::operator()(const at::Tensor& maps) const {
    return (*this)(maps, nullptr);
}

at::Tensor PoseNet::operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps) const {
    at::Tensor x = maps;
    for (const auto& conv : convs_) {
        x = conv2d(x, conv);
        at::silu_(x);
        if (steps != nullptr) steps->push_back(x);
    }
    return conv2d(x, final_);
}

}  // namespace weft::model::mimicmotion

#include "model/musepose/pose_guider.hpp"

#include "base/text.hpp"

namespace weft::model::musepose {

void PoseGuider::bind(const Weights& source) {
    const auto& c = config_.channels;
    convs_.clear();
    convs_.push_back(take_conv(source / "conv_in", 3, c[0], 3));
    for (std::size_t level = 0; level + 1 < c.size(); ++level) {
        convs_.push_back(take_conv(source / cat("blocks.", 2 * level), c[level], c[level], 3));
        convs_.push_back(take_conv(source / cat("blocks.", 2 * level + 1), c[level], c[level + 1], 3, 2));
    }
    convs_.push_back(take_conv(source / "conv_out", c.back(), out_, 3));
}

at::Tensor PoseGuider::operator()(const at::Tensor& maps, std::vector<at::Tensor>* steps) const {
    auto x = maps;
    for (std::size_t i = 0; i < convs_.size(); ++i) {
        x = conv2d(x, convs_[i]);
        if (steps != nullptr) steps->push_back(x.clone());
        if (i + 1 < convs_.size()) at::silu_(x);
    }
    return x;
}

}  // namespace weft::model::musepose

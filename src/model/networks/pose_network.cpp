#include "model/networks/pose_network.hpp"

#include "device/meter.hpp"

namespace weft::model {

namespace {
constexpr std::int64_t most_bytes = std::int64_t{64} << 20;  // beyond that they are made again for each pass
}  // namespace

void PoseNetwork::bind(const Weights& source) {
    convs_.clear();
    for (const auto& layer : layers_) convs_.push_back(take_conv(source / layer.name, layer.in, layer.out, layer.kernel, layer.stride, layer.padding));
    if (scaled_ == Scaled::no) return;
    const auto scale = source.take("scale", {1});
    const OwnedBy owner(Owner::weights);
    convs_.back().weight = convs_.back().weight * scale;
    convs_.back().bias = convs_.back().bias * scale;
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

at::Tensor PoseFeatures::of(std::int64_t slice, const std::vector<std::int64_t>& frames, plan::FrameRange slots, const Make& make) {
    const std::pair key{slice, slots.begin};
    if (const auto found = kept_.find(key); found != kept_.end()) return found->second;
    auto features = make({frames.begin() + static_cast<std::ptrdiff_t>(slots.begin), frames.begin() + static_cast<std::ptrdiff_t>(slots.end)});
    const auto bytes = static_cast<std::int64_t>(features.nbytes());
    if (kept_bytes_ + bytes <= most_bytes) {
        kept_.emplace(key, features);
        kept_bytes_ += bytes;
    }
    return features;
}

void PoseFeatures::clear() {
    kept_.clear();
    kept_bytes_ = 0;
}

}  // namespace weft::model

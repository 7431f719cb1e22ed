#include "model/networks/unet_family.hpp"

#include "base/error.hpp"
#include "device/meter.hpp"

#include <algorithm>

namespace weft::model {

void UNetFamily::load_denoiser(const std::vector<bool>& wanted) {
    ensure(wanted.size() == units_.size(), "each unit is wanted or not");
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
    const auto known = context();
    const auto source = denoiser_source();
    const Weights root{*source};
    bind_embedding(root);
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
        if (!wanted[unit]) continue;
        units_[unit]->bind(root);
        units_[unit]->set_context(root, known);
    }
    if (wanted.front()) load_pose_network();
}

void UNetFamily::drop_denoiser() {
    units_ = make_units();
    drop_pose_network();
    pose_features_.clear();
}

PassState UNetFamily::resume(const plan::Pass& pass) {
    const OwnedBy owner(Owner::activations);
    PassState state;
    state.branch = pass.branch;
    state.height = form_.height / 8;
    state.width = form_.width / 8;
    state.chunks = form_.chunks;
    state.silu_embedding = silu_embedding(pass.step);
    return state;
}

at::Tensor UNetFamily::finish(PassState& state) {
    ensure(state.skips.empty() && !state.residual.defined() && !state.partial.defined(), "a pass ended with skips, a residual or half a result left over");
    const OwnedBy owner(Owner::latents);
    return state.hidden.permute({0, 3, 1, 2}).contiguous();
}

void UNetFamily::load_decoder() {
    decoder_.emplace(bound_decoder());
}

at::Tensor UNetFamily::decode(const at::Tensor& latents) {
    const OwnedBy owner(Owner::activations);
    const auto scaled = (latents * (1.0 / scaling_factor())).permute({0, 2, 3, 1}).contiguous();
    const auto frames = (*decoder_)(scaled.to(device_, form_.decode_dtype)).to(c10::kFloat);
    return (frames / 2.0 + 0.5).clamp_(0.0, 1.0);
}

PassLayout lay_out_unet(const Units& units, std::int64_t pose_network_bytes, std::int64_t embedding_bytes, const PassSize& size, const Chunks& chunks,
                        double flops_per_second) {
    std::vector<UnitSketch> sketches;
    for (const auto& unit : units) sketches.push_back(sketch_of(*unit, size.element_bytes));
    sketches.front().weight_bytes += pose_network_bytes;
    return lay_out(sketches, size, chunks, flops_per_second, embedding_bytes);
}

}  // namespace weft::model

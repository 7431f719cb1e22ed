#include "model/networks/networks.hpp"

namespace weft::model {

namespace {

template <class Network>
std::int64_t bytes_of(Network network, std::int64_t element_bytes) {
    KeyLister lister;
    network.bind(Weights{lister});
    return held_bytes(lister.take(), element_bytes);
}

}  // namespace

std::vector<KeySpec> Networks::keys(Part part) const {
    KeyLister lister;
    const Weights root{lister};
    const auto bind_unet = [&](const Units& units) {
        UNetEmbedding(embedding).bind(root);
        for (const auto& unit : units) unit->bind(root);
    };
    switch (part) {
        case Part::denoiser: bind_unet(denoiser()); break;
        case Part::reference: bind_unet(reference()); break;
        case Part::pose_network: PoseNetwork(pose).bind(root); break;
        case Part::vae: {
            VaeEncoder(vae).bind(root);
            VaeDecoder(vae, decoder).bind(root);
            break;
        }
        case Part::image_encoder: ClipEncoder(clip).list(root); break;
    }
    return lister.take();
}

PassLayout Networks::lay_out_pass(const PassSize& size, const Chunks& chunks, double flops_per_second) const {
    std::vector<UnitSketch> sketches;
    for (const auto& unit : denoiser()) sketches.push_back(sketch_of(*unit, size.element_bytes));
    sketches.front().weight_bytes += bytes_of(pose, size.element_bytes);
    auto layout = lay_out(sketches, size, chunks, flops_per_second, bytes_of(embedding, size.element_bytes));
    layout.shape.pose_ns = static_cast<std::int64_t>(2e9 * static_cast<double>(size.frames * pose.work(8 * size.height, 8 * size.width)) / flops_per_second);
    return layout;
}

}  // namespace weft::model

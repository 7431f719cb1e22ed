#include "model/networks/unet_family.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "device/meter.hpp"
#include "model/pinned_weights.hpp"

#include <algorithm>
#include <cmath>

namespace weft::model {

namespace {
/// Bound to its weights in the folder, which need not stay open.
template <class Network>
Network bound(Network network, const ModelFolder& folder, Part part, c10::Device device, c10::ScalarType dtype) {
    const auto source = folder.source(part, device, dtype);
    network.bind(Weights{*source});
    return network;
}
}  // namespace

UNetFamily::UNetFamily(const ModelFolder& folder, const ClipForm& form, const ComputeDevice& device, PoseMaps maps)
    : form_{form},
      device_{device.torch},
      folder_{folder},
      maps_{std::move(maps)},
      layout_{folder.networks().lay_out_pass(form.pass_size(), form.chunks, form.flops_per_second)},
      units_{folder.networks().denoiser()} {}

void UNetFamily::encode(const at::Tensor& reference) {
    const auto& networks = folder_.networks();
    const auto blank = [this](std::int64_t height, std::int64_t width) { return at::empty({1, height, width, 3}, at::TensorOptions{}.device(device_)); };
    const auto pixels = device_.is_meta() ? Pixels{blank(networks.clip.image, networks.clip.image), blank(form_.height, form_.width)} : pixels_of(reference);
    const OwnedBy owner(Owner::conditioning);
    const auto clip = folder_.source(Part::image_encoder, device_, form_.dtype);
    image_embedding_ = ClipEncoder(networks.clip)(Weights{*clip}, pixels.clip.to(device_, form_.dtype));
    // In fp32 whatever the networks run in, as published: fp16 overflows in this encoder.
    const auto latents = bound(VaeEncoder(networks.vae), folder_, Part::vae, device_, c10::kFloat)(pixels.vae.to(device_), form_.chunks);
    keep(latents.to(form_.dtype), image_embedding_);
}

Context UNetFamily::context() const {
    ensure(image_embedding_.defined(), "the denoiser is loaded before the picture is encoded");
    return {.tokens = {at::zeros_like(image_embedding_), image_embedding_}, .bank = bank_.empty() ? nullptr : &bank_};
}

void UNetFamily::bind(Unit& unit) const {
    unit.bind(Weights{*weights_});
}

void UNetFamily::load_denoiser(const std::vector<bool>& wanted, const plan::MemoryChoice& choice, const plan::WeightWindows& windows) {
    ensure(wanted.size() == units_.size(), "each unit is wanted or not");
    choice_ = choice;
    windows_ = windows;
    if (std::find(wanted.begin(), wanted.end(), true) == wanted.end()) return;
    const auto known = context();
    weights_ = folder_.source(Part::denoiser, device_, form_.dtype);
    const Weights root{*weights_};
    embedding_ = folder_.networks().embedding;
    embedding_->bind(root);
    for (std::size_t unit = 0; unit < units_.size(); ++unit) {
        if (!wanted[unit]) continue;
        bind(*units_[unit]);
        units_[unit]->set_context(root, known);
        if (windows_.chosen) units_[unit]->release();
    }
    if (wanted.front()) pose_network_ = bound(folder_.networks().pose, folder_, Part::pose_network, device_, form_.dtype);
    if (windows_.chosen) stream_weights(*windows_.chosen);
}

void UNetFamily::stream_weights(const plan::WeightWindow& window) {
    if (device_.is_cuda()) weights_ = std::make_unique<PinnedWeights>(folder_.source(Part::denoiser, c10::kCPU, form_.dtype), device_);
    stream_.emplace(
        units_, window, device_, [this](Unit& unit) { bind(unit); }, streamed_before_);
}

void UNetFamily::relieve() {
    pose_features_.clear();
    choice_.keep_pose_features = false;
    choice_.remake_in_decoder = true;
    if (weights_ != nullptr && windows_.least) {
        end_stream();
        for (std::size_t unit = 0; unit < units_.size(); ++unit)
            if (windows_.least->units[unit]) units_[unit]->release();
        stream_weights(*windows_.least);
    }
    release_caches();
}

bool UNetFamily::take_smaller_chunks() {
    constexpr std::int64_t least_rows = 256;
    if (form_.chunks.frame_rows <= least_rows) return false;
    form_.chunks = divided(form_.chunks, 2);
    return true;
}

void UNetFamily::end_stream() {
    if (!stream_) return;
    streamed_before_ = stream_->times();
    stream_.reset();
}

void UNetFamily::drop_denoiser() {
    stream_.reset();
    streamed_before_ = {};
    units_ = folder_.networks().denoiser();
    weights_.reset();
    embedding_.reset();
    pose_network_.reset();
    pose_features_.clear();
    if (!device_.is_meta()) release_caches();  // else the heap keeps pages, and a GPU's pool for weights memory that decoding could use
}

void UNetFamily::run(std::size_t unit, PassState& state, plan::FrameRange slots) {
    if (stream_) stream_->need(unit);
    units_.at(unit)->run(state, slots);
}

std::optional<StreamTimes> UNetFamily::stream_times() const {
    return stream_ ? std::optional(stream_->times()) : std::nullopt;
}

std::vector<StreamStretch> UNetFamily::take_stream_stretches() {
    return stream_ ? stream_->take_stretches() : std::vector<StreamStretch>{};
}

PassState UNetFamily::resume(const plan::Pass& pass) {
    const OwnedBy owner(Owner::activations);
    PassState state;
    state.branches = {pass.branch};
    state.chunks = form_.chunks;
    state.remakes_first_skip = choice_.remake_first_skip;
    state.silu_embedding = embedding_.value()(timestep(pass.step), ids());
    return state;
}

PassState UNetFamily::begin(const plan::Pass& pass, const at::Tensor& latents, const std::vector<std::int64_t>& frames) {
    const OwnedBy owner(Owner::activations);
    auto state = resume(pass);
    state.hidden = input_of(pass, latents.to(device_));
    if (sees_pose(pass.branch)) state.pose = [this, slice = pass.slice, frames](plan::FrameRange slots) { return pose_features(slice, frames, slots); };
    return state;
}

at::Tensor UNetFamily::pose_features(std::int64_t slice, const std::vector<std::int64_t>& frames, plan::FrameRange slots) {
    ensure(pose_network_.has_value(), "a pass begins where its first unit is loaded");
    const std::pair key{slice, slots.begin};
    if (const auto found = pose_features_.find(key); found != pose_features_.end() && found->second.size(0) == slots.size()) return found->second;
    const std::vector some(frames.begin() + slots.begin, frames.begin() + slots.end);
    const OwnedBy owner(Owner::conditioning);
    // Other chunks than before, since more or fewer passes run side by side: each frame's are kept once.
    std::erase_if(pose_features_, [&](const auto& entry) {
        return entry.first.first == slice && entry.first.second < slots.end && entry.first.second + entry.second.size(0) > slots.begin;
    });
    auto features = (*pose_network_)(pose_input(maps_(some).to(device_).to(c10::kFloat)).to(form_.dtype));
    if (choice_.keep_pose_features) pose_features_.emplace(key, features);
    return features;
}

at::Tensor UNetFamily::finish(PassState& state) {
    ensure(state.skips.empty() && !state.residual.defined() && !state.partial.defined(), "a pass ended with skips, a residual or half a result left over");
    const OwnedBy owner(Owner::latents);
    return state.hidden.permute({0, 3, 1, 2}).contiguous();
}

void UNetFamily::load_decoder(const plan::MemoryChoice& choice) {
    choice_.remake_in_decoder = choice.remake_in_decoder;
    bind_decoder(form_.decode_dtype);
}

void UNetFamily::bind_decoder(c10::ScalarType dtype) {
    if (decoder_ && decoder_type_ == dtype) return;
    const auto& networks = folder_.networks();
    decoder_.reset();
    decoder_ = bound(VaeDecoder(networks.vae, networks.decoder), folder_, Part::vae, device_, dtype);
    decoder_type_ = dtype;
}

at::Tensor UNetFamily::decode(const at::Tensor& latents) {
    const OwnedBy owner(Owner::activations);
    bind_decoder(form_.decode_dtype);  // whether a chunk overflows depends on nothing but the chunk
    const auto scaled = (latents * (1.0 / folder_.networks().vae.scaling_factor)).permute({0, 2, 3, 1}).contiguous();
    const auto decoded = [&](c10::ScalarType dtype) {
        return (*decoder_)(scaled.to(device_, dtype), form_.chunks, choice_.remake_in_decoder ? FirstResult::made_again : FirstResult::kept).to(c10::kFloat);
    };
    const auto is_finite = [](const at::Tensor& frames) { return frames.is_meta() || std::isfinite(frames.sum().item<double>()); };
    auto frames = decoded(form_.decode_dtype);
    if (form_.decode_dtype == c10::kHalf && !is_finite(frames)) {
        log::warn("decoding: numbers beyond the 65504 of fp16; these frames are decoded again in bf16");
        frames.reset();
        bind_decoder(c10::kBFloat16);
        frames = decoded(c10::kBFloat16);
    }
    if (!is_finite(frames)) fail("decoding: frames with numbers that are not finite");
    return (frames / 2.0 + 0.5).clamp_(0.0, 1.0);
}

}  // namespace weft::model

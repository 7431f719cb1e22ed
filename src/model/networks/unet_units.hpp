#pragma once
#include "base/error.hpp"
#include "model/layers/layers.hpp"
#include "model/unit.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

/// The units that the denoising UNets of the families share, and what units are written with.
namespace weft::model {

/// Calls `work(first, count)` for the chunks of the frames `slots` of an image [frames, height, width, channels]. Chunks are counted from the first of `among`,
/// so that every product has the rows that it has when all of them are done at once.
template <class Work>
void for_frame_chunks(const at::Tensor& image, plan::FrameRange slots, plan::FrameRange among, const Chunks& chunks, const Work& work) {
    const auto step = chunks.frames(image.size(1) * image.size(2), image.size(3));
    ensure((slots.begin - among.begin) % step == 0 && ((slots.end - among.begin) % step == 0 || slots.end == among.end), "a unit is cut between two chunks");
    for_chunks(slots.begin, slots.end, step, image.is_meta(), work);
}
template <class Work>
void for_frame_chunks(const at::Tensor& image, plan::FrameRange slots, const Chunks& chunks, const Work& work) {
    for_frame_chunks(image, slots, {0, image.size(0)}, chunks, work);
}

/// Calls `work(branch, frames, among)` for the frames `slots` of a state, by branch: `among` are all frames of neighbouring passes of that branch.
template <class Work>
void for_branches(const PassState& state, plan::FrameRange slots, const Work& work) {
    const auto frames = state.num_frames();
    for (std::int64_t pass = 0; pass < state.num_passes();) {
        const auto branch = state.branches[static_cast<std::size_t>(pass)];
        auto end = pass + 1;
        while (end < state.num_passes() && state.branches[static_cast<std::size_t>(end)] == branch) ++end;
        const plan::FrameRange among{pass * frames, end * frames};
        const plan::FrameRange some{std::max(slots.begin, among.begin), std::min(slots.end, among.end)};
        if (some.begin < some.end) work(branch, some, among);
        pass = end;
    }
}

/// Calls `work(branch, image)` for each pass of a state, with its part of a tensor of all of them, which is contiguous where the tensor is.
template <class Work>
void for_passes(const PassState& state, const at::Tensor& image, const Work& work) {
    const auto frames = state.num_frames();
    for (std::int64_t pass = 0; pass < state.num_passes(); ++pass) work(state.branches[static_cast<std::size_t>(pass)], image.narrow(0, pass * frames, frames));
}

/// Makes the frames `slots` of a result that is a tensor of its own, [frames, height, width, channels]; with the last ones it becomes the hidden state.
/// `work(first, count)` gives the result of a chunk of frames, and reads `state.hidden`.
template <class Work>
void make_anew(PassState& state, plan::FrameRange slots, std::int64_t height, std::int64_t width, std::int64_t channels, const Work& work) {
    const auto frames = state.hidden.size(0);
    if (slots.begin == 0 && state.chunks.frames(height * width, channels) >= frames) {
        ensure(slots == all_slots(state), "a unit is cut between two chunks");
        state.hidden = work(0, frames);
        return;
    }
    if (slots.begin == 0) state.partial = at::empty({frames, height, width, channels}, state.hidden.options());
    for_frame_chunks(state.partial, slots, state.chunks,
                     [&](std::int64_t first, std::int64_t count) { state.partial.narrow(0, first, count).copy_(work(first, count)); });
    if (slots.end < frames) return;
    state.hidden = std::move(state.partial);
    state.partial.reset();
}

/// The same pixels, as a view: [frames, pixels, channels].
[[nodiscard]] inline at::Tensor tokens_of(const at::Tensor& image) {
    return image.view({image.size(0), -1, image.size(-1)});
}

enum class Skip { keep, pop };
enum class After { nothing, push };  ///< does the unit end a layer of the way down?

/// What makes the hidden state as large as the skips of the next block: nearest neighbour and a convolution. It has no unit of its own: the first resnet of
/// that block makes it for the frames that it is about to take, so that no tensor of that size ever stands.
struct Upsampler {
    std::string name;  ///< "up_blocks.0.upsamplers.0.conv"
    std::int64_t channels = 0;
};

/// The first convolution; what the pose network makes is added behind it.
class ConvIn final : public Unit {
  public:
    ConvIn(std::int64_t in, std::int64_t out) : Unit{"conv_in", forms::conv_in(in, out)}, in_{in}, out_{out} {}
    void bind(const Weights& source) override { conv_ = take_conv(source / "conv_in", in_, out_, 3); }
    void release() override { conv_ = {}; }
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    std::int64_t in_, out_;
    Conv2d conv_;
};

/// A resnet within frames; on the way up of the hidden state and the last skip.
class SpatialResnet final : public Unit {
  public:
    /// `name`: the published prefix of its tensors. `from`: stands in front of it.
    SpatialResnet(std::string name, std::int64_t in, std::int64_t out, std::int64_t embedding, double eps, Skip skip, After after = After::nothing,
                  std::optional<Upsampler> from = std::nullopt);
    void bind(const Weights& source) override;
    void release() override;
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    [[nodiscard]] at::Tensor input_of(const PassState& state, std::int64_t first, std::int64_t count, std::int64_t height, std::int64_t width) const;

    std::int64_t in_, out_, embedding_;
    double eps_;
    std::optional<Upsampler> from_;
    std::optional<Conv2d> upsampled_;
    Resnet block_;
};

class Downsample final : public Unit {
  public:
    Downsample(const std::string& block, std::int64_t channels) : Unit{block + ".downsamplers.0.conv", forms::downsample(channels)}, channels_{channels} {}
    void bind(const Weights& source) override { conv_ = take_conv(source / name(), channels_, channels_, 3, 2, 1); }
    void release() override { conv_ = {}; }
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    std::int64_t channels_;
    Conv2d conv_;
};

class ConvOut final : public Unit {
  public:
    ConvOut(std::int64_t in, std::int64_t out) : Unit{"conv_out", forms::conv_out(in, out)}, in_{in}, out_{out} {}
    void bind(const Weights& source) override;
    void release() override;
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    std::int64_t in_, out_;
    GroupNorm norm_;
    Conv2d conv_;
};

/// attn2 of one token: softmax over one key is 1, so it is to_out(to_v(context)), a constant vector a branch (models/mimicmotion.md section 2.4).
/// It is added together with the bias of the self-attention before it.
class OneTokenAttention {
  public:
    OneTokenAttention(std::string block, std::int64_t channels, std::int64_t context) : block_{std::move(block)}, channels_{channels}, context_{context} {}

    /// What the file must hold.
    void expect(const Weights& source) const;
    void set_context(const Weights& source, const std::array<at::Tensor, num_branches>& context, const at::Tensor& self_bias);
    [[nodiscard]] const at::Tensor& bias(Branch branch) const { return bias_[static_cast<std::size_t>(branch)]; }

  private:
    std::string block_;
    std::int64_t channels_, context_;
    std::array<at::Tensor, num_branches> bias_;  ///< self-attention's output bias plus attn2's constant
};

/// One block of a spatial transformer: `prefix`.transformer_blocks.`layer`.
struct SpatialBlock {
    std::string prefix;  ///< "down_blocks.0.attentions.1"
    std::int64_t layer = 0;
    std::int64_t channels = 0, heads = 1, context = 0;
    Pointwise projection = Pointwise::linear;  ///< how proj_in and proj_out are published
    bool opens = true;                         ///< norm and proj_in belong to it
    bool closes = false;                       ///< so do proj_out and the residual
    bool pushes = false;                       ///< a skip, when it has closed
    bool reads_bank = false;                   ///< its conditional branch attends to the reference's tokens too

    [[nodiscard]] std::string name() const;
};

/// norm, proj_in, and the first half of a spatial block: z += attn1(norm1 z) + attn2's constant.
class SpatialAttention final : public Unit {
  public:
    explicit SpatialAttention(const SpatialBlock& block);
    void bind(const Weights& source) override;
    void release() override;
    void set_context(const Weights& source, const Context& context) override;
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    SpatialBlock block_;
    OneTokenAttention cross_;
    GroupNorm norm_;
    Linear proj_in_;
    LayerNorm norm1_;
    SelfAttention attention_;
    at::Tensor reference_;  ///< keys and values of the reference's tokens, [tokens, 2 * channels]
};

/// The second half: z += ff(norm3 z); where the block closes the transformer, the residual += proj_out z.
class SpatialFeedForward final : public Unit {
  public:
    explicit SpatialFeedForward(const SpatialBlock& block);
    void bind(const Weights& source) override;
    void release() override;
    void run(PassState& state, plan::FrameRange slots) const override;

  private:
    SpatialBlock block_;
    LayerNorm norm3_;
    FeedForward feed_;
    Linear proj_out_;
};

/// The end of a transformer for the frames `slots`: residual += out(hidden), which becomes the hidden state with the last of them; a skip where `form` pushes.
void close_transformer(PassState& state, plan::FrameRange slots, const Linear& out, const UnitForm& form);

}  // namespace weft::model

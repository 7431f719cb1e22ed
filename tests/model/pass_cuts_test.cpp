// A pass that is cut between two pieces goes on elsewhere with the same bits, and a rank holds the weights of its units alone.
#include "base/text.hpp"
#include "device/meter.hpp"
#include "model/mimicmotion/mimicmotion.hpp"
#include "support/golden.hpp"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <ostream>

namespace weft::model::mimicmotion {
namespace {

struct Sample {
    const char* name;
    std::int64_t frames;
    Chunks chunks;
    std::int64_t transformer_layers = 1;
    c10::ScalarType dtype = c10::kFloat;
};

void PrintTo(const Sample& sample, std::ostream* out) {
    *out << sample.name;
}

/// A clip of one slice, small, of the tiny golden model; or of its architecture with other transformers, filled with noise.
class SmallClip {
  public:
    explicit SmallClip(const Sample& sample) : folder_{folder_of(sample)}, frames_(static_cast<std::size_t>(sample.frames)) {
        std::iota(frames_.begin(), frames_.end(), 0);
        settings_.width = 64;
        settings_.height = 128;
        settings_.num_frames = settings_.slice_length = sample.frames;
        settings_.dtype = settings_.decode_dtype = sample.dtype;
        settings_.chunks = sample.chunks;
    }

    /// One of several ranks: encoded, nothing loaded.
    [[nodiscard]] std::unique_ptr<Family> rank() const {
        auto family = make_mimicmotion(folder_, settings_, ComputeDevice{}, [this](const std::vector<std::int64_t>& some) {
            return picture().expand({static_cast<std::int64_t>(some.size()), -1, -1, -1});
        });
        family->encode(picture());
        return family;
    }

    [[nodiscard]] PassState begin(Family& family, const plan::Pass& pass) const { return family.begin(pass, family.initial_latents(frames_) / 700.0, frames_); }

    [[nodiscard]] c10::ScalarType dtype() const { return settings_.dtype; }

  private:
    static ModelFolder folder_of(const Sample& sample) {
        auto folder = golden::tiny_model();
        if (sample.transformer_layers == 1) return folder;
        auto config = folder.config();
        for (auto& layers : config.unet.transformer_layers) layers = sample.transformer_layers;
        return ModelFolder::random(config);
    }

    [[nodiscard]] at::Tensor picture() const {
        return at::arange(settings_.height * settings_.width * 3, at::kLong).remainder(251).to(at::kByte).view({settings_.height, settings_.width, 3});
    }

    ModelFolder folder_;
    ClipSettings settings_;
    std::vector<std::int64_t> frames_;
};

void run_pieces(const Family& family, PassState& state, plan::PieceRange range) {
    for (auto i = range.begin; i < range.end; ++i) {
        const auto& piece = family.layout().shape.pieces.at(static_cast<std::size_t>(i));
        family.units().at(static_cast<std::size_t>(piece.unit))->run(state, piece.slots);
    }
}

/// A tensor for all frames, of which only `slots` are there.
at::Tensor moved(const at::Tensor& from, const FrameSize& frame, plan::FrameRange slots, std::int64_t num_slots) {
    EXPECT_EQ(from.sizes(), (at::IntArrayRef{num_slots, frame.height, frame.width, frame.channels}));
    auto to = at::full({num_slots, frame.height, frame.width, frame.channels}, std::numeric_limits<double>::quiet_NaN(), from.options());
    to.narrow(0, slots.begin, slots.size()).copy_(from.narrow(0, slots.begin, slots.size()));
    return to;
}

/// What a rank that goes on with piece `next` gets from the one before: exactly what the layout names.
PassState hand_over(PassState from, Family& to, const plan::Pass& pass, std::int64_t next) {
    const auto& layout = to.layout();
    const auto& shape = layout.shape;
    const auto& piece = shape.pieces.at(static_cast<std::size_t>(next));
    auto state = to.resume(pass);
    for (std::size_t i = 0; i < piece.state.size(); ++i) {
        const auto which = static_cast<StateTensor>(piece.state[i].tensor);
        tensor_of(state, which) = moved(tensor_of(from, which), layout.state.at(static_cast<std::size_t>(next))[i], piece.state[i].slots, shape.num_slots);
    }
    std::size_t place = 0;
    for (std::size_t i = 0; i < shape.skips.size(); ++i) {
        const auto& skip = shape.skips[i];
        if (skip.made_by >= next || skip.used_by.end <= next) continue;
        const auto& first = shape.pieces.at(static_cast<std::size_t>(std::max(next, skip.used_by.begin)));
        const auto& last = shape.pieces.at(static_cast<std::size_t>(skip.used_by.end - 1));
        state.skips.push_back(moved(from.skips.at(place++), layout.skips[i], {first.slots.begin, last.slots.end}, shape.num_slots));
    }
    EXPECT_EQ(place, from.skips.size()) << "in front of piece " << next;
    return state;
}

class CutPass : public testing::TestWithParam<Sample> {};

TEST_P(CutPass, SameBitsAtEveryBorder) {
    const SmallClip clip(GetParam());
    const auto family = clip.rank();
    family->load_denoiser();
    const auto num_pieces = family->layout().shape.num_pieces();
    for (const auto branch : {Branch::unconditional, Branch::conditional}) {
        const plan::Pass pass{.branch = branch};
        auto whole = clip.begin(*family, pass);
        run_all(family->units(), whole);
        const auto wanted = family->finish(whole);
        ASSERT_TRUE(at::isfinite(wanted).all().item<bool>());

        // Handed over at every border of one pass ...
        auto state = clip.begin(*family, pass);
        for (std::int64_t next = 1; next <= num_pieces; ++next) {
            run_pieces(*family, state, {next - 1, next});
            if (next < num_pieces) state = hand_over(std::move(state), *family, pass, next);
        }
        EXPECT_TRUE(at::equal(family->finish(state), wanted));

        // ... and once, at some.
        for (std::int64_t next = 1; next < num_pieces; next += 1 + num_pieces / 13) {
            auto once = clip.begin(*family, pass);
            run_pieces(*family, once, {0, next});
            once = hand_over(std::move(once), *family, pass, next);
            run_pieces(*family, once, {next, num_pieces});
            EXPECT_TRUE(at::equal(family->finish(once), wanted)) << "cut in front of piece " << next << " of " << num_pieces;
        }
    }
}

TEST_P(CutPass, RanksHoldTheirUnitsAlone) {
    const SmallClip clip(GetParam());
    const auto alone = clip.rank();
    alone->load_denoiser();
    const plan::Pass pass{.branch = Branch::conditional};
    auto whole = clip.begin(*alone, pass);
    run_all(alone->units(), whole);
    const auto wanted = alone->finish(whole);

    const auto first = clip.rank();
    const auto second = clip.rank();
    const auto& shape = first->layout().shape;
    for (std::int64_t next = 3; next < shape.num_pieces(); next += 1 + shape.num_pieces() / 7) {
        const auto load = [&](Family& family, plan::PieceRange range) {
            std::vector<bool> units(shape.units.size(), false);
            for (auto i = range.begin; i < range.end; ++i) units.at(static_cast<std::size_t>(shape.pieces.at(static_cast<std::size_t>(i)).unit)) = true;
            family.drop_denoiser();
            family.load_denoiser(units);
        };
        load(*first, {0, next});
        load(*second, {next, shape.num_pieces()});
        auto state = clip.begin(*first, pass);
        run_pieces(*first, state, {0, next});
        state = hand_over(std::move(state), *second, pass, next);
        run_pieces(*second, state, {next, shape.num_pieces()});
        EXPECT_TRUE(at::equal(second->finish(state), wanted)) << "cut in front of piece " << next;
    }
}

/// One frame a chunk cuts everything, 10 of them unevenly; 64 rows cut the outer levels into chunks of one and two frames; 2048 are a CPU's own.
INSTANTIATE_TEST_SUITE_P(Samples, CutPass,
                         testing::Values(Sample{"one_frame_a_chunk", 10, {.frame_rows = 1, .pixel_rows = 40}},
                                         Sample{"some_frames_a_chunk", 7, {.frame_rows = 64, .pixel_rows = 64}},
                                         Sample{"whole_units", 5, {.frame_rows = 2048, .pixel_rows = 2048}},
                                         Sample{"two_layers", 5, {.frame_rows = 64, .pixel_rows = 64}, 2},
                                         Sample{"bf16", 5, {.frame_rows = 64, .pixel_rows = 64}, 1, c10::kBFloat16}),
                         [](const auto& sample) { return sample.param.name; });

TEST(Cuts, OneFrameAChunkCutsEveryUnitThatMayBeCut) {
    const SmallClip clip({"", 10, {.frame_rows = 1, .pixel_rows = 40}});
    const auto family = clip.rank();
    std::vector<std::int64_t> pieces(family->units().size());
    for (const auto& piece : family->layout().shape.pieces) ++pieces.at(static_cast<std::size_t>(piece.unit));
    for (std::size_t i = 0; i < pieces.size(); ++i) EXPECT_EQ(pieces[i], family->units()[i]->form().cuttable ? most_pieces : 1) << family->units()[i]->name();
}

TEST(Cuts, FallBetweenChunksOnly) {
    const SmallClip clip({"", 4, {.frame_rows = 256, .pixel_rows = 64}});  // two frames of 16x8 a chunk
    const auto family = clip.rank();
    family->load_denoiser();
    auto state = clip.begin(*family, {});
    family->units().at(0)->run(state, all_slots(state));
    EXPECT_ANY_THROW(family->units().at(1)->run(state, {0, 1}));
}

struct WeightSample {
    const char* name;
    std::int64_t transformer_layers;
    c10::ScalarType dtype;  ///< of files not the stored one: tensors that are mapped from their file are not counted
};

void PrintTo(const WeightSample& sample, std::ostream* out) {
    *out << sample.name;
}

class HeldWeights : public testing::TestWithParam<WeightSample> {};

TEST_P(HeldWeights, AreWhatTheLayoutSays) {
    meter::install();
    const SmallClip clip({"", 3, {}, GetParam().transformer_layers, GetParam().dtype});
    const auto family = clip.rank();
    const auto& shape = family->layout().shape;
    const auto before = meter::current(Owner::weights);
    const auto check = [&](const std::vector<bool>& units, const std::string& what) {
        std::int64_t wanted = 0;
        for (std::size_t i = 0; i < units.size(); ++i) wanted += units[i] ? shape.units[i].weight_bytes : 0;
        if (wanted > 0) wanted += shape.shared_weight_bytes;
        family->load_denoiser(units);
        EXPECT_EQ(meter::current(Owner::weights) - before, wanted) << what;
        family->drop_denoiser();
        EXPECT_EQ(meter::current(Owner::weights), before) << what << ", dropped";
    };
    const auto count = shape.units.size();
    check(std::vector<bool>(count, false), "nothing");
    for (std::size_t i = 0; i < count; ++i) {
        std::vector<bool> one(count, false);
        one[i] = true;
        EXPECT_GT(shape.units[i].weight_bytes, 0);
        check(one, shape.units[i].name);
    }
    for (const std::size_t every : {1, 2, 3, 5}) {
        std::vector<bool> some(count, false);
        for (std::size_t i = every - 1; i < count; i += every) some[i] = true;
        check(some, cat("every ", every, ". unit"));
    }
}

INSTANTIATE_TEST_SUITE_P(Samples, HeldWeights,
                         testing::Values(WeightSample{"files", 1, c10::kBFloat16}, WeightSample{"noise_fp32", 2, c10::kFloat},
                                         WeightSample{"noise_bf16", 2, c10::kBFloat16}),
                         [](const auto& sample) { return sample.param.name; });

}  // namespace
}  // namespace weft::model::mimicmotion

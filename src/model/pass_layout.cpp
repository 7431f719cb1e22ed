#include "model/pass_layout.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cmath>

namespace weft::model {

namespace {

using plan::FrameRange;

/// Frames of the slice for each piece of a unit: whole chunks of `chunk` frames, as evenly as they go.
std::vector<FrameRange> cut(std::int64_t frames, std::int64_t chunk) {
    const auto chunks = (frames + chunk - 1) / chunk;
    const auto pieces = std::min(chunks, most_pieces);
    std::vector<FrameRange> cuts;
    for (std::int64_t piece = 0; piece < pieces; ++piece)
        cuts.push_back({piece * chunks / pieces * chunk, std::min(frames, (piece + 1) * chunks / pieces * chunk)});
    return cuts;
}

class Writer {
  public:
    Writer(const PassSize& size, const Chunks& chunks, double flops_per_second)
        : size_{size}, chunks_{chunks}, flops_per_second_{flops_per_second}, front_{size.height, size.width, 0} {
        layout_.shape.num_slots = size.frames;
    }

    void add(const UnitSketch& unit) {
        const auto& form = unit.form;
        auto& shape = layout_.shape;
        const auto behind = size_behind(form);
        const auto first = shape.num_pieces();
        const auto chunk = form.cuttable ? chunks_.frames(behind.height * behind.width, behind.channels) : size_.frames;
        if (form.opens) inside_ = true;
        for (const auto slots : cut(size_.frames, chunk)) {
            plan::Piece piece{.unit = static_cast<std::int64_t>(shape.units.size()), .slots = slots};
            for (const auto branch : {Branch::unconditional, Branch::conditional})
                piece.cost[static_cast<std::size_t>(branch)] = nanoseconds(form.flops(branch, slots.size(), behind.height * behind.width));
            shape.pieces.push_back(std::move(piece));
            layout_.state.emplace_back();
            if (shape.num_pieces() > 1) describe_state(form, behind, slots.begin);
        }
        shape.units.push_back({.name = unit.name,
                               .weight_bytes = unit.weight_bytes,
                               .in_place = form.in_place,
                               .opens = form.opens,
                               .closes = form.closes,
                               .pops = form.pops,
                               .pushes = form.pushes});
        if (form.closes) inside_ = false;
        if (form.pops) {
            ensure(!open_skips_.empty(), "a skip is missing on the way up");
            shape.skips[open_skips_.back()].used_by = {first, shape.num_pieces()};
            open_skips_.pop_back();
        }
        if (form.pushes) {
            open_skips_.push_back(shape.skips.size());
            shape.skips.push_back({.made_by = shape.num_pieces() - 1, .used_by = {}, .slot_bytes = bytes_of(behind)});
            layout_.skips.push_back(behind);
        }
        front_ = behind;
    }

    PassLayout take() {
        ensure(open_skips_.empty() && !inside_, "a denoiser ends with skips or a transformer left open");
        return std::move(layout_);
    }

  private:
    [[nodiscard]] FrameSize size_behind(const UnitForm& form) const {
        if (form.resize == Resize::halve) return {size_at_level(front_.height, 1), size_at_level(front_.width, 1), form.channels};
        if (form.resize == Resize::none) return {front_.height, front_.width, form.channels};
        ensure(!open_skips_.empty(), "a skip is missing on the way up");
        const auto& skip = layout_.skips[open_skips_.back()];
        return {skip.height, skip.width, form.channels};
    }

    [[nodiscard]] std::int64_t bytes_of(const FrameSize& frame) const { return frame.height * frame.width * frame.channels * size_.element_bytes; }

    [[nodiscard]] std::int64_t nanoseconds(std::int64_t flops) const {
        return std::max<std::int64_t>(1, std::llround(1e9 * static_cast<double>(flops) / flops_per_second_));
    }

    /// What stands in front of the newest piece, from frame `first` of its unit on.
    void describe_state(const UnitForm& form, const FrameSize& behind, std::int64_t first) {
        const FrameRange done{0, first};
        const FrameRange open{first, size_.frames};
        const FrameRange all{0, size_.frames};
        if (first == 0) {
            part(StateTensor::hidden, front_, all);
            if (inside_ && !form.opens) part(StateTensor::residual, front_, all);
            return;
        }
        if (!form.in_place) {
            part(StateTensor::hidden, front_, open);
            part(StateTensor::partial, behind, done);
        } else {
            part(StateTensor::hidden, front_, form.opens ? done : form.closes ? open : all);
        }
        if (inside_) part(StateTensor::residual, front_, all);
    }

    void part(StateTensor tensor, const FrameSize& frame, FrameRange slots) {
        layout_.shape.pieces.back().state.push_back({static_cast<int>(tensor), slots, bytes_of(frame)});
        layout_.state.back().push_back(frame);
    }

    PassSize size_;
    Chunks chunks_;
    double flops_per_second_;
    FrameSize front_;                      ///< hidden in front of the next unit
    bool inside_ = false;                  ///< a transformer
    std::vector<std::size_t> open_skips_;  ///< made and not yet used
    PassLayout layout_;
};

}  // namespace

PassLayout lay_out(std::span<const UnitSketch> units, const PassSize& size, const Chunks& chunks, double flops_per_second, std::int64_t shared_weight_bytes) {
    Writer writer(size, chunks, flops_per_second);
    for (const auto& unit : units) writer.add(unit);
    auto layout = writer.take();
    layout.shape.shared_weight_bytes = shared_weight_bytes;
    return layout;
}

UnitSketch sketch_of(Unit& unit, std::int64_t element_bytes) {
    KeyLister lister;
    unit.bind(Weights{lister});
    auto keys = lister.take();
    for (int branch = 0; branch < num_branches; ++branch)
        if (unit.form().context_elements > 0) keys.push_back({"context", {unit.form().context_elements}});
    return {unit.name(), unit.form(), held_bytes(keys, element_bytes)};
}

}  // namespace weft::model

#include "plan/memory.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/rooms.hpp"

#include <memory>
#include <set>
#include <utility>

namespace weft::plan {

namespace {

/// A pass's tensors as they come and go on one rank: the state that the model's units know (src/model/unit.hpp), in bytes.
class Tensors {
  public:
    Tensors(const PassShape& shape, std::span<const std::int64_t> streamed) : shape_{shape}, streamed_{streamed} {}

    /// A tensor that this leg makes, or, of no bytes, one that lies in a slot.
    using Tensor = std::shared_ptr<void>;
    [[nodiscard]] Tensor make(std::int64_t bytes) {
        now_ += bytes;
        return {nullptr, [this, bytes](void*) { now_ -= bytes; }};
    }

    void begin(Branch branch) {
        peak_ = shape_.begin[index(branch)];
        hidden_ = make(shape_.begun[index(branch)]);
    }
    void receive(const Room& room, std::int64_t slot_bytes) {
        auto tensor = make(room.slots.size() < shape_.num_slots ? shape_.num_slots * slot_bytes : 0);
        if (room.content == Room::Content::skip)
            skips_.push_back(std::move(tensor));
        else
            (room.tensor == 0 ? hidden_ : room.tensor == 1 ? partial_ : residual_) = std::move(tensor);
    }

    void run(std::int64_t number, Branch branch) {
        const auto& piece = shape_.pieces[index(number)];
        const auto& unit = shape_.units[index(piece.unit)];
        peak_ = most(peak_, piece.working[index(branch)] + (now_ + (streamed_.empty() ? 0 : streamed_[index(piece.unit)])));
        const bool first = piece.slots.begin == 0;
        const bool last = piece.slots.end == shape_.num_slots;
        if (unit.opens && first) {
            residual_ = std::move(hidden_);
            hidden_ = make(result_bytes(number));
        }
        if (!unit.in_place && first) partial_ = make(result_bytes(number));
        if (!last) return;
        const auto before = hidden_;
        if (!unit.in_place) hidden_ = std::move(partial_);
        if (unit.closes) hidden_ = std::move(residual_);
        if (unit.pops) skips_.pop_back();
        if (unit.pushes) skips_.push_back(piece.unit == 0 && shape_.remakes_first_skip ? before : hidden_);
    }

    [[nodiscard]] HeldBytes peak() const { return peak_; }

  private:
    /// Of the hidden state behind a piece's unit, all frames.
    [[nodiscard]] std::int64_t result_bytes(std::int64_t number) const {
        const auto unit = shape_.pieces[index(number)].unit;
        while (++number < shape_.num_pieces())
            if (shape_.pieces[index(number)].unit != unit) return shape_.pieces[index(number)].state.front().slot_bytes * shape_.num_slots;
        return 0;  // the prediction, which is small
    }

    const PassShape& shape_;
    std::span<const std::int64_t> streamed_;
    std::int64_t now_ = 0;
    HeldBytes peak_;
    Tensor hidden_, partial_, residual_;
    std::vector<Tensor> skips_;
};

}  // namespace

std::vector<std::int64_t> streamed_bytes(const PassShape& shape, const std::vector<bool>& units, std::int64_t window) {
    std::vector<std::int64_t> bytes(units.size());
    const auto behind = [&](std::size_t unit) {
        do unit = (unit + 1) % units.size();
        while (!units[unit]);
        return unit;
    };
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
        if (!units[unit]) continue;
        bytes[unit] = shape.units[unit].weight_bytes;
        for (auto next = behind(unit); next != unit && bytes[unit] + shape.units[next].weight_bytes <= window; next = behind(next))
            bytes[unit] += shape.units[next].weight_bytes;
    }
    return bytes;
}

std::int64_t least_window(const PassShape& shape, const std::vector<bool>& units) {
    std::int64_t most = 0, first = 0, before = 0;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
        if (!units[unit]) continue;
        const auto bytes = shape.units[unit].weight_bytes;
        if (first == 0) first = bytes;
        most = std::max(most, before + bytes);
        before = bytes;
    }
    return std::max(most, before + first);
}

HeldBytes leg_bytes(const PassShape& shape, const Route& route, std::size_t leg, Branch branch, std::span<const std::int64_t> streamed) {
    Tensors tensors(shape, streamed);
    if (leg == 0) tensors.begin(branch);
    for (const auto& room : rooms_of(shape, route))
        if (room.to_leg == leg) tensors.receive(room, room.bytes / std::max<std::int64_t>(1, room.slots.size()));
    const auto& pieces = route.legs.at(leg).pieces;
    for (auto piece = pieces.begin; piece < pieces.end; ++piece) tensors.run(piece, branch);
    return tensors.peak();
}

PhaseBytes denoise_bytes(const Plan& plan, int rank) {
    PhaseBytes bytes;
    const auto pieces = plan.deal.pieces_of(rank);
    if (pieces.empty()) return bytes;
    const auto held = rank_bytes(plan, rank);
    const auto window = plan.memory.stream_window;
    std::vector<std::int64_t> streamed;
    if (window > 0) streamed = streamed_bytes(plan.shape, plan.shape.units_of(pieces), window);
    bytes.weights = window > 0 ? plan.shape.kept_bytes(pieces) : held.weights;
    bytes.slots = held.slots;
    bytes.latents = held.latents;
    bytes.conditioning = plan.shape.conditioning_bytes;
    std::set<std::int64_t> posed;                         // slices whose pose features are kept here
    std::set<std::pair<std::size_t, Branch>> looked_at;  // routes are shared by many slices
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            const bool is_new = looked_at.emplace(plan.deal.route_index(slice, branch), branch).second;
            for (std::size_t leg = 0; is_new && leg < route.legs.size(); ++leg)
                if (route.legs[leg].rank == rank) bytes.activations = most(bytes.activations, leg_bytes(plan.shape, route, leg, branch, streamed));
            if (route.first_rank() == rank && plan.shape.sees_pose[index(branch)]) posed.insert(slice);
            if (route.last_rank() == rank) bytes.latents += plan.shape.num_slots * plan.frame_elements() * plan.prediction_bytes;
        }
    if (plan.memory.keep_pose_features) bytes.conditioning += static_cast<std::int64_t>(posed.size()) * plan.shape.pose_bytes;
    bytes.peak = bytes.activations + (bytes.weights + bytes.slots + bytes.latents + bytes.conditioning);
    return bytes;
}

}  // namespace weft::plan

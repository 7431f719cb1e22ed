#include "plan/memory.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/rooms.hpp"

#include <algorithm>
#include <map>
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
        peak_ = std::max(peak_, piece.working[index(branch)] + (now_ + (streamed_.empty() ? 0 : streamed_[index(piece.unit)])));
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

    [[nodiscard]] std::int64_t peak() const { return peak_; }

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
    std::int64_t peak_ = 0;
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
        auto held = shape.units[unit].weight_bytes;
        bytes[unit] = held;
        for (auto next = behind(unit); next != unit && held + shape.units[next].weight_bytes <= window; next = behind(next)) {
            held += shape.units[next].weight_bytes;
            bytes[unit] = std::max(bytes[unit], held + shape.units[next].bind_bytes);  // while it is taken
        }
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

std::int64_t leg_bytes(const PassShape& shape, const Route& route, std::size_t leg, Branch branch, std::span<const std::int64_t> streamed) {
    Tensors tensors(shape, streamed);
    if (leg == 0) tensors.begin(branch);
    for (const auto& room : rooms_of(shape, route))
        if (room.to_leg == leg) tensors.receive(room, room.bytes / std::max<std::int64_t>(1, room.slots.size()));
    const auto& pieces = route.legs.at(leg).pieces;
    for (auto piece = pieces.begin; piece < pieces.end; ++piece) tensors.run(piece, branch);
    return tensors.peak();
}

DeviceTable device_table(bool on_gpu) {
    // launch/gpu-check memory, on an H100 with driver 580 and CUDA 13: what is in use less what the allocator has reserved, 695 to 697 MB, 770 to 777 once
    // weights were streamed; reserved beyond given out, 30 to 160 MB for 0.8 to 5.5 GB. Held to 3 % alone, jobs of 0.3 to 1.8 GB ran out of memory.
    if (on_gpu)
        return {.base_bytes = 700'000'000,
                .stream_base_bytes = 80'000'000,
                .workspace_bytes = 34'000'000,
                .slack = 0.03,
                .slack_bytes = 120'000'000,
                .stream_bytes_s = 25e9};
    // Anonymous memory of the process less that at the start less the meter's peak, on two cores of an AMD EPYC: 112 and 121 MB beside 138 and 81 MB of tensors
    // (tiny model, 256x256, 48 frames), 294 beside 5833 and 583 beside 633 (full size, 2 frames of 256x256, resident and streamed): src/plan/memory.md.
    return {.base_bytes = 70'000'000, .slack = 0.75, .most_slack_bytes = 550'000'000, .stream_bytes_s = 1e9};
}

std::int64_t allocator_limit(std::int64_t budget, const Plan& plan) {
    const auto table = device_table(plan.on_gpu);
    return budget - table.base_bytes - (plan.memory.stream_window > 0 ? table.stream_base_bytes : 0);
}

std::int64_t tensors_within(std::int64_t budget, const Plan& plan) {
    const auto table = device_table(plan.on_gpu);
    const auto room = allocator_limit(budget, plan) - table.slack_bytes;
    return std::max(static_cast<std::int64_t>(static_cast<double>(room) / (1 + table.slack)), room - table.most_slack_bytes);
}

const PhaseMemory& RankMemory::fullest() const {
    const auto* most = &encode;
    for (const auto* phase : {&denoise, &decode})
        if (phase->total > most->total) most = phase;
    return *most;
}

namespace {

std::int64_t with_table(std::int64_t tensors, const Plan& plan) {
    if (tensors == 0) return 0;
    const auto table = device_table(plan.on_gpu);
    const auto slack = std::min(static_cast<double>(tensors) * table.slack, static_cast<double>(table.most_slack_bytes));
    return tensors + static_cast<std::int64_t>(slack) + table.slack_bytes + table.base_bytes + (plan.memory.stream_window > 0 ? table.stream_base_bytes : 0);
}

/// Noise for the latents is drawn in the host's memory: for a whole slice or clip, and once more in the order in which it is kept.
std::int64_t noise_bytes(const Plan& plan) {
    const auto drawn = plan.hidden_frames > 0 ? plan.shape.num_slots : plan.num_latents;
    return 2 * drawn * plan.frame_elements() * 4;
}

void weigh_denoising(const Plan& plan, int rank, RankMemory& memory) {
    const auto pieces = plan.deal.pieces_of(rank);
    const auto held = rank_bytes(plan, rank);
    const auto window = plan.memory.stream_window;
    std::vector<std::int64_t> streamed;
    if (window > 0) streamed = streamed_bytes(plan.shape, plan.shape.units_of(pieces), window);
    const bool counts_latents = !plan.on_gpu || plan.latents_on_device;
    memory.weights = window > 0 ? plan.shape.kept_bytes(pieces) : held.weights;
    memory.slots = held.slots;
    memory.latents = counts_latents ? held.latents : 0;
    memory.conditioning = plan.shape.conditioning_bytes;
    std::set<std::int64_t> posed;                        // slices whose pose features are kept here
    std::set<std::pair<std::size_t, Branch>> looked_at;  // routes are shared by many slices
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            const bool is_new = looked_at.emplace(plan.deal.route_index(slice, branch), branch).second;
            for (std::size_t leg = 0; is_new && leg < route.legs.size(); ++leg)
                if (route.legs[leg].rank == rank) memory.activations = std::max(memory.activations, leg_bytes(plan.shape, route, leg, branch, streamed));
            if (route.first_rank() == rank && plan.shape.sees_pose[index(branch)]) posed.insert(slice);
            if (route.last_rank() == rank && counts_latents) memory.latents += plan.shape.num_slots * plan.frame_elements() * plan.prediction_bytes;
        }
    if (plan.memory.keep_pose_features) memory.conditioning += static_cast<std::int64_t>(posed.size()) * plan.shape.pose_bytes;
    memory.denoise.tensors = memory.activations + memory.weights + memory.slots + memory.latents + memory.conditioning;
}

}  // namespace

RankMemory rank_memory(const Plan& plan, int rank) {
    RankMemory memory;
    if (!plan.deal.pieces_of(rank).empty()) {
        const auto noise = plan.on_gpu ? 0 : plan.shape.conditioning_bytes + noise_bytes(plan);
        memory.encode.tensors = std::max(plan.encode, noise);
        weigh_denoising(plan, rank, memory);
    }
    for (std::size_t chunk = 0; chunk < plan.decoder.size(); ++chunk)
        if (plan.decoder[chunk] == rank)
            memory.decode.tensors = std::max(memory.decode.tensors, (chunk + 1 < plan.decoder.size() ? plan.decode_chunk : plan.decode_last).of(plan.memory) +
                                                                        plan.shape.conditioning_bytes);
    for (auto* phase : {&memory.encode, &memory.denoise, &memory.decode}) {
        if (phase->tensors > 0) phase->tensors += device_table(plan.on_gpu).workspace_bytes;
        phase->total = with_table(phase->tensors, plan);
    }
    return memory;
}

Fullest fullest(const Plan& plan) {
    Fullest most;
    for (int rank = 0; rank < plan.num_ranks(); ++rank) {
        const auto memory = rank_memory(plan, rank);
        const auto& phase = memory.fullest();
        if (phase.total > most.bytes) most = {rank, phase.name, phase.total};
    }
    return most;
}

namespace {

/// Seconds of one pass after another over the units of a rank, when their weights come through a window (WeightStream).
double streamed_seconds(const PassShape& shape, const std::vector<double>& unit_seconds, std::int64_t window, double bytes_s) {
    std::vector<std::size_t> order;
    for (std::size_t unit = 0; unit < unit_seconds.size(); ++unit)
        if (unit_seconds[unit] > 0) order.push_back(unit);
    constexpr std::size_t laps = 3;
    std::vector<double> lap_ends;
    std::vector<double> ends;  // of the units that have run, in order
    double fetched = 0, ran = 0;
    std::size_t oldest = 0;  // of those that hold room in the window
    std::int64_t held = 0;
    for (std::size_t i = 0; i < laps * order.size(); ++i) {
        const auto unit = order[i % order.size()];
        const auto bytes = shape.units[unit].weight_bytes;
        double room_at = 0;
        for (; oldest < i && held + bytes > window; ++oldest) {
            held -= shape.units[order[oldest % order.size()]].weight_bytes;
            room_at = ends[oldest];
        }
        held += bytes;
        fetched = std::max(fetched, room_at) + static_cast<double>(bytes) / bytes_s;
        ran = std::max(ran, fetched) + unit_seconds[unit];
        ends.push_back(ran);
        if ((i + 1) % order.size() == 0) lap_ends.push_back(ran);
    }
    return lap_ends[laps - 1] - lap_ends[laps - 2];
}

/// Of one leg: what it takes, and what it takes under the choice.
struct Times {
    double plain = 0, chosen = 0;
};

Times times_of(const Plan& plan, const Leg& leg, Branch branch, bool first_leg, bool last_leg) {
    const auto& shape = plan.shape;
    std::vector<double> units(shape.units.size());
    for (auto piece = leg.pieces.begin; piece < leg.pieces.end; ++piece)
        units[index(shape.pieces[index(piece)].unit)] += 1e-9 * static_cast<double>(shape.pieces[index(piece)].cost[index(branch)]);
    Times times;
    for (const auto seconds : units) times.plain += seconds;
    times.chosen = times.plain;
    const auto pose = shape.sees_pose[index(branch)] && !plan.memory.keep_pose_features ? 1e-9 * static_cast<double>(shape.pose_ns) : 0.0;
    if (plan.memory.stream_window > 0) times.chosen = streamed_seconds(shape, units, plan.memory.stream_window, device_table(plan.on_gpu).stream_bytes_s);
    if (first_leg) times.chosen += pose;
    if (last_leg && plan.memory.remake_first_skip) times.chosen += pose + 1e-9 * static_cast<double>(shape.pieces.front().cost[index(branch)]);
    return times;
}

}  // namespace

double slow_down(const Plan& plan) {
    std::map<std::pair<std::size_t, Branch>, std::vector<Times>> known;
    std::vector<Times> ranks(index(plan.num_ranks()));
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            auto& legs = known[{plan.deal.route_index(slice, branch), branch}];
            for (auto leg = legs.size(); leg < route.legs.size(); ++leg)
                legs.push_back(times_of(plan, route.legs[leg], branch, leg == 0, leg + 1 == route.legs.size()));
            for (std::size_t leg = 0; leg < legs.size(); ++leg) {
                ranks[index(route.legs[leg].rank)].plain += legs[leg].plain;
                ranks[index(route.legs[leg].rank)].chosen += legs[leg].chosen;
            }
        }
    double most = 1;
    for (const auto& rank : ranks)
        if (rank.plain > 0) most = std::max(most, rank.chosen / rank.plain);
    return most;
}

}  // namespace weft::plan

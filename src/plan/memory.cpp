#include "plan/memory.hpp"

#include "base/error.hpp"
#include "plan/index.hpp"
#include "plan/rooms.hpp"
#include "plan/weight_window.hpp"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

namespace weft::plan {

namespace {

/// A pass's tensors as they come and go on one rank: the state that the model's units know (src/model/unit.hpp), in bytes.
class Tensors {
  public:
    explicit Tensors(const PassShape& shape) : shape_{shape} {}

    /// A tensor that this leg makes, or, of no bytes, one that lies in a slot.
    using Tensor = std::shared_ptr<void>;
    [[nodiscard]] Tensor make(std::int64_t bytes) {
        now_ += bytes;
        return {nullptr, [this, bytes](void*) { now_ -= bytes; }};
    }

    void begin(Branch branch) { hidden_ = make(shape_.begun[index(branch)]); }
    void receive(const Room& room, std::int64_t slot_bytes) {
        auto tensor = make(room.slots.size() < shape_.num_slots ? shape_.num_slots * slot_bytes : 0);
        if (room.content == Room::Content::skip)
            skips_.push_back(std::move(tensor));
        else
            (room.tensor == 0 ? hidden_ : room.tensor == 1 ? partial_ : residual_) = std::move(tensor);
    }

    [[nodiscard]] std::int64_t now() const { return now_; }

    /// Bytes while the piece runs, at most.
    std::int64_t run(std::int64_t number, Branch branch) {
        const auto& piece = shape_.pieces[index(number)];
        const auto& unit = shape_.units[index(piece.unit)];
        const auto peak = piece.working[index(branch)] + now_;
        const bool first = piece.slots.begin == 0;
        const bool last = piece.slots.end == shape_.num_slots;
        if (unit.opens && first) {
            residual_ = std::move(hidden_);
            hidden_ = make(result_bytes(number));
        }
        if (!unit.in_place && first) partial_ = make(result_bytes(number));
        if (!last) return peak;
        const auto before = hidden_;
        if (!unit.in_place) hidden_ = std::move(partial_);
        if (unit.closes) hidden_ = std::move(residual_);
        if (unit.pops) skips_.pop_back();
        if (unit.pushes) skips_.push_back(piece.unit == 0 && shape_.remakes_first_skip ? before : hidden_);
        return peak;
    }

  private:
    /// Of the hidden state behind a piece's unit, all frames.
    [[nodiscard]] std::int64_t result_bytes(std::int64_t number) const {
        const auto unit = shape_.pieces[index(number)].unit;
        while (++number < shape_.num_pieces())
            if (shape_.pieces[index(number)].unit != unit) return shape_.pieces[index(number)].state.front().slot_bytes * shape_.num_slots;
        return 0;  // the prediction, which is small
    }

    const PassShape& shape_;
    std::int64_t now_ = 0;
    Tensor hidden_, partial_, residual_;
    std::vector<Tensor> skips_;
};

}  // namespace

LegBytes leg_bytes(const PassShape& shape, const Route& route, std::size_t leg, Branch branch) {
    Tensors tensors(shape);
    if (leg == 0) tensors.begin(branch);
    for (const auto& room : rooms_of(shape, route))
        if (room.to_leg == leg) tensors.receive(room, room.bytes / std::max<std::int64_t>(1, room.slots.size()));
    LegBytes bytes{.start = leg == 0 ? shape.begin[index(branch)] : tensors.now(), .units = std::vector<std::int64_t>(shape.units.size())};
    const auto& pieces = route.legs.at(leg).pieces;
    for (auto piece = pieces.begin; piece < pieces.end; ++piece) {
        auto& most = bytes.units[index(shape.pieces[index(piece)].unit)];
        most = std::max(most, tensors.run(piece, branch));
    }
    return bytes;
}

std::vector<std::int64_t> pass_bytes(const Plan& plan, int rank) {
    std::vector<std::int64_t> bytes(plan.shape.units.size());
    std::int64_t start = 0;
    std::set<std::pair<std::size_t, Branch>> looked_at;  // routes are shared by many slices
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            if (!looked_at.emplace(plan.deal.route_index(slice, branch), branch).second) continue;
            for (std::size_t leg = 0; leg < route.legs.size(); ++leg) {
                if (route.legs[leg].rank != rank) continue;
                const auto of_leg = leg_bytes(plan.shape, route, leg, branch);
                start = std::max(start, of_leg.start);
                for (std::size_t unit = 0; unit < bytes.size(); ++unit) bytes[unit] = std::max(bytes[unit], of_leg.units[unit]);
            }
        }
    for (auto& one : bytes)
        if (one > 0) one = std::max(one, start);
    return bytes;
}

DeviceTable device_table(bool on_gpu) {
    // launch/gpu-check memory and nccl, on an H100 and an H200 with driver 580 and CUDA 13: what is in use less what the allocator has reserved, 695 to 697 MB,
    // 770 to 777 once weights were streamed; reserved beyond given out, 30 to 160 MB for 0.8 to 5.5 GB. Held to 3 % alone, jobs of 0.3 to 1.8 GB ran out of
    // memory. NCCL 2.28: 868 MB for a rank with a GPU of its own.
    if (on_gpu)
        return {.base_bytes = 700'000'000,
                .stream_base_bytes = 80'000'000,
                .nccl_bytes = 870'000'000,
                .workspace_bytes = 34'000'000,
                .slack = 0.03,
                .slack_bytes = 120'000'000,
                .stream_bytes_s = 25e9};
    // Anonymous memory of the process less that before it encodes less the meter's peak, on two cores of an AMD EPYC: 63 MB beside 43 MB of tensors and 154
    // beside 139 (tiny model, 256x256, 48 frames), 277 beside 212 (decoding in bf16), 133 beside 5833 and 156 beside 656 (full size, 2 frames of 256x256,
    // resident and streamed): src/plan/memory.md.
    return {.base_bytes = 70'000'000, .slack = 1, .most_slack_bytes = 230'000'000, .stream_bytes_s = 1e9};
}

namespace {
/// Beside what the allocator takes.
std::int64_t base_bytes(const DeviceTable& table, const Plan& plan) {
    return table.base_bytes + (plan.memory.stream_window > 0 ? table.stream_base_bytes : 0) + (plan.latents_on_device ? table.nccl_bytes : 0);
}
}  // namespace

std::int64_t allocator_limit(std::int64_t budget, const Plan& plan) {
    return budget - base_bytes(device_table(plan.on_gpu), plan);
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
    return tensors + static_cast<std::int64_t>(slack) + table.slack_bytes + base_bytes(table, plan);
}

/// Noise for the latents is drawn in the host's memory: for a whole slice or clip, and once more in the order in which it is kept.
std::int64_t noise_bytes(const Plan& plan) {
    const auto drawn = plan.hidden_frames > 0 ? plan.shape.num_slots : plan.num_latents;
    return 2 * drawn * plan.frame_elements() * 4;
}

void weigh_denoising(const Plan& plan, int rank, RankMemory& memory) {
    const auto pieces = plan.deal.pieces_of(rank);
    const auto held = rank_bytes(plan, rank);
    const auto passes = pass_bytes(plan, rank);
    const auto window = plan.memory.stream_window > 0 ? weight_windows(plan, rank, passes).chosen : std::nullopt;
    const auto streamed = window ? window->held_bytes() : std::vector<std::int64_t>(plan.shape.units.size());
    for (std::size_t unit = 0; unit < passes.size(); ++unit) memory.activations = std::max(memory.activations, passes[unit] + streamed[unit]);
    const bool counts_latents = !plan.on_gpu || plan.latents_on_device;
    memory.weights = window ? plan.shape.kept_bytes(pieces) : held.weights;
    memory.slots = held.slots;
    memory.latents = counts_latents ? held.latents : 0;
    memory.conditioning = plan.shape.conditioning_bytes;
    std::set<std::int64_t> posed;  // slices whose pose features are kept here
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
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

/// Of one leg: what it takes, and what it takes under the choice.
struct Times {
    double plain = 0, chosen = 0;
};

Times times_of(const Plan& plan, const Leg& leg, Branch branch, const std::optional<WeightWindow>& window, bool first_leg, bool last_leg) {
    const auto& shape = plan.shape;
    std::vector<double> units(shape.units.size());
    for (auto piece = leg.pieces.begin; piece < leg.pieces.end; ++piece)
        units[index(shape.pieces[index(piece)].unit)] += 1e-9 * static_cast<double>(shape.pieces[index(piece)].cost[index(branch)]);
    Times times;
    for (const auto seconds : units) times.plain += seconds;
    times.chosen = times.plain;
    const auto pose = shape.sees_pose[index(branch)] && !plan.memory.keep_pose_features ? 1e-9 * static_cast<double>(shape.pose_ns) : 0.0;
    if (window) times.chosen = streamed_seconds(*window, units, device_table(plan.on_gpu).stream_bytes_s);
    if (first_leg) times.chosen += pose;
    if (last_leg && plan.memory.remake_first_skip) times.chosen += pose + 1e-9 * static_cast<double>(shape.pieces.front().cost[index(branch)]);
    return times;
}

}  // namespace

double slow_down(const Plan& plan) {
    std::map<std::pair<std::size_t, Branch>, std::vector<Times>> known;
    std::vector<Times> ranks(index(plan.num_ranks()));
    std::vector<std::optional<WeightWindow>> windows(ranks.size());
    for (int rank = 0; rank < plan.num_ranks() && plan.memory.stream_window > 0; ++rank)
        windows[index(rank)] = weight_windows(plan, rank, pass_bytes(plan, rank)).chosen;
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            auto& legs = known[{plan.deal.route_index(slice, branch), branch}];
            for (auto leg = legs.size(); leg < route.legs.size(); ++leg)
                legs.push_back(times_of(plan, route.legs[leg], branch, windows[index(route.legs[leg].rank)], leg == 0, leg + 1 == route.legs.size()));
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

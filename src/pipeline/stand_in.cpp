#include "pipeline/stand_in.hpp"

#include "base/error.hpp"
#include "pipeline/kinds.hpp"
#include "plan/rooms.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <map>
#include <thread>
#include <unordered_map>
#include <variant>

namespace weft::pipeline {

namespace {

using Clock = std::chrono::steady_clock;

/// The plan's shape with smaller tensors: [slots, 1, 1, channels] of two bytes an element.
model::PassLayout shrink(const plan::PassShape& shape, std::int64_t payload) {
    const auto small = [payload](std::int64_t bytes) { return std::max<std::int64_t>(1, bytes / payload / 2) * 2; };
    model::PassLayout layout{.shape = shape, .state = {}, .skips = {}};
    for (auto& piece : layout.shape.pieces) {
        auto& sizes = layout.state.emplace_back();
        for (auto& part : piece.state) {
            part.slot_bytes = small(part.slot_bytes);
            sizes.push_back({1, 1, part.slot_bytes / 2});
        }
    }
    for (auto& skip : layout.shape.skips) {
        skip.slot_bytes = small(skip.slot_bytes);
        layout.skips.push_back({1, 1, skip.slot_bytes / 2});
    }
    return layout;
}

/// When the leg under way is through with the pieces that it has had.
struct Deadline {
    Clock::time_point until;
};

/// What passes leave between legs: nobody looks at the values, so all passes leave the same tensors.
struct Leavings {
    std::vector<std::vector<at::Tensor>> state;  ///< by piece, where some route is cut in front of it
    std::vector<at::Tensor> skips;
};

Leavings leavings_of(const plan::Deal& deal, const model::PassLayout& layout) {
    const auto tensor = [&](const model::FrameSize& size) {
        return at::zeros({layout.shape.num_slots, size.height, size.width, size.channels}, at::TensorOptions{}.dtype(c10::kHalf));
    };
    Leavings leavings{.state = std::vector<std::vector<at::Tensor>>(layout.state.size()), .skips = {}};
    bool cut = false;
    for (const auto& route : deal.routes())
        for (std::size_t leg = 1; leg < route.legs.size(); ++leg) {
            const auto piece = static_cast<std::size_t>(route.legs[leg].pieces.begin);
            cut = true;
            if (leavings.state[piece].empty())
                for (const auto& size : layout.state[piece]) leavings.state[piece].push_back(tensor(size));
        }
    for (const auto& size : layout.skips) leavings.skips.push_back(cut ? tensor(size) : at::Tensor());
    return leavings;
}

class Sleeper final : public model::Unit {
  public:
    Sleeper(const plan::UnitShape& unit, std::int64_t index, const model::PassLayout& layout, const Leavings& leavings, double time_scale, Deadline& deadline)
        : Unit{unit.name, {}}, index_{index}, layout_{layout}, leavings_{leavings}, time_scale_{time_scale}, deadline_{deadline} {}
    void bind(const model::Weights& /*source*/) override {}
    void release() override {}
    void run(model::PassState& state, plan::FrameRange slots) const override {
        const auto& pieces = layout_.shape.pieces;
        std::size_t piece = 0;
        while (pieces.at(piece).unit != index_ || pieces[piece].slots.begin != slots.begin) ++piece;
        deadline_.until += std::chrono::duration_cast<Clock::duration>(
            std::chrono::duration<double, std::nano>(static_cast<double>(pieces[piece].cost[static_cast<std::size_t>(state.branches.front())]) * time_scale_));
        std::this_thread::sleep_until(deadline_.until);

        const auto number = static_cast<std::int64_t>(piece);
        for (const auto& skip : layout_.shape.skips)
            if (skip.used_by.end == number + 1) state.skips.pop_back();
        for (std::size_t skip = 0; skip < layout_.skips.size(); ++skip)
            if (layout_.shape.skips[skip].made_by == number) state.skips.push_back(leavings_.skips[skip]);
        state.hidden = state.partial = state.residual = at::Tensor();
        if (piece + 1 == pieces.size()) return;
        const auto& left = leavings_.state[piece + 1];
        for (std::size_t part = 0; part < left.size(); ++part)
            model::tensor_of(state, static_cast<model::StateTensor>(pieces[piece + 1].state[part].tensor)) = left[part];
    }

  private:
    std::int64_t index_;
    const model::PassLayout& layout_;
    const Leavings& leavings_;
    double time_scale_;
    Deadline& deadline_;
};

class StandIn final : public model::Family {
  public:
    StandIn(const plan::Plan& plan, StandInScale scale)
        : sizes_{plan.latent_channels, plan.latent_height, plan.latent_width},
          time_scale_{scale.time},
          payload_{scale.payload},
          layout_{shrink(plan.shape, scale.payload)},
          leavings_{leavings_of(plan.deal, layout_)},
          prediction_{at::zeros({plan.shape.num_slots, sizes_[0], sizes_[1], sizes_[2]}, at::TensorOptions{}.dtype(c10::kHalf))} {
        ensure(plan.prediction_bytes == 2, "a stand-in predicts in fp16");
        for (std::size_t unit = 0; unit < plan.shape.units.size(); ++unit)
            units_.push_back(std::make_unique<Sleeper>(plan.shape.units[unit], static_cast<std::int64_t>(unit), layout_, leavings_, scale.time, deadline_));
    }

    c10::Device device() const override { return c10::kCPU; }
    void encode(const at::Tensor& /*reference*/) override {}
    at::Tensor initial_latents(const std::vector<std::int64_t>& frames) override {
        return at::zeros({static_cast<std::int64_t>(frames.size()), sizes_[0], sizes_[1], sizes_[2]}, at::TensorOptions{}.dtype(c10::kFloat));
    }
    void load_denoiser(const std::vector<bool>& /*wanted*/, const plan::MemoryChoice& /*choice*/, const plan::WeightWindows& /*windows*/) override {}
    void run(std::size_t unit, model::PassState& state, plan::FrameRange slots) override { units_.at(unit)->run(state, slots); }
    void drop_denoiser() override {}
    void relieve() override {}
    const model::Units& units() const override { return units_; }
    const model::PassLayout& layout() const override { return layout_; }
    model::PassState resume(const plan::Pass& pass) override {
        deadline_.until = Clock::now();
        model::PassState state;
        state.branches = {pass.branch};
        return state;
    }
    model::PassState begin(const plan::Pass& pass, const at::Tensor& /*latents*/, const std::vector<std::int64_t>& /*frames*/) override { return resume(pass); }
    at::Tensor finish(model::PassState& /*state*/) override { return prediction_; }
    c10::ScalarType prediction_type() const override { return c10::kHalf; }
    at::Tensor step(const at::Tensor& latents, const at::Tensor& prediction, std::int64_t /*step*/) const override { return latents + prediction; }
    void load_decoder(const plan::MemoryChoice& /*choice*/) override {}
    void drop_decoder() override {}
    at::Tensor decode(const at::Tensor& latents) override {
        std::this_thread::sleep_for(std::chrono::duration<double>(static_cast<double>(latents.size(0)) * decode_frame_s * time_scale_));
        return at::zeros({latents.size(0), small_side(sizes_[1]), small_side(sizes_[2]), 3}, at::TensorOptions{}.dtype(c10::kFloat));
    }

  private:
    /// Of a frame whose latents have this side.
    [[nodiscard]] std::int64_t small_side(std::int64_t side) const {
        return std::max<std::int64_t>(1, std::llround(8 * static_cast<double>(side) / std::sqrt(static_cast<double>(payload_))));
    }

    std::array<std::int64_t, 3> sizes_;
    double time_scale_;
    std::int64_t payload_;
    model::PassLayout layout_;
    Leavings leavings_;
    at::Tensor prediction_;
    Deadline deadline_;
    model::Units units_;
};

class LateLink final : public comm::Link {
  public:
    LateLink(std::unique_ptr<comm::Link> inner, const plan::Links& links, StandInScale scale)
        : inner_{std::move(inner)}, links_{links}, scale_{scale}, begin_{Clock::now()} {}

    const std::vector<comm::Identity>& everyone() const override { return inner_->everyone(); }
    const comm::Identity& who() const override { return inner_->who(); }
    Ticket start_send(int to, comm::Tag tag, std::span<const std::byte> bytes) override { return inner_->start_send(to, tag, bytes); }
    Ticket start_receive(int from, comm::Tag tag, std::span<std::byte> bytes) override {
        const auto ticket = inner_->start_receive(from, tag, bytes);
        if (plan::between_legs(static_cast<plan::Cargo>(tag.kind)))
            late_.emplace(ticket, Late{from, static_cast<double>(bytes.size()) * static_cast<double>(scale_.payload)});
        return ticket;
    }
    void poll(std::vector<Ended>& ended) override {
        came_.clear();
        inner_->poll(came_);
        const auto now_s = std::chrono::duration<double>(Clock::now() - begin_).count();
        for (auto& one : came_) {
            const auto found = late_.find(one.ticket);
            if (found == late_.end() || !one.wrong.empty()) {
                ended.push_back(std::move(one));
                continue;
            }
            const auto [from, bytes] = found->second;
            const bool local = links_.same_host(from, who().rank);
            auto& free_s = free_s_[from];
            free_s = std::max(free_s, now_s) + scale_.time * bytes / (local ? links_.local_bytes_s : links_.remote_bytes_s);
            due_.emplace(free_s + scale_.time * (local ? links_.local_latency_s : links_.remote_latency_s), one);
            late_.erase(found);
        }
        while (!due_.empty() && due_.begin()->first <= now_s) {
            ended.push_back(due_.begin()->second);
            due_.erase(due_.begin());
        }
    }
    void post_letter(int to, const std::string& text) override { inner_->post_letter(to, text); }
    std::optional<comm::Letter> next_letter() override { return inner_->next_letter(); }
    void close() override { inner_->close(); }
    void abort(int code) override { inner_->abort(code); }
    std::optional<int> aborted() const override { return inner_->aborted(); }

  private:
    struct Late {
        int from = 0;
        double bytes = 0;  // of the whole
    };
    std::unique_ptr<comm::Link> inner_;
    plan::Links links_;
    StandInScale scale_;
    Clock::time_point begin_;
    std::vector<Ended> came_;
    std::unordered_map<Ticket, Late> late_;
    std::map<int, double> free_s_;      // by sender
    std::multimap<double, Ended> due_;  // by time
};

}  // namespace

std::unique_ptr<model::Family> make_stand_in(const plan::Plan& plan, StandInScale scale) {
    return std::make_unique<StandIn>(plan, scale);
}

std::vector<plan::Program> shrunk(std::vector<plan::Program> programs, const plan::Plan& plan, const model::PassLayout& small) {
    std::vector<std::vector<plan::Room>> rooms;
    for (const auto& route : plan.deal.routes()) rooms.push_back(plan::rooms_of(small.shape, route));
    const auto shrink_one = [&](plan::Message& message) {
        if (plan::between_legs(message.cargo)) message.bytes = rooms[plan.deal.route_index(message.pass.slice, message.pass.branch)][message.room].bytes;
    };
    for (auto& program : programs)
        for (auto& operation : program) {
            if (auto* receive = std::get_if<plan::Receive>(&operation)) shrink_one(receive->message);
            if (auto* take = std::get_if<plan::Take>(&operation)) shrink_one(take->message);
            if (auto* send = std::get_if<plan::Send>(&operation)) shrink_one(send->message);
        }
    return programs;
}

std::unique_ptr<comm::Link> make_late_link(std::unique_ptr<comm::Link> inner, const plan::Links& links, StandInScale scale) {
    return std::make_unique<LateLink>(std::move(inner), links, scale);
}

}  // namespace weft::pipeline

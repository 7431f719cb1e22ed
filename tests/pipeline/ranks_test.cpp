#include "support/ranks.hpp"
#include "base/text.hpp"
#include "io/run_file.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/saver.hpp"
#include "plan/rooms.hpp"
#include "plan/sample_plans.hpp"
#include "support/fake_nccl.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <optional>
#include <random>
#include <thread>

/// The interpreter on ranks as threads over the unbuffered transport, with passes that are a few sums of floats and take random times: whatever the speeds,
/// every job ends, and its latents are those of one rank. Without Torch, so that the thread sanitizer's word counts.
namespace weft::pipeline {
namespace {

/// Where what may travel from GPU to GPU lies; "device" memory is the host's for these ranks, and moves through NCCL's stand-in.
enum class Place { host, device };

/// One float a frame. A pass's prediction for a frame depends on all frames of its slice and on where the frame stands, as a real one's does. Between legs a
/// pass is one float, which waits in every room that it leaves; pieces change it one after the other, and skips come back into it.
class StandIn final : public Denoiser {
  public:
    StandIn(const plan::Plan& plan, int rank, int seed, double slowness, Place place)
        : plan_{plan}, rank_{rank}, jitter_{static_cast<unsigned>(seed)}, slowness_{slowness}, place_{place} {
        for (const auto& range : plan.kept(rank))
            for (auto frame = range.begin; frame < range.end; ++frame) latents_[frame] = 1.0F + 0.1F * static_cast<float>(frame);
        for (const auto& route : plan.deal.routes()) {
            auto& way = ways_.emplace_back();
            way.rooms = plan::rooms_of(plan.shape, route);
            way.slots.assign(way.rooms.size(), std::vector<float>(static_cast<std::size_t>(route.slots), empty));
        }
    }

    void compute(const plan::Task& task) override {
        pause();
        const auto& pass = task.pass;
        const auto leg = plan_.deal.route(pass.slice, pass.branch).leg_of(task.pieces.begin);
        auto& way = way_of(pass);
        const auto& frames = plan_.slices[static_cast<std::size_t>(pass.slice)].frames;
        float state = 0;
        if (leg == 0)
            for (const auto frame : frames) state = state * 0.7F + latents_.at(frame);
        std::map<std::int64_t, float> skips;  // by number
        for (std::size_t room = 0; room < way.rooms.size(); ++room) {
            const auto& one = way.rooms[room];
            if (one.to_leg != leg) continue;
            auto& slot = way.slots[room][static_cast<std::size_t>(task.slot)];
            ensure(slot != empty, "a leg finds what was left for it");
            (one.content == plan::Room::Content::state ? state : skips[one.item]) = slot;
            slot = empty;
        }
        for (auto piece = task.pieces.begin; piece < task.pieces.end; ++piece) {
            for (std::size_t skip = 0; skip < plan_.shape.skips.size(); ++skip)
                if (plan_.shape.skips[skip].used_by.begin <= piece && piece < plan_.shape.skips[skip].used_by.end)
                    state += 0.01F * skips.at(static_cast<std::int64_t>(skip));
            state = state * 0.99F + 0.001F * static_cast<float>(piece) + (pass.branch == plan::Branch::conditional ? 0.03F : 0.0F);
            for (std::size_t skip = 0; skip < plan_.shape.skips.size(); ++skip)
                if (plan_.shape.skips[skip].made_by == piece) skips[static_cast<std::int64_t>(skip)] = state;
        }
        for (std::size_t room = 0; room < way.rooms.size(); ++room) {
            const auto& one = way.rooms[room];
            if (one.from_leg != leg) continue;
            const auto value = one.content == plan::Room::Content::state ? state : skips.at(one.item);
            if (one.to == rank_)
                way.slots[room][static_cast<std::size_t>(task.slot)] = value;
            else
                leaving_[{pass, room}] = value;
        }
        if (task.pieces.end < plan_.shape.num_pieces()) return;
        for (std::size_t slot = 0; slot < frames.size(); ++slot) predictions_[pass][frames[slot]] = 0.01F * state + 0.1F * static_cast<float>(slot);
    }
    void advance(const plan::Advance& advance) override {
        for (const auto& range : advance.frames)
            for (auto frame = range.begin; frame < range.end; ++frame) {
                float sum = 0;
                for (const auto slice : plan_.covering(frame))
                    for (const auto branch : {plan::Branch::unconditional, plan::Branch::conditional})
                        if (plan_.guided || branch == plan::Branch::conditional) sum = sum * 0.9F + predictions_.at({advance.step, slice, branch}).at(frame);
                latents_.at(frame) += 0.01F * sum;
            }
        pause();
    }
    comm::Buffer pack(const plan::Message& message) override {
        if (between_legs(message))
            return placed(message, packed({{0, 1}}, [&](std::int64_t) { return leaving_.extract({message.pass, message.room}).mapped(); }));
        return placed(message, packed(message.frames, [&](std::int64_t frame) {
                          return message.cargo == plan::Cargo::prediction ? predictions_.at(message.pass).at(frame) : latents_.at(frame);
                      }));
    }
    comm::Buffer room(const plan::Message& message) override {
        if (between_legs(message)) return placed(message, comm::make_buffer(sizeof(float)));
        return placed(message, comm::make_buffer(static_cast<std::size_t>(plan::count(message.frames)) * sizeof(float)));
    }
    void take(const plan::Message& message, const comm::Buffer& buffer) override {
        const auto* from = reinterpret_cast<const float*>(buffer.bytes.data());
        if (between_legs(message)) {
            auto& slot = way_of(message.pass).slots[message.room][static_cast<std::size_t>(message.slot)];
            ensure(slot == empty, "a slot is filled when it is free");
            slot = *from;
            return;
        }
        for (const auto& range : message.frames)
            for (auto frame = range.begin; frame < range.end; ++frame)
                (message.cargo == plan::Cargo::prediction ? predictions_[message.pass][frame] : latents_.at(frame)) = *from++;
        pause();
    }
    comm::Buffer latents(const plan::FrameRanges& frames) const override {
        return packed(frames, [&](std::int64_t frame) { return latents_.at(frame); });
    }

  private:
    static constexpr float empty = -1e30F;
    struct Way {
        std::vector<plan::Room> rooms;
        std::vector<std::vector<float>> slots;  // by room and slot
    };
    static bool between_legs(const plan::Message& message) { return message.cargo == plan::Cargo::state || message.cargo == plan::Cargo::skip; }
    Way& way_of(const plan::Pass& pass) { return ways_[plan_.deal.route_index(pass.slice, pass.branch)]; }

    comm::Buffer placed(const plan::Message& message, comm::Buffer buffer) const {
        return place_ == Place::device && plan::for_device(message) ? test::on_device(std::move(buffer)) : buffer;
    }
    template <class Value>
    static comm::Buffer packed(const plan::FrameRanges& frames, Value value) {
        auto buffer = comm::make_buffer(static_cast<std::size_t>(plan::count(frames)) * sizeof(float));
        auto* into = reinterpret_cast<float*>(buffer.bytes.data());
        for (const auto& range : frames)
            for (auto frame = range.begin; frame < range.end; ++frame) *into++ = value(frame);
        return buffer;
    }
    /// Heavy-tailed: mostly short, sometimes twenty times as long.
    void pause() {
        const double u = std::uniform_real_distribution<>(0.05, 1)(jitter_);
        std::this_thread::sleep_for(std::chrono::duration<double, std::micro>(slowness_ * 30 / u));
    }

    const plan::Plan& plan_;
    int rank_;
    std::mt19937 jitter_;
    double slowness_;
    Place place_;
    std::map<std::int64_t, float> latents_;
    std::map<plan::Pass, std::map<std::int64_t, float>> predictions_;
    std::vector<Way> ways_;
    std::map<std::pair<plan::Pass, std::size_t>, float> leaving_;
};

plan::Plan small_plan(int num_ranks, Anchor anchor, std::int64_t poses, bool guided, const LayoutSettings& layout = {.kind = LayoutKind::whole},
                      plan::BranchCost cost = {1, 1}) {
    Settings settings;
    settings.video = {.width = 64, .height = 64};
    settings.sampling.steps = 4;
    if (!guided) settings.sampling.guidance = {1.0, 1.0};
    settings.slices.length = 8;
    settings.slices.overlap = 3;
    settings.slices.anchor = anchor;
    settings.layout = layout;
    auto plan = plan::make_plan(settings, poses, {.latent_channels = 1, .prediction_bytes = 4, .pass = plan::small_unet(plan::slots_of(settings, poses), cost)},
                                num_ranks);
    plan.latent_height = plan.latent_width = 1;
    return plan;
}

class RandomSpeeds : public testing::Test {
  protected:
    RandomSpeeds() : folder_{std::filesystem::temp_directory_path() / cat("weft_ranks_", ::getpid())} { std::filesystem::create_directories(folder_); }
    ~RandomSpeeds() override { std::filesystem::remove_all(folder_); }

    /// Latents after the last step, as the writer's run file has them.
    std::vector<float> run(const plan::Plan& plan, int seed, int slow_rank, Place place = Place::host) {
        io::RunHeader header;
        header.steps = plan.steps;
        header.clip_frames = plan.num_frames;
        header.shape = {plan.num_latents, 1, 1, 1};
        auto file = io::RunFile::create(folder_ / "run.h5", header);
        Events events;
        std::atomic<std::int64_t> steps_done = 0;
        test::FakeNccl nccl(plan.num_ranks(), {.seed = static_cast<std::uint64_t>(seed)});
        test::run_ranks(plan.num_ranks(), [&](comm::Transport& transport) {
            const int rank = transport.who().rank;
            if (place == Place::device) static_cast<void>(transport.use_device_transfers(nccl.offer(rank), comm::DeviceWish::required));
            StandIn denoiser(plan, rank, 1000 * seed + rank, rank == slow_rank ? 20 : 1, place);
            Progress progress("denoise", 1, [] { return std::int64_t{0}; });
            std::optional<Saver> saver;
            if (rank == plan::writer)
                saver.emplace([&file](std::int64_t step, const std::vector<float>& all) { file.save(step, all); }, plan, steps_done, 0, events);
            Trace trace;
            Interpreter interpreter(denoiser, transport, plan, saver ? &*saver : nullptr, events, progress, trace);
            interpreter.run(plan::compile(plan, 0).at(static_cast<std::size_t>(rank)));
            if (saver) static_cast<void>(saver->finish());
        });
        EXPECT_EQ(nccl.misuse(), "");
        if (place == Place::device) {
            EXPECT_GT(nccl.counts().operations, 0);
        }
        return file.newest().value().latents;
    }

    std::filesystem::path folder_;
};

}  // namespace

TEST_F(RandomSpeeds, EveryJobEndsWithTheLatentsOfOneRank) {
    int seed = 0;
    for (const auto anchor : {Anchor::blended, Anchor::private_})
        for (const std::int64_t poses : {5, 24, 31})
            for (const bool guided : {true, false}) {
                const auto wanted = run(small_plan(1, anchor, poses, guided), seed, -1);
                for (const int ranks : {2, 3, 4, 5, 7, 8, 13}) {
                    ++seed;
                    EXPECT_EQ(run(small_plan(ranks, anchor, poses, guided), seed, -1), wanted) << ranks << " ranks, " << poses << " poses, seed " << seed;
                }
            }
}

/// Any layout on any ranks, as a seed gives it.
struct Drawn {
    explicit Drawn(int seed) : random{static_cast<unsigned>(seed)} {
        const auto any = [this](int below) { return std::uniform_int_distribution<>(0, below - 1)(random); };
        anchor = any(2) == 0 ? Anchor::blended : Anchor::private_;
        poses = 7 + any(30);
        guided = any(3) > 0;
        cost = {100 + any(100), 100 + any(100)};
        const int kind = any(5);
        const int stages = 2 + any(5);
        ranks = stages;
        if (kind == 0) {
            layout.kind = LayoutKind::cut;
            ranks = 2 + any(8);
        } else {
            layout = {.kind = LayoutKind::stages, .stages = stages, .map = kind == 1 ? "straight" : kind == 2 && stages <= 4 ? "folded" : ""};
            if (layout.map.empty()) layout.map = plan::random_map(plan::small_unet(8, cost), stages, static_cast<unsigned>(seed));
            if (any(3) == 0) ranks *= 2;
        }
    }
    [[nodiscard]] plan::Plan plan() const { return small_plan(ranks, anchor, poses, guided, layout, cost); }
    [[nodiscard]] plan::Plan alone() const { return small_plan(1, anchor, poses, guided, {.kind = LayoutKind::whole}, cost); }

    std::mt19937 random;
    Anchor anchor = Anchor::blended;
    std::int64_t poses = 0;
    bool guided = true;
    plan::BranchCost cost{1, 1};
    int ranks = 1;
    LayoutSettings layout;
};

/// Small runs of RandomLayouts: 300, or as many as WEFT_RANDOM_RUNS says (tests/README.md).
int num_runs() {
    const char* const wanted = std::getenv("WEFT_RANDOM_RUNS");
    return wanted != nullptr ? std::stoi(wanted) : 300;
}

TEST_F(RandomSpeeds, AnyLayoutEndsWithTheLatentsOfOneRank) {
    const int runs = num_runs();
    for (int seed = 0; seed < runs; ++seed) {
        const Drawn drawn(seed);
        const auto plan = drawn.plan();
        EXPECT_EQ(run(plan, seed, -1), run(drawn.alone(), seed, -1)) << "seed " << seed << ": " << plan::layout_text(plan) << " on " << drawn.ranks << " ranks";
    }
}

TEST_F(RandomSpeeds, AnyLayoutWithOneRankTwentyTimesSlowerEndsWithTheLatentsOfOneRank) {
    const int runs = num_runs() / 5;
    for (int seed = 0; seed < runs; ++seed) {
        const Drawn drawn(10000 + seed);
        const auto plan = drawn.plan();
        EXPECT_EQ(run(plan, seed, seed % drawn.ranks), run(drawn.alone(), seed, -1))
            << "seed " << seed << ": " << plan::layout_text(plan) << " on " << drawn.ranks << " ranks";
    }
}

/// As with NCCL: each rank's messages move one after the other, both directions, in the order that the plan gave them.
TEST_F(RandomSpeeds, AnyLayoutOverOneQueueARankEndsWithTheLatentsOfOneRank) {
    const int runs = num_runs() / 10;
    for (int seed = 0; seed < runs; ++seed) {
        const Drawn drawn(20000 + seed);
        const auto plan = drawn.plan();
        EXPECT_EQ(run(plan, seed, seed % 3 == 0 ? seed % drawn.ranks : -1, Place::device), run(drawn.alone(), seed, -1))
            << "seed " << seed << ": " << plan::layout_text(plan) << " on " << drawn.ranks << " ranks";
    }
}

TEST_F(RandomSpeeds, OneRankTwentyTimesSlowerChangesNothing) {
    for (const auto anchor : {Anchor::blended, Anchor::private_}) {
        const auto wanted = run(small_plan(1, anchor, 31, true), 1, -1);
        for (const int slow : {0, 1, 4}) EXPECT_EQ(run(small_plan(5, anchor, 31, true), slow, slow), wanted) << "rank " << slow << " is slow";
    }
}

}  // namespace weft::pipeline

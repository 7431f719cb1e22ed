#include "support/ranks.hpp"
#include "base/text.hpp"
#include "pipeline/interpreter.hpp"
#include "pipeline/saver.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <atomic>
#include <chrono>
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

/// One float a frame. A pass's prediction for a frame depends on all frames of its slice and on where the frame stands, as a real one's does.
class StandIn final : public Denoiser {
  public:
    StandIn(const plan::Plan& plan, int rank, int seed, double slowness) : plan_{plan}, jitter_{static_cast<unsigned>(seed)}, slowness_{slowness} {
        for (const auto& range : plan.kept(rank))
            for (auto frame = range.begin; frame < range.end; ++frame) latents_[frame] = 1.0F + 0.1F * static_cast<float>(frame);
    }

    void compute(const plan::Task& task) override {
        pause();
        const auto& frames = plan_.slices[static_cast<std::size_t>(task.pass.slice)].frames;
        float sum = 0;
        for (const auto frame : frames) sum = sum * 0.7F + latents_.at(frame);
        for (std::size_t slot = 0; slot < frames.size(); ++slot)
            predictions_[task.pass][frames[slot]] =
                0.01F * sum + 0.1F * static_cast<float>(slot) + (task.pass.branch == plan::Branch::conditional ? 0.3F : 0.0F);
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
        return packed(message.frames, [&](std::int64_t frame) {
            return message.cargo == plan::Cargo::prediction ? predictions_.at(message.pass).at(frame) : latents_.at(frame);
        });
    }
    comm::Buffer room(const plan::Message& message) override {
        return comm::make_buffer(static_cast<std::size_t>(plan::count(message.frames)) * sizeof(float));
    }
    void take(const plan::Message& message, const comm::Buffer& buffer) override {
        const auto* from = reinterpret_cast<const float*>(buffer.bytes.data());
        for (const auto& range : message.frames)
            for (auto frame = range.begin; frame < range.end; ++frame)
                (message.cargo == plan::Cargo::prediction ? predictions_[message.pass][frame] : latents_.at(frame)) = *from++;
        pause();
    }
    comm::Buffer latents(const plan::FrameRanges& frames) const override {
        return packed(frames, [&](std::int64_t frame) { return latents_.at(frame); });
    }

  private:
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
    std::mt19937 jitter_;
    double slowness_;
    std::map<std::int64_t, float> latents_;
    std::map<plan::Pass, std::map<std::int64_t, float>> predictions_;
};

plan::Plan small_plan(int num_ranks, Anchor anchor, std::int64_t poses, bool guided) {
    Settings settings;
    settings.video = {.width = 64, .height = 64};
    settings.sampling.steps = 4;
    if (!guided) settings.sampling.guidance = {1.0, 1.0};
    settings.slices.length = 8;
    settings.slices.overlap = 3;
    settings.slices.anchor = anchor;
    auto plan = plan::make_plan(settings, poses, {.latent_channels = 1, .num_units = 1, .prediction_bytes = 4}, num_ranks);
    plan.latent_height = plan.latent_width = 1;
    return plan;
}

class RandomSpeeds : public testing::Test {
  protected:
    RandomSpeeds() : folder_{std::filesystem::temp_directory_path() / cat("weft_ranks_", ::getpid())} { std::filesystem::create_directories(folder_); }
    ~RandomSpeeds() override { std::filesystem::remove_all(folder_); }

    /// Latents after the last step, as the writer's run file has them.
    std::vector<float> run(const plan::Plan& plan, int seed, int slow_rank) {
        io::RunHeader header;
        header.steps = plan.steps;
        header.clip_frames = plan.num_frames;
        header.shape = {plan.num_latents, 1, 1, 1};
        auto file = io::RunFile::create(folder_ / "run.h5", header);
        Events events;
        std::atomic<std::int64_t> steps_done = 0;
        test::run_ranks(plan.num_ranks(), [&](comm::Transport& transport) {
            const int rank = transport.who().rank;
            StandIn denoiser(plan, rank, 1000 * seed + rank, rank == slow_rank ? 20 : 1);
            Progress progress("denoise", 1, [] { return std::int64_t{0}; });
            std::optional<Saver> saver;
            if (rank == plan::writer) saver.emplace(file, plan, steps_done, 0, events);
            Interpreter interpreter(denoiser, transport, plan, saver ? &*saver : nullptr, events, progress);
            interpreter.run(plan::compile(plan, 0).at(static_cast<std::size_t>(rank)));
            if (saver) static_cast<void>(saver->finish());
        });
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

TEST_F(RandomSpeeds, OneRankTwentyTimesSlowerChangesNothing) {
    for (const auto anchor : {Anchor::blended, Anchor::private_}) {
        const auto wanted = run(small_plan(1, anchor, 31, true), 1, -1);
        for (const int slow : {0, 1, 4}) EXPECT_EQ(run(small_plan(5, anchor, 31, true), slow, slow), wanted) << "rank " << slow << " is slow";
    }
}

}  // namespace weft::pipeline

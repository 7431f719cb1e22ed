#include "pipeline/interpreter.hpp"
#include "io/run_file.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stop.hpp"
#include "pipeline/saver.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace weft::pipeline {

namespace {

/// Writes down what it is asked to do; its latents are the number of complete steps.
class Recorder final : public Denoiser {
  public:
    void compute(const plan::Task& task) override {
        calls.push_back("compute " + std::to_string(task.pass.step) + "." + std::to_string(task.pass.slice));
        if (static_cast<std::int64_t>(calls.size()) == raise_at) std::raise(SIGUSR1);
    }
    void advance(const plan::Advance& advance) override {
        calls.push_back("advance " + std::to_string(advance.step));
        done_ = static_cast<float>(advance.step + 1);
    }
    comm::Buffer pack(const plan::Message& /*message*/) override { return {}; }
    comm::Buffer room(const plan::Message& /*message*/) override { return {}; }
    void take(const plan::Message& /*message*/, const comm::Buffer& /*buffer*/) override {}
    comm::Buffer latents(const plan::FrameRanges& frames) const override {
        auto buffer = comm::make_buffer(static_cast<std::size_t>(4 * plan::count(frames)) * sizeof(float));
        std::ranges::fill(std::span(reinterpret_cast<float*>(buffer.bytes.data()), buffer.bytes.size() / sizeof(float)), done_);
        return buffer;
    }

    std::vector<std::string> calls;
    std::int64_t raise_at = -1;

  private:
    float done_ = 0;
};

class InterpreterTest : public testing::Test {
  protected:
    InterpreterTest() : folder_{std::filesystem::temp_directory_path() / ("weft_interpreter_" + std::to_string(::getpid()))} {
        std::filesystem::create_directories(folder_);
        Settings settings;
        settings.video = {.width = 64, .height = 64};
        settings.sampling.guidance = {1.0, 1.0};
        settings.sampling.steps = 3;
        plan_ = plan::make_plan(settings, 1, plan::ModelShape{});
        plan_.latent_height = plan_.latent_width = 1;
    }
    ~InterpreterTest() override { std::filesystem::remove_all(folder_); }

    io::RunFile new_run_file() const {
        io::RunHeader header;
        header.steps = plan_.steps;
        header.clip_frames = plan_.num_frames;
        header.shape = {plan_.num_latents, plan_.latent_channels, plan_.latent_height, plan_.latent_width};
        return io::RunFile::create(folder_ / "run.h5", header);
    }

    /// The whole program of a lone rank.
    void run(Recorder& recorder, io::RunFile& file, double save_every_s) {
        comm::Transport transport(comm::make_solo_link, {});
        std::atomic<std::int64_t> steps_done = 0;
        Saver saver([&file](std::int64_t step, const std::vector<float>& all) { file.save(step, all); }, plan_, steps_done, save_every_s, events_);
        Interpreter interpreter(recorder, transport, plan_, &saver, events_, progress_, trace_);
        try {
            interpreter.run(plan::compile(plan_, 0).front());
        } catch (...) {
            EXPECT_EQ(saver.finish_early(), nullptr);
            steps_done_ = steps_done;
            throw;
        }
        last_ = saver.finish();
        steps_done_ = steps_done;
    }

    std::filesystem::path folder_;
    plan::Plan plan_;
    Events events_;
    Trace trace_;
    Progress progress_{"denoise", 3, [] { return std::int64_t{0}; }};
    HostLatents last_;
    std::int64_t steps_done_ = -1;
};

}  // namespace

TEST_F(InterpreterTest, ExecutesTheProgramInItsOrderAndSavesEveryStep) {
    auto file = new_run_file();
    Recorder recorder;
    run(recorder, file, 0);
    EXPECT_EQ(recorder.calls, (std::vector<std::string>{"compute 0.0", "advance 0", "compute 1.0", "advance 1", "compute 2.0", "advance 2"}));
    const auto saved = file.newest();
    ASSERT_TRUE(saved.has_value());
    EXPECT_EQ(saved->step, 3);
    EXPECT_EQ(saved->latents, std::vector<float>(8, 3.0F));
    EXPECT_EQ(*last_, saved->latents);
    EXPECT_EQ(steps_done_, 3);
}

TEST_F(InterpreterTest, SavesTheLastStepHoweverRareSavesAre) {
    auto file = new_run_file();
    Recorder recorder;
    run(recorder, file, 1e6);
    EXPECT_EQ(file.newest_step(), 3);
}

TEST_F(InterpreterTest, AStopSavesTheNewestCompleteStepAndEndsWithCode75) {
    // In a child: the request is a flag of the process, and other tests must not see it.
    const auto in_child = [this] {
        stop::watch_signals();
        auto file = new_run_file();
        Recorder recorder;
        recorder.raise_at = 3;  // in the pass of step 2, which is advanced and saved before the stop
        try {
            run(recorder, file, 1e6);
        } catch (const Error& error) {
            std::_Exit(error.code() == ExitCode::stopped && steps_done_ == 2 && file.newest_step() == 2 && file.newest()->latents.front() == 2.0F ? 42 : 1);
        }
        std::_Exit(2);
    };
    EXPECT_EXIT(in_child(), testing::ExitedWithCode(42), "");
}

}  // namespace weft::pipeline

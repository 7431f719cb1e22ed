#include "pipeline/interpreter.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/stop.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <string>
#include <vector>

namespace weft::pipeline {

namespace {

/// Writes down what it is asked to do; its latents are the number of complete steps.
class Recorder final : public Denoiser {
  public:
    explicit Recorder(std::size_t elements) : elements_{elements} {}
    void compute(const plan::Task& task) override {
        calls.push_back("compute " + std::to_string(task.pass.step) + "." + std::to_string(task.pass.slice));
        if (static_cast<std::int64_t>(calls.size()) == raise_at) std::raise(SIGUSR1);
    }
    void advance(const plan::Advance& advance) override {
        calls.push_back("advance " + std::to_string(advance.step));
        done_ = static_cast<float>(advance.step + 1);
    }
    [[nodiscard]] std::vector<float> latents() const override { return std::vector<float>(elements_, done_); }

    std::vector<std::string> calls;
    std::int64_t raise_at = -1;

  private:
    std::size_t elements_;
    float done_ = 0;
};

class InterpreterTest : public testing::Test {
  protected:
    InterpreterTest() : folder_{std::filesystem::temp_directory_path() / ("weft_interpreter_" + std::to_string(::getpid()))} {
        std::filesystem::create_directories(folder_);
        plan_.num_frames = 2;
        plan_.latent_height = plan_.latent_width = 1;
        plan_.slices = {{{0, 1}}};
        plan_.guided = false;
        plan_.steps = 3;
        plan_.num_units = 1;
    }
    ~InterpreterTest() override { std::filesystem::remove_all(folder_); }

    io::RunFile new_run_file() const {
        io::RunHeader header;
        header.steps = plan_.steps;
        header.shape = {plan_.num_frames, plan_.latent_channels, plan_.latent_height, plan_.latent_width};
        return io::RunFile::create(folder_ / "run.h5", header);
    }

    std::filesystem::path folder_;
    plan::Plan plan_;
    Events events_;
    Progress progress_{"denoise", 3, [] { return std::int64_t{0}; }};
};

}  // namespace

TEST_F(InterpreterTest, ExecutesTheProgramInItsOrderAndSavesEveryStep) {
    auto file = new_run_file();
    Recorder recorder(8);
    Interpreter interpreter(recorder, file, plan_, 0, events_, progress_);
    interpreter.run(plan::make_program(plan_, 0));
    EXPECT_EQ(recorder.calls, (std::vector<std::string>{"compute 0.0", "advance 0", "compute 1.0", "advance 1", "compute 2.0", "advance 2"}));
    const auto saved = file.newest();
    ASSERT_TRUE(saved.has_value());
    EXPECT_EQ(saved->step, 3);
    EXPECT_EQ(saved->latents, std::vector<float>(8, 3.0F));
    EXPECT_EQ(interpreter.steps_done(), 3);
}

TEST_F(InterpreterTest, SavesTheLastStepHoweverRareSavesAre) {
    auto file = new_run_file();
    Recorder recorder(8);
    Interpreter interpreter(recorder, file, plan_, 1e6, events_, progress_);
    interpreter.run(plan::make_program(plan_, 0));
    EXPECT_EQ(file.newest_step(), 3);
}

TEST_F(InterpreterTest, AStopSavesTheNewestCompleteStepAndEndsWithCode75) {
    // In a child: the request is a flag of the process, and other tests must not see it.
    const auto in_child = [this] {
        stop::watch_signals();
        auto file = new_run_file();
        Recorder recorder(8);
        recorder.raise_at = 5;  // in the pass of step 2
        Interpreter interpreter(recorder, file, plan_, 1e6, events_, progress_);
        try {
            interpreter.run(plan::make_program(plan_, 0));
        } catch (const Error& error) {
            std::_Exit(error.code() == ExitCode::stopped && file.newest_step() == 2 && file.newest()->latents.front() == 2.0F ? 42 : 1);
        }
        std::_Exit(2);
    };
    EXPECT_EXIT(in_child(), testing::ExitedWithCode(42), "");
}

}  // namespace weft::pipeline

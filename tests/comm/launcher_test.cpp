#include "base/error.hpp"
#include "comm/link.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <string>

namespace weft::comm {

namespace {

using Variables = std::map<std::string, std::string>;

/// The environment has these variables, and no other of a launcher.
class Environment {
  public:
    explicit Environment(const Variables& wanted) {
        for (const char* name :
             {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}) {
            if (const char* value = std::getenv(name); value != nullptr) before_[name] = value;
            ::unsetenv(name);
        }
        for (const auto& [name, value] : wanted) {
            ::setenv(name.c_str(), value.c_str(), 1);
            set_.push_back(name);
        }
    }
    Environment(const Environment&) = delete;
    Environment& operator=(const Environment&) = delete;
    ~Environment() {
        for (const auto& name : set_) ::unsetenv(name.c_str());
        for (const auto& [name, value] : before_) ::setenv(name.c_str(), value.c_str(), 1);
    }

  private:
    std::vector<std::string> set_;
    Variables before_;
};

std::string launcher_in(const Variables& variables) {
    const Environment environment{variables};
    try {
        return launcher();
    } catch (const Error& error) {
        EXPECT_EQ(error.code(), ExitCode::user_mistake);
        return std::string{"refused: "} + error.what();
    }
}

}  // namespace

TEST(Launcher, IsToldByTheEnvironment) {
    EXPECT_EQ(launcher_in({}), "");
    EXPECT_EQ(launcher_in({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "1"}}), "mpirun");
    EXPECT_EQ(launcher_in({{"PMIX_RANK", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}}), "srun --mpi=pmix");
    EXPECT_EQ(launcher_in({{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}}), "PMI");
}

TEST(Launcher, SeveralTasksOfSrunWithoutMpiAreRefused) {
    EXPECT_THAT(launcher_in({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}}), testing::HasSubstr("srun --mpi=pmix"));
    EXPECT_EQ(launcher_in({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "1"}}), "");
}

TEST(Launcher, ABatchScriptIsNoTaskOfSrun) {
    EXPECT_EQ(launcher_in({{"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}), "");
    EXPECT_EQ(launcher_in({{"SLURM_STEP_ID", "4294967291"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}}), "");  // the batch script's own step
    EXPECT_EQ(launcher_in({{"OMPI_COMM_WORLD_SIZE", "4"}, {"SLURM_STEP_ID", "1"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "2"}}), "mpirun");
}

TEST(Launcher, TellsHowManyRanksItStarted) {
    const auto ranks_in = [](const Variables& variables) {
        const Environment environment{variables};
        return launched_ranks();
    };
    EXPECT_EQ(ranks_in({}), 0);
    EXPECT_EQ(ranks_in({{"OMPI_COMM_WORLD_SIZE", "4"}}), 4);
    EXPECT_EQ(ranks_in({{"PMI_RANK", "0"}, {"PMI_SIZE", "3"}}), 3);
    EXPECT_EQ(ranks_in({{"PMIX_RANK", "1"}, {"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}, {"SLURM_STEP_NUM_TASKS", "5"}}), 5);
}

}  // namespace weft::comm

#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/link.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace weft::comm {

namespace {

bool given(const char* variable) {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
}

std::uint64_t number(const char* variable) {
    const char* value = std::getenv(variable);
    std::uint64_t result = 0;
    if (value != nullptr) std::from_chars(value, value + std::strlen(value), result);
    return result;
}

/// A step of srun. Batch scripts and salloc's shell are steps as well in some versions, with ids near 2^32.
bool in_srun_step() {
    constexpr std::uint64_t first_special_id = 0xfffffff0;
    return given("SLURM_STEP_ID") && given("SLURM_PROCID") && number("SLURM_STEP_ID") < first_special_id;
}

}  // namespace

std::string launcher() {
    // mpirun inside a SLURM job sees SLURM's variables as well, those of its own helper: so it is asked first.
    if (given("OMPI_COMM_WORLD_SIZE")) return "mpirun";
    if (given("PMIX_RANK")) return in_srun_step() ? "srun --mpi=pmix" : "a PMIx launcher";
    if (given("PMI_RANK") || given("PMI_SIZE") || given("MPI_LOCALRANKID")) return "PMI";
    if (in_srun_step() && number("SLURM_STEP_NUM_TASKS") > 1)
        refuse(cat("srun started ", number("SLURM_STEP_NUM_TASKS"),
                   " tasks without MPI: each of them would run the whole job.\n  Start them with srun --mpi=pmix ..."));
    return {};
}

int launched_ranks() {
    for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"})
        if (given(variable)) return static_cast<int>(number(variable));
    if (given("PMIX_RANK") && in_srun_step()) return static_cast<int>(number("SLURM_STEP_NUM_TASKS"));
    return 0;
}

}  // namespace weft::comm

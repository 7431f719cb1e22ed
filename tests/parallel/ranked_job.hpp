#pragma once
#include "app/small_job.hpp"

/// Jobs on many ranks, as mpirun and launch/run start them.
namespace weft::test {

/// Environment of all mpiruns in tests: as root, more ranks than cores, unpinned, waiting ranks give way.
[[nodiscard]] Words launch_environment();

/// Which job: poses drawn in a circle, slices of 16, on the tiny golden model.
struct RankedShape {
    std::int64_t poses = 60;
    std::int64_t steps = 3;
    std::string anchor = "blended";
    std::int64_t size = 64;  ///< pixels of each side
    bool musepose = false;   ///< a tiny model of it that is made for the job
};

/// A job in a folder of its own, described by config.toml there. Makes out.mkv, out.h5, events.jsonl.
class RankedJob {
  public:
    explicit RankedJob(const RankedShape& shape = {});

    [[nodiscard]] fs::path operator/(const std::string& name) const { return folder_ / name; }
    [[nodiscard]] const fs::path& folder() const { return folder_.path(); }

    /// `weft generate config.toml` alone, with `--set` in front of each of `sets`.
    [[nodiscard]] Ended alone(const Words& sets = {}, double timeout_s = 60) const;
    /// The same by mpirun on so many ranks.
    [[nodiscard]] Ended on(int ranks, const Words& sets = {}, double timeout_s = 60) const;
    /// By launch/run, the program being the one that fails as `fault` says ("kill 1 2": see faulty_main.cpp).
    [[nodiscard]] Ended failing(int ranks, const std::string& fault, const Words& sets = {}, double timeout_s = 60) const;
    /// mpirun with these words behind its flags, as "-n 2 A ... : -n 1 B ...".
    [[nodiscard]] Ended mpirun(const Words& words, double timeout_s = 60) const;
    [[nodiscard]] Words generate_words(const std::string& program, const Words& sets = {}) const;

    /// Hashes after each step ("step 1 HASH"), of the run file and of the film's frames: all of a job that must not depend on the ranks.
    [[nodiscard]] Words hashes() const;
    /// Pieces and units of a pass, as the last run told them.
    [[nodiscard]] std::int64_t num_pieces() const { return of_plan("pieces"); }
    [[nodiscard]] std::int64_t num_units() const { return of_plan("units"); }
    /// Removes what a run made.
    void clean() const;
    /// Names of processes that belong to the job's folder and still run after two seconds; zombies do not count.
    [[nodiscard]] Words left_running() const;

  private:
    [[nodiscard]] std::int64_t of_plan(const std::string& key) const;
    [[nodiscard]] Words running() const;

    Folder folder_;
};

}  // namespace weft::test

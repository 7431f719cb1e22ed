#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace weft::io {

struct LatentShape {
    std::int64_t frames = 0;
    std::int64_t channels = 0;
    std::int64_t height = 0;  ///< in latents: pixels / 8
    std::int64_t width = 0;

    [[nodiscard]] std::int64_t frame_elements() const { return channels * height * width; }
    [[nodiscard]] bool operator==(const LatentShape&) const = default;
};

/// How far a job has come.
enum class Phase { denoise, decode, done };

/// What a run file says about its job, besides the latents.
struct RunHeader {
    std::string settings;  ///< TOML, as --print-config prints it
    std::string plan;      ///< TOML, of the newest start
    std::string numerics_key;
    std::string input_digest;                      ///< of image and pose maps, by content
    std::map<std::string, std::string> weights;    ///< file name -> digest
    std::int64_t steps = 0;
    LatentShape shape;
};

/// The HDF5 file of one job: everything is created and allocated at the start, afterwards only raw data changes in place.
/// Two slots of latents; a slot is written, its frames stamped with step and checksum, flushed and synced, then the commit word names it and is synced:
/// a kill at any moment leaves one good state. Default file version: h5dump, h5py and `weft inspect` read it, also after a kill.
class RunFile {
  public:
    /// Makes a new file beside `path` and renames it. Fails with exit code 1 where the system fails, and leaves an existing file alone until then.
    [[nodiscard]] static RunFile create(const std::filesystem::path& path, const RunHeader& header);

    /// Opens to go on. Refuses (exit code 2) what is no run file or one of a newer layout.
    [[nodiscard]] static RunFile open(const std::filesystem::path& path);

    /// Opens read-only, for `weft inspect`; works while a job writes.
    [[nodiscard]] static RunFile open_readonly(const std::filesystem::path& path);

    RunFile(RunFile&&) noexcept;
    ~RunFile();

    [[nodiscard]] const RunHeader& header() const noexcept;
    [[nodiscard]] const std::filesystem::path& path() const noexcept;

    /// Replaces the plan of the newest start (fixed room of 256 KiB; a longer one is cut with a note).
    void set_plan(const std::string& plan);

    /// Latents [frames, channels, height, width] after `step` steps are complete (0: the initial noise).
    void save(std::int64_t step, std::span<const float> latents);

    struct Saved {
        std::int64_t step = 0;  ///< so many steps are complete
        std::vector<float> latents;
    };
    /// The newest state whose stamps and checksums hold; nothing before the first save.
    [[nodiscard]] std::optional<Saved> newest() const;

    /// The step of the newest state that was committed, without reading latents.
    [[nodiscard]] std::optional<std::int64_t> newest_step() const;

    void set_phase(Phase phase);
    [[nodiscard]] Phase phase() const;

  private:
    struct State;
    explicit RunFile(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// What `RUN.status` says: the truth about a job's end, since launchers change exit codes.
struct RunStatus {
    int code = 0;
    std::string phase;
    std::int64_t step = 0;
    std::string text;
    std::string culprit;
};

/// "out.h5" -> "out.status"
[[nodiscard]] std::filesystem::path status_path(const std::filesystem::path& run_file);

/// JSON with code, phase, step, text, culprit; written by rename. Never throws: a job's end must not fail on it.
void write_status(const std::filesystem::path& run_file, const RunStatus& status) noexcept;

}  // namespace weft::io

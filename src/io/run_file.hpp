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
    std::int64_t frames = 0;  ///< of the clip, and private anchors behind them
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
    std::string input_digest;                    ///< of image and pose maps, by content
    std::map<std::string, std::string> weights;  ///< file name -> digest
    std::int64_t steps = 0;
    std::int64_t clip_frames = 0;  ///< the first so many of the latents are the clip's; the rest are private anchors
    LatentShape shape;
};

/// The HDF5 file of one job. h5dump, h5py and `weft inspect` read it, also while a job writes and after a kill.
///
/// HDF5 (default file version, contiguous layout, early allocation) lays the file out once; weft then writes zeros everywhere, so that a full disk is
/// met at creation. From then on HDF5's own bytes never change: weft writes raw data in place, at the offsets HDF5 gave, past HDF5's buffers.
///
///   /latents        float32 [2, frames, channels, height, width]: two slots
///   /stamps         {int64 step, uint64 checksum} [2, frames]: step and XXH3 (64 bit) of each frame of a slot; step -1: never written
///   /commit         int64: 2 * step + slot of the newest state; -1: none. One aligned write of 8 bytes
///   /phase          text[8]: "denoise", "decode", "done". One aligned write of 8 bytes
///   /plan, /starts  text[8][256 KiB] and int64: the plan of start n lies in room (n - 1) % 8, so the newest 8 stay; a plan counts from when /starts says so
///   /settings, /numerics_key, /input_digest, /weights, /steps, /clip_frames, /layout_version     never change; weights are "name=digest" lines
///
/// A state is written to the slot that does not hold the newest good one: latents and stamps, sync, commit word, sync. A kill at any moment leaves one good
/// state.
class RunFile {
  public:
    /// Makes a new file beside `path` and renames it; an existing file is left alone until then.
    /// Refuses (exit code 2) a place that cannot be written and a path that another process writes; a full disk is exit code 1 and says the bytes needed.
    [[nodiscard]] static RunFile create(const std::filesystem::path& path, const RunHeader& header);

    /// Opens to go on. Refuses (exit code 2) what is missing, no run file, of a newer layout, read-only, or open for writing elsewhere.
    [[nodiscard]] static RunFile open(const std::filesystem::path& path);

    /// Opens read-only, for `weft inspect`; works while a job writes.
    [[nodiscard]] static RunFile open_readonly(const std::filesystem::path& path);

    RunFile(RunFile&&) noexcept;
    ~RunFile();

    [[nodiscard]] const RunHeader& header() const noexcept;
    [[nodiscard]] const std::filesystem::path& path() const noexcept;

    /// Adds the plan of another start (create() stores the first). One longer than its room of 256 KiB is cut behind a line, with a note.
    void set_plan(const std::string& plan);

    /// Adds to the plan of this start what was not known when it was made. May be called while another thread saves latents, which lie elsewhere.
    void add_to_plan(const std::string& text);

    /// Latents [frames, channels, height, width] after `step` steps are complete (0: the initial noise). On return they are on the disk.
    /// When it throws (a full disk), the state saved before stays good and save() may be tried again.
    void save(std::int64_t step, std::span<const float> latents);

    struct Saved {
        std::int64_t step = 0;  ///< so many steps are complete
        std::vector<float> latents;
    };
    /// The committed state where every stamp says its step and every checksum holds; else the other slot's, if that is whole (usually one save older);
    /// else nothing. Nothing before the first save.
    [[nodiscard]] std::optional<Saved> newest() const;

    /// The step of the newest state by commit word and stamps, without reading latents: newest() may find damage and give an older one.
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

/// "out.h5" -> "out.status"; a name without ".h5" gets ".status" behind it.
[[nodiscard]] std::filesystem::path status_path(const std::filesystem::path& run_file);

/// JSON with code, phase, step, text, culprit; written by rename. Never throws: a job's end must not fail on it.
void write_status(const std::filesystem::path& run_file, const RunStatus& status) noexcept;

}  // namespace weft::io

#pragma once
#include "base/text.hpp"
#include "io/media.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

/// What the tests of the program share: a tiny model, and jobs of half a second on it.
namespace weft::test {

using io::test::bytes_of;
using io::test::Folder;
using io::test::Mount;
using io::test::write_bytes;

using Words = std::vector<std::string>;

/// The folder that `weft make-model --tiny` made, with its example. Shared by all tests of a build and never changed: made once for each build of the program.
[[nodiscard]] const fs::path& tiny_model();

/// A copy of the tiny model (links to its files) in which files may be replaced.
void copy_model(const fs::path& to);
inline const fs::path pth_in_model = "MimicMotion_1-1.pth";
inline const fs::path vae_in_model = "stable-video-diffusion-img2vid-xt-1-1/vae/diffusion_pytorch_model.fp16.safetensors";

/// Replaces a file of a copied model; what its link led to stays as it is.
void replace(const fs::path& path, std::string_view bytes);

/// What `weft inspect --hash` tells of a run file or a video, found without starting it.
[[nodiscard]] std::string hash(const fs::path& path);

/// A job of 64x64 pixels, 9 pose frames, 3 steps and slices of 6 in a folder of its own, described by config.toml there. Makes out.mkv and out.h5.
class SmallJob {
  public:
    SmallJob();

    [[nodiscard]] const fs::path& folder() const { return folder_.path(); }
    [[nodiscard]] fs::path operator/(const std::string& name) const { return folder_ / name; }

    /// `weft WORDS` in the job's folder.
    [[nodiscard]] Ended weft(const Words& words, double timeout_s = 60) const;

    /// `weft generate config.toml` with `--set` in front of each of `sets`, and `more` behind.
    [[nodiscard]] Words command(const Words& sets = {}, const Words& more = {}) const;
    [[nodiscard]] Ended generate(const Words& sets = {}, const Words& more = {}) const;
    [[nodiscard]] Program start(const Words& sets = {}, const Words& more = {}) const;

    /// A text of the user's at the video's place, and all other files as they are now: what no refusal may touch.
    void keep_files();
    /// They are the same, and none came but `except`.
    void expect_files_kept(const Words& except) const;

    /// A refused start: exit code, all of `texts` on stderr, no crash, nothing touched, and what RUN.status says.
    void expect_refused(const Ended& ended, int code, const Words& texts) const;

    /// As `weft inspect --hash NAME` tells it.
    [[nodiscard]] std::string hash(const std::string& name) const;
    /// Of latents (out.h5) and frames (out.mkv).
    [[nodiscard]] std::string hashes() const { return hash("out.h5") + " " + hash("out.mkv"); }

  private:
    [[nodiscard]] std::map<std::string, std::string> files() const;

    Folder folder_;
    std::map<std::string, std::string> kept_;
};

/// Exit code 0 and nothing on stderr.
void expect_done(const Ended& ended);

/// Latents and frames of the job as SmallJob describes it, made undisturbed, once beside the model.
[[nodiscard]] const std::string& undisturbed_hashes();

/// Peak resident memory in MB of a clip of so many pose frames. MKL's own pool is off: it keeps up to 30 MB more or less from length to length.
[[nodiscard]] double peak_megabytes(int num_poses);

/// The same in the meter's count of tensors, which no allocator's pools move.
[[nodiscard]] double peak_tensor_megabytes(int num_poses);

/// Values of a JSON text's top level as text: {"code": 2} -> code: "2".
[[nodiscard]] std::map<std::string, std::string> json_of(const std::string& text);
/// The same of each line of a file.
[[nodiscard]] std::vector<std::map<std::string, std::string>> json_lines(const fs::path& path);

/// code, phase, step of RUN.status.
[[nodiscard]] std::string status_of(const fs::path& path);

/// A picture that nobody would take for a pose, one of a walk through a park.
[[nodiscard]] io::Picture park(int width, int height, int frame);

}  // namespace weft::test

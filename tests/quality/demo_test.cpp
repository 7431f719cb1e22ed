#include "base/text.hpp"
#include "io/media.hpp"
#include "quality/case.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>

/// The demo's model on a figure and a dance that its training never saw: 24 frames, several slices.
namespace weft::test {

using io::test::Folder;
using quality::Verdict;
using ::testing::IsEmpty;
using ::testing::Not;

namespace {

constexpr std::int64_t kFrames = 24;
const fs::path kDemo = WEFT_SOURCE_DIR "/configs/demo";
const fs::path kCase = WEFT_SOURCE_DIR "/tests/quality/case";  // holds 32 poses, and the truth of the first 24

/// configs/demo/README.md has the figures of this case, whole and with each part broken, that these limits lie between.
const quality::Limits kLimits{.min_overlap = 0.82, .max_colour = 0.07, .max_flicker = 0.008};
constexpr double kMaxSeam = 1.10;

class DemoModel : public ::testing::Test {
  protected:
    /// Makes 24 frames with the demo's settings but for `sets`.
    void generate(const fs::path& poses, const std::vector<std::string>& sets = {}) {
        std::vector<std::string> words{weft_program(), "generate", (kDemo / "config.toml").string()};
        const auto set = [&](const std::string& text) { words.insert(words.end(), {"--set", text}); };
        set(cat("input.image=", (kCase / "image.png").string()));
        set(cat("input.image_pose=", (kCase / "image_pose.png").string()));
        set(cat("input.pose=", poses.string()));
        set(cat("input.frames=", kFrames));
        set("output.video=film.mkv");
        set("output.run_file=film.h5");
        for (const auto& one : sets) set(one);
        const auto ended = run(words, folder_.path(), 100);
        ASSERT_EQ(ended.code, 0) << ended.err;
    }

    [[nodiscard]] Verdict verdict() const { return quality::judge(folder_ / "film.mkv", kCase, kFrames); }

    /// As `weft inspect --seams` says it of the film.
    [[nodiscard]] double seam() const {
        const auto ended = run({weft_program(), "inspect", "--seams", "film.h5"}, folder_.path());
        std::smatch found;
        EXPECT_TRUE(std::regex_search(ended.out, found, std::regex("pixels +seams ([0-9.]+)"))) << ended.out << ended.err;
        return found.empty() ? -1 : std::stod(found[1]);
    }

    Folder folder_;
};

}  // namespace

TEST_F(DemoModel, DrawsThatFigureInThosePoses) {
    generate(kCase / "pose");
    EXPECT_THAT(quality::broken(verdict(), kLimits), IsEmpty()) << quality::to_json(verdict(), quality::Layout::one_line);
    EXPECT_LE(seam(), kMaxSeam);
}

TEST_F(DemoModel, WithPosesEightFramesLateIsFoundOut) {
    fs::create_directory(folder_ / "late");
    for (std::int64_t frame = 1; frame <= kFrames; ++frame) {
        const auto name = [](std::int64_t number) { return cat(number < 10 ? "0000" : "000", number, ".png"); };
        fs::copy_file(kCase / "pose" / name(frame + 8), folder_ / "late" / name(frame));
    }
    generate(folder_ / "late");
    EXPECT_THAT(quality::broken(verdict(), {.min_overlap = kLimits.min_overlap}), Not(IsEmpty()));
}

}  // namespace weft::test

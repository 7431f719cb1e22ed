#include "base/text.hpp"
#include "io/media.hpp"
#include "io/video_reader.hpp"
#include "quality/case.hpp"
#include "support/program.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

/// The demo's model on a figure and a dance that its training never saw: 24 frames, six slices.
namespace weft::test {

using io::test::Folder;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace {

constexpr std::int64_t kFrames = 24, kLength = 8, kOverlap = 4;  // as config.toml has them
const fs::path kCase = WEFT_SOURCE_DIR "/tests/quality/case";

/// configs/demo/README.md has the figures of this case, whole and with each part broken, that these limits lie between.
const quality::Limits kLimits{.min_overlap = 0.94, .max_colour = 0.05, .max_flicker = 0.007, .max_seam = 1.05};

class DemoModel : public ::testing::Test {
  protected:
    void generate(const std::vector<std::string>& more = {}) {
        std::vector<std::string> words{weft_program(), "generate", (kCase / "config.toml").string()};
        words.insert(words.end(), more.begin(), more.end());
        const auto ended = run(words, folder_.path(), 200);
        ASSERT_EQ(ended.code, 0) << ended.err;
    }

    [[nodiscard]] fs::path film() const { return folder_ / "film.mkv"; }

    /// The limits that the film breaks. Prints its figures.
    [[nodiscard]] std::vector<std::string> broken_limits() const {
        const auto verdict = quality::judge(film(), kCase, kFrames);
        const auto seam = quality::seam(verdict, kLength, kOverlap);
        std::cout << quality::to_json(verdict, quality::Layout::one_line, seam) << "\n";
        return quality::broken(verdict, kLimits, seam);
    }

    Folder folder_;
};

/// Bytes that differ between two films, and by how much at most.
struct Difference {
    std::int64_t bytes = 0, off = 0;
    int most = 0;
};

Difference difference(const fs::path& film, const fs::path& other) {
    io::VideoReader one(film), two(other);
    Difference found;
    for (std::int64_t frame = 0; frame < kFrames; ++frame) {
        const auto a = one.next(), b = two.next();
        if (!a || !b || a->rgb.size() != b->rgb.size()) throw std::runtime_error(cat("no frame ", frame, " of the same size in both films"));
        for (std::size_t i = 0; i < a->rgb.size(); ++i) {
            const int by = std::abs(int{a->rgb[i]} - int{b->rgb[i]});
            ++found.bytes;
            found.off += by > 0 ? 1 : 0;
            found.most = std::max(found.most, by);
        }
    }
    return found;
}

}  // namespace

TEST_F(DemoModel, DrawsThatFigureInThosePosesAsThePythonClassesDo) {
    generate();
    EXPECT_THAT(broken_limits(), IsEmpty());
    // The tolerance of the golden data for frames. A judge cannot see a hard cut between slices that agree as these do: this can.
    const auto [bytes, off, most] = difference(film(), kCase / "python.mkv");
    std::cout << off << " of " << bytes << " bytes differ from the Python classes' film, by " << most << " at most\n";
    EXPECT_LE(most, 1);
    EXPECT_LE(static_cast<double>(off), 0.002 * static_cast<double>(bytes));
}

TEST_F(DemoModel, WithPosesEightFramesLateIsFoundOut) {
    fs::create_directory(folder_ / "late");
    for (std::int64_t frame = 1; frame <= kFrames; ++frame) {
        const auto name = [](std::int64_t number) { return cat(number < 10 ? "0000" : "000", number, ".png"); };
        fs::copy_file(kCase / "pose" / name(frame + 8), folder_ / "late" / name(frame));
    }
    generate({"--set", cat("input.pose=", (folder_ / "late").string())});
    EXPECT_THAT(broken_limits(), Contains(HasSubstr("overlap")));
}

}  // namespace weft::test

#include "base/settings.hpp"

#include "base/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weft {

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> mistakes_of(std::string_view text, std::vector<std::string> overrides = {}) {
    Mistakes mistakes;
    const auto settings = parse_settings(text, "test.toml", overrides, mistakes);
    check_settings(settings, mistakes);
    return mistakes.texts();
}

}  // namespace

TEST(Settings, DefaultsAreFreeOfMistakes) {
    EXPECT_THAT(mistakes_of(""), IsEmpty());
}

TEST(Settings, WhatIsPrintedReadsBackToTheSame) {
    Settings settings;
    settings.sampling.guidance = {1.5, 3.25};
    settings.output.video = "a \"b\"\\c.mp4";
    settings.slices.anchor = Anchor::private_;
    settings.output.fps = 0.1;
    Mistakes mistakes;
    const auto again = parse_settings(to_toml(settings), "printed", {}, mistakes);
    EXPECT_THAT(mistakes.texts(), IsEmpty());
    EXPECT_EQ(to_toml(again), to_toml(settings));
}

TEST(Settings, UnknownKeyNamesTheNearest) {
    EXPECT_THAT(mistakes_of("[sampling]\nstep = 3\n"), ElementsAre(HasSubstr("sampling.step: unknown key; did you mean sampling.steps?")));
}

TEST(Settings, UnknownTableNamesTheNearest) {
    EXPECT_THAT(mistakes_of("[vido]\nwidth = 64\n"), ElementsAre(HasSubstr("[vido]: unknown table; did you mean video?")));
}

TEST(Settings, WrongTypeSaysWhichIsWanted) {
    EXPECT_THAT(mistakes_of("[sampling]\nsteps = \"many\"\n"), ElementsAre(HasSubstr("must be a whole number")));
    EXPECT_THAT(mistakes_of("[sampling]\nsteps = 2.5\n"), ElementsAre(HasSubstr("must be a whole number")));
    EXPECT_THAT(mistakes_of("[model]\ndtype = \"fp8\"\n"), ElementsAre(HasSubstr("must be one of")));
}

TEST(Settings, SizeThatIsNoMultipleOf64GetsTheNearestOne) {
    EXPECT_THAT(mistakes_of("[video]\nwidth = 500\n"), ElementsAre(HasSubstr("video.width = 500: must be a multiple of 64 from 64 to 8192; try 512")));
}

TEST(Settings, OverlapMustBeAtLeastOneAndSmallerThanTheLength) {
    EXPECT_THAT(mistakes_of("[slices]\noverlap = 0\n"), ElementsAre(HasSubstr("slices.overlap = 0: must be at least 1")));
    EXPECT_THAT(mistakes_of("[slices]\nlength = 8\noverlap = 8\n"), ElementsAre(HasSubstr("must be smaller than slices.length = 8")));
}

TEST(Settings, AllMistakesAreReportedTogether) {
    EXPECT_EQ(mistakes_of("[video]\nwidth = 1\nheight = 2\n[sampling]\nsteps = 0\nfoo = 1\n").size(), 4U);
}

TEST(Settings, OverridesWinAndTakeBareTexts) {
    Mistakes mistakes;
    const auto settings = parse_settings("[sampling]\nseed = 1\n", "test.toml",
                                         std::vector<std::string>{"sampling.seed=7", "output.video=a.mp4", "sampling.guidance=[1, 2]"}, mistakes);
    EXPECT_THAT(mistakes.texts(), IsEmpty());
    EXPECT_EQ(settings.sampling.seed, 7);
    EXPECT_EQ(settings.output.video, "a.mp4");
    EXPECT_EQ(settings.sampling.guidance[1], 2.0);
}

TEST(Settings, DefaultsAreThoseOfTheFamily) {
    Mistakes mistakes;
    const auto from_file = parse_settings("[model]\nfamily = \"musepose\"\n[sampling]\nsteps = 30\n", "test.toml", {}, mistakes);
    EXPECT_EQ(from_file.video.width, 768);
    EXPECT_EQ(from_file.sampling.steps, 30);
    EXPECT_EQ(from_file.sampling.guidance[0], 3.5);
    EXPECT_EQ(from_file.sampling.seed, 99);
    EXPECT_EQ(from_file.slices.length, 48);
    EXPECT_EQ(from_file.slices.overlap, 4);
    EXPECT_EQ(from_file.decode.chunk, 1);
    EXPECT_EQ(from_file.output.size, OutputSize::pose);
    const auto overridden = parse_settings("[slices]\noverlap = 6\n", "test.toml", std::vector<std::string>{"model.family=musepose"}, mistakes);
    EXPECT_EQ(overridden.slices.length, 48);
    EXPECT_EQ(overridden.slices.overlap, 6);
    check_settings(from_file, mistakes);
    EXPECT_THAT(mistakes.texts(), IsEmpty());
    EXPECT_EQ(to_toml(parse_settings(to_toml(from_file), "printed", {}, mistakes)), to_toml(from_file));
}

TEST(Settings, KeysOfTheOtherFamilyAreRefused) {
    EXPECT_THAT(mistakes_of("[slices]\npad = false\n"), ElementsAre(HasSubstr("slices.pad = false: is MusePose's; leave it out")));
    EXPECT_THAT(mistakes_of("[model]\nfamily = \"musepose\"\n[sampling]\nnoise_aug = 0.1\n"), ElementsAre(HasSubstr("is MimicMotion's")));
}

TEST(Settings, WindowsLongerThanMusePosesPositionsAreRefused) {
    EXPECT_THAT(mistakes_of("[model]\nfamily = \"musepose\"\n[slices]\nlength = 129\n"), ElementsAre(HasSubstr("must be at most 128")));
}

TEST(Settings, StepsOfWhichMusePosesSchedulerMakesOneMoreAreRefused) {
    EXPECT_THAT(mistakes_of("[model]\nfamily = \"musepose\"\n[sampling]\nsteps = 61\n"), ElementsAre(HasSubstr("try 60")));
    EXPECT_THAT(mistakes_of("[model]\nfamily = \"musepose\"\n[sampling]\nsteps = 60\n"), IsEmpty());
}

TEST(Settings, Fp16OnACpuIsRefused) {
    EXPECT_THAT(mistakes_of("[model]\ndtype = \"fp16\"\n[device]\nkind = \"cpu\"\n"), ElementsAre(HasSubstr("100 times slower")));
}

TEST(Settings, TheNumericsPartLeavesOutPathsLayoutAndOutput) {
    Settings one;
    Settings other;
    other.model.path = "elsewhere";
    other.output.quality = 3;
    other.memory.budget = "8GiB";
    other.layout.kind = LayoutKind::whole;
    EXPECT_EQ(numerics_lines(one), numerics_lines(other));
    other.sampling.seed = 1;
    EXPECT_NE(numerics_lines(one), numerics_lines(other));
}

TEST(Settings, EveryCommittedConfigIsFreeOfMistakes) {
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(WEFT_SOURCE_DIR "/configs")) {
        if (entry.path().extension() != ".toml") continue;
        Mistakes mistakes;
        const auto settings = read_settings(entry.path(), {}, mistakes);
        check_settings(settings, mistakes);
        EXPECT_THAT(mistakes.texts(), IsEmpty()) << entry.path();
        ++found;
    }
    EXPECT_GE(found, 3U);
}

TEST(Settings, SizesInBytesAreRead) {
    EXPECT_EQ(parse_bytes("8GiB"), std::int64_t{8} << 30);
    EXPECT_EQ(parse_bytes("1.5GB"), 1500000000);
    EXPECT_EQ(parse_bytes("8"), std::nullopt);
    EXPECT_EQ(parse_bytes("-1GiB"), std::nullopt);
    EXPECT_EQ(parse_bytes("inf GiB"), std::nullopt);
}

}  // namespace weft

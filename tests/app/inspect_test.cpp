#include "app/small_job.hpp"
#include "base/digest.hpp"
#include "io/run_file.hpp"
#include "io/weight_file.hpp"

/// `weft inspect`, `weft plan`, `weft doctor`.
namespace weft::test {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Inspect, ARunFileTellsPhaseStepsAndShape) {
    const SmallJob job;
    expect_done(job.generate());
    const auto ended = job.weft({"inspect", "out.h5"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("phase     done\n"), HasSubstr("steps     3 of 3\n"), HasSubstr("latents   [10, 4, 8, 8] fp32\n"),
                                 HasSubstr("seed = 42"), HasSubstr("passes_a_step = 4")));
}

TEST(Inspect, ExportedLatentsOpenAndAreThoseOfTheRunFile) {
    const SmallJob job;
    expect_done(job.generate());
    expect_done(job.weft({"inspect", "out.h5", "--export", "latents.safetensors"}));
    const auto file = io::WeightFile::open(job / "latents.safetensors");
    ASSERT_EQ(file.tensors().size(), 1U);
    const auto& latents = file.tensors().at("latents");
    EXPECT_EQ(latents.type, io::ElementType::f32);
    EXPECT_EQ(latents.shape, (io::Shape{10, 4, 8, 8}));
    EXPECT_EQ(hex_digest(latents.storage.subspan(static_cast<std::size_t>(latents.offset) * 4, 10 * 4 * 8 * 8 * 4)), job.hash("out.h5"));
}

TEST(Inspect, HashesAreThoseOfLatentsAndFrames) {
    const SmallJob job;
    expect_done(job.generate());
    for (const char* const name : {"out.h5", "out.mkv"}) {
        const auto ended = job.weft({"inspect", "--hash", name});
        expect_done(ended);
        EXPECT_THAT(ended.out, ::testing::StartsWith(cat(job.hash(name), "  ", name)));
    }
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

TEST(Inspect, ARunFileThatHoldsNoStepYetIsToldSo) {
    const SmallJob job;
    static_cast<void>(io::RunFile::create(job / "out.h5", {.steps = 3, .clip_frames = 10, .shape = {10, 4, 8, 8}}));
    expect_done(job.weft({"inspect", "out.h5"}));
    for (const auto& words : {Words{"inspect", "out.h5", "--hash"}, Words{"inspect", "out.h5", "--export", "latents.safetensors"}}) {
        const auto ended = job.weft(words);
        EXPECT_EQ(ended.code, 2);
        EXPECT_THAT(ended.err, HasSubstr("out.h5: holds no complete step yet"));
    }
    EXPECT_FALSE(fs::exists(job / "latents.safetensors"));
}

TEST(Restart, AFilmThatCannotBeWrittenCostsNoRunFile) {
    const SmallJob job;
    expect_done(job.generate());
    const auto before = bytes_of(job / "out.h5");
    EXPECT_EQ(job.generate({"output.video=out.avi"}, {"--restart"}).code, 2);
    EXPECT_TRUE(bytes_of(job / "out.h5") == before);
}

TEST(Inspect, WhatIsNoRunFileIsRefused) {
    const SmallJob job;
    write_bytes(job / "letter.h5", "Dear file,\n");
    for (const char* const name : {"letter.h5", "missing.h5", "config.toml"}) {
        const auto ended = job.weft({"inspect", name});
        EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(ended);
        EXPECT_THAT(ended.err, HasSubstr(name));
    }
    const auto ended = job.weft({"inspect", "--hash", "config.toml"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("config.toml"));
}

TEST(Inspect, KeysOfAWholeModelAgree) {
    const SmallJob job;
    const auto ended = job.weft({"inspect", "--keys", tiny_model().string()});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("unet.conv_in.weight\t32,8,3,3\t2304\n"), HasSubstr("# pose_net: "), HasSubstr(pth_in_model.string()),
                                 Not(HasSubstr("no weight file"))));
}

TEST(Inspect, KeysAreListedWithoutWeightFiles) {
    const SmallJob job;
    copy_model(job / "model");
    for (const auto& entry : fs::recursive_directory_iterator(job / "model"))
        if (entry.path().extension() == ".pth" || entry.path().extension() == ".safetensors") fs::remove(entry.path());
    const auto ended = job.weft({"inspect", "--keys", "model"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("unet.conv_in.weight\t32,8,3,3\t2304\n"), HasSubstr("no weight file")));
    const auto whole = job.weft({"inspect", "--keys", tiny_model().string()}).out;
    EXPECT_EQ(ended.out.substr(0, ended.out.find("# ")), whole.substr(0, whole.find("# ")));
}

TEST(Inspect, AMissingKeyIsListed) {
    const SmallJob job;
    copy_model(job / "model");
    const auto path = job / "model" / pth_in_model.string();
    {
        const auto file = io::WeightFile::open(path);
        std::vector<io::TensorToWrite> tensors;
        for (const auto& [name, stored] : file.tensors()) {
            ASSERT_TRUE(stored.contiguous());
            const auto width = io::element_bytes(stored.type);
            if (name != "unet.conv_in.weight")
                tensors.push_back(
                    {name, stored.type, stored.shape,
                     stored.storage.subspan(static_cast<std::size_t>(stored.offset) * width, static_cast<std::size_t>(stored.num_elements()) * width)});
        }
        io::write_torch_archive(job / "less.pth", tensors);
    }
    fs::remove(path);
    fs::rename(job / "less.pth", path);
    const auto ended = job.weft({"inspect", "--keys", "model"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("key unet.conv_in.weight is missing; wanted is [32, 8, 3, 3]"));
    EXPECT_THAT(ended.out, HasSubstr("unet.conv_in.weight\t"));
}

TEST(Plan, IsMadeWithoutWeights) {
    const SmallJob job;
    copy_model(job / "model");
    fs::remove(job / "model" / pth_in_model.string());
    const auto ended = job.weft({"plan", "config.toml", "--set", "model.path=model"});
    expect_done(ended);
    EXPECT_THAT(ended.out, HasSubstr("weights"));
    EXPECT_FALSE(fs::exists(job / "out.h5"));
}

TEST(Plan, MistakesAreListed) {
    const SmallJob job;
    const auto ended = job.weft({"plan", "config.toml", "--set", "video.width=65", "--set", "slices.overlap=0", "--ranks", "0"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, AllOf(HasSubstr("video.width = 65"), HasSubstr("slices.overlap = 0"), HasSubstr("--ranks = 0")));
}

TEST(Doctor, TellsWhatIsThere) {
    const SmallJob job;
    const auto ended = job.weft({"doctor"});
    expect_done(ended);
    EXPECT_THAT(ended.out, AllOf(HasSubstr("libtorch"), HasSubstr("CPU"), HasSubstr("GPU")));
}

}  // namespace weft::test

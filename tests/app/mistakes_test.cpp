#include "app/small_job.hpp"
#include "io/video_writer.hpp"
#include "io/weight_file.hpp"

#include <sys/statvfs.h>

#include <cstring>

/// Bad input of every kind: the exit code, a text that names what is wrong and what to do, and nothing of the user's touched.
namespace weft::test {

using ::testing::HasSubstr;
using ::testing::Not;

// ---- settings ----

struct Mistake {
    const char* name;
    Words sets;
    Words texts;
};
void PrintTo(const Mistake& mistake, std::ostream* to) {
    *to << mistake.name;
}

class SettingsOf : public ::testing::TestWithParam<Mistake> {};

TEST_P(SettingsOf, AreRefused) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate(GetParam().sets), 2, GetParam().texts);
    EXPECT_EQ(status_of(job / "out.status"), "2 prepare 0");
}

INSTANTIATE_TEST_SUITE_P(
    Mistaken, SettingsOf,
    ::testing::Values(Mistake{"UnknownKey", {"sampling.stepz=3"}, {"sampling.stepz: unknown key", "did you mean sampling.steps?"}},
                      Mistake{"WrongType", {"sampling.steps=many"}, {"sampling.steps", "must be a whole number"}},
                      Mistake{"SizeNoMultipleOf64", {"video.width=100"}, {"video.width = 100: must be a multiple of 64", "try 128"}},
                      Mistake{"OverlapZero", {"slices.overlap=0"}, {"slices.overlap = 0: must be at least 1", "6 is usual"}},
                      Mistake{"OverlapAsLongAsTheSlice", {"slices.overlap=6"}, {"slices.overlap = 6: must be smaller than slices.length = 6", "try"}},
                      Mistake{"HalfPrecisionOnACpu", {"model.dtype=fp16"}, {"model.dtype = \"fp16\"", "100 times slower", "use \"fp32\" or \"bf16\""}},
                      Mistake{"OtherKeysAndTypes",
                              {"sampler.steps=3", "model.seed=3", "sampling.steps=2.5", "input.image=7", "sampling.guidance=2.0", "model.dtype=fp23", "steps=3",
                               "sampling.steps"},
                              {"[sampler]: unknown table", "did you mean sampling?", "model.seed: unknown key", "sampling.steps = 2.5: must be a whole number",
                               "input.image = 7: must be a text in quotes", "sampling.guidance = 2", "for example [2.0, 2.0]", "model.dtype", "must be one of",
                               "did you mean \"fp32\"?", "--set steps=3: must be table.key=value", "--set sampling.steps: must be table.key=value"}},
                      Mistake{"OtherValues",
                              {"slices.overlap=60", "sampling.steps=0", "sampling.seed=-1", "memory.budget=plenty", "input.image=\"\"", "decode.dtype=fp16",
                               "output.quality=52"},
                              {"slices.overlap = 60: must be smaller than slices.length = 6", "sampling.steps = 0: must be at least 1",
                               "sampling.seed = -1: must be at least 0", "memory.budget = \"plenty\"", "for example \"8GiB\"",
                               "input.image = \"\": must not be empty", "decode.dtype = \"fp16\"", "output.quality = 52: must be at most 51"}},
                      Mistake{"Layouts",
                              {"layout.stages=2", "layout.map=spiral"},
                              {"layout.stages = 2: counts only with layout.kind = \"stages\"",
                               "layout.map = \"spiral\": must be \"auto\", \"folded\", \"straight\"", "for example \"0@0, 1@40\""}}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(SettingsMistakes, AreListedTogetherFromTheFileAndTheCommandLine) {
    SmallJob job;
    write_bytes(job / "config.toml", "[video]\nwidth = 100\nheigth = 64\n[slices]\noverlap = 0\n[inputs]\nimage = \"a.png\"\n");
    job.keep_files();
    job.expect_refused(job.generate({"sampling.steps=none"}), 2,
                       {"config.toml has mistakes:", "video.width = 100", "video.heigth: unknown key; did you mean video.height?", "slices.overlap = 0",
                        "[inputs]: unknown table; did you mean input?", "sampling.steps"});
}

TEST(SettingsMistakes, AreListedTogetherWithThoseOfTheInputs) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({"video.width=100", "input.image=nobody.png", "input.pose=nothing.mp4", "output.audio=silence.m4a"}), 2,
                       {"video.width = 100", "input.image: ", "nobody.png", "input.pose: ", "nothing.mp4", "output.audio: ", "silence.m4a", "does not exist"});
}

TEST(SettingsMistakes, HalfPrecisionIsRefusedOnWhateverCpuWasFound) {
    SmallJob job;
    job.keep_files();
    const auto ended = job.generate({"device.kind=auto", "model.dtype=fp16", "input.frames=1"});
    if (ended.out.find("device    CPU") == std::string::npos && ended.code == 0) return;  // it found a GPU
    job.expect_refused(ended, 2, {"model.dtype = \"fp16\": not on a CPU", "use \"fp32\" or \"bf16\""});
}

TEST(SettingsMistakes, ATextThatIsNoTomlIsRefusedWithItsPlace) {
    SmallJob job;
    write_bytes(job / "config.toml", "[video]\nwidth == 64\n");
    job.keep_files();
    job.expect_refused(job.generate(), 2, {"config.toml, line 2", "not TOML"});
}

TEST(SettingsMistakes, AMissingConfigIsNamed) {
    SmallJob job;
    fs::remove(job / "config.toml");
    job.keep_files();
    job.expect_refused(job.generate(), 2, {"config.toml: cannot be read: No such file or directory"});
    job.expect_refused(job.weft({"generate", "."}), 2, {"cannot be read"});
}

TEST(SettingsMistakes, ARunFileThatDoesNotEndInH5IsRefused) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({"output.run_file=out.hdf"}), 2, {"output.run_file = \"out.hdf\": must end in .h5"});
}

// ---- command line ----

class CommandLine : public ::testing::TestWithParam<Mistake> {};

TEST_P(CommandLine, IsRefused) {
    SmallJob job;
    job.keep_files();
    const auto ended = job.weft(GetParam().sets);
    EXPECT_EQ(ended.code, 2) << ::testing::PrintToString(ended);
    for (const auto& text : GetParam().texts) EXPECT_THAT(ended.err, HasSubstr(text));
    job.expect_files_kept({});
}

INSTANTIATE_TEST_SUITE_P(
    Mistaken, CommandLine,
    ::testing::Values(
        Mistake{"NoCommand", {}, {"subcommand"}}, Mistake{"UnknownCommand", {"make-modell"}, {"weft make-modell: unknown command", "did you mean make-model?"}},
        Mistake{"NoConfig", {"generate"}, {"CONFIG"}}, Mistake{"UnknownOption", {"generate", "config.toml", "--fast"}, {"--fast"}},
        Mistake{"OptionWithoutValue", {"generate", "config.toml", "--events"}, {"--events"}},
        Mistake{"TwoWishes", {"inspect", "out.h5", "--hash", "--keys"}, {"--hash", "--keys"}},
        Mistake{"RanksAreNoNumber", {"plan", "config.toml", "--ranks", "many"}, {"--ranks"}},
        Mistake{"NoRanks", {"plan", "config.toml", "--ranks", "0"}, {"--ranks = 0: must be from 1 to 4096; try 1"}},
        Mistake{
            "PlanForACardOfNoSize", {"plan", "config.toml", "--memory", "much"}, {"--memory = much: must be a number of bytes with a unit; for example 24GiB"}},
        Mistake{"SeamsOfAFilmOfUnknownSlices", {"inspect", "film.mkv", "--seams"}, {"--slices: is missing", "--slices 72,6", "film.mkv: does not exist"}},
        Mistake{"SlicesThatAreNoNumbers", {"inspect", "film.mkv", "--seams", "--slices", "16x4"}, {"--slices = \"16x4\": must be LENGTH,OVERLAP"}},
        Mistake{"SlicesOfThreeNumbers", {"inspect", "film.mkv", "--seams", "--slices", "16,4,2"}, {"--slices = \"16,4,2\": must be LENGTH,OVERLAP"}},
        Mistake{"SlicesWithoutAnchor", {"inspect", "film.mkv", "--seams", "--slices", "16,0"}, {"= 16,0: the overlap must be from 1", "to 15", "try 16,6"}},
        Mistake{"SlicesThatAreAllOverlap", {"inspect", "film.mkv", "--seams", "--slices", "4,4"}, {"= 4,4: the overlap must be from 1", "to 3", "try 4,3"}},
        Mistake{"SlicesOfOneFrame", {"inspect", "film.mkv", "--seams", "--slices", "1,1"}, {"--slices = 1,1: the length must be at least 2", "try 72,6"}},
        Mistake{"SlicesOfARunFile", {"inspect", "out.h5", "--seams", "--slices", "16,4"}, {"--slices = 16,4: is for films", "out.h5", "leave it out"}},
        Mistake{"SlicesWithoutSeams", {"inspect", "film.mkv", "--slices", "16,4"}, {"--slices", "--seams"}},
        Mistake{"SeamsAndHash", {"inspect", "out.h5", "--hash", "--seams"}, {"--hash", "--seams"}},
        Mistake{"PoseOfNothing", {"pose", "body.json"}, {"DRIVER: body.json: cannot be read", "--reference: is missing"}},
        Mistake{"ModelOfAnUnknownFamily", {"make-model", "--tiny", "m", "--family", "dancer"}, {"--family = dancer: must be mimicmotion or musepose"}},
        Mistake{"ModelOfAnotherSize", {"make-model", "m"}, {"say --tiny"}},
        Mistake{"BenchOfTransport", {"bench", "transport"}, {"is not offered by this build"}}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(CommandLine, EventsThatCannotBeWrittenAreRefused) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({}, {"--events", "nowhere/events.jsonl"}), 2, {"--events nowhere/events.jsonl: cannot be written"});
}

// ---- pictures and poses ----

TEST(InputMistakes, APictureThatIsATextFileIsNamed) {
    SmallJob job;
    write_bytes(job / "person.png", "Dear picture,\nI am a letter.\n");
    job.keep_files();
    job.expect_refused(job.generate({"input.image=person.png"}), 2, {"input.image: ", "person.png"});
}

TEST(InputMistakes, APoseVideoThatIsATextFileIsNamed) {
    SmallJob job;
    write_bytes(job / "dance.mp4", "one two three, one two three\n");
    job.keep_files();
    job.expect_refused(job.generate({"input.pose=dance.mp4"}), 2, {"input.pose: ", "dance.mp4"});
}

TEST(InputMistakes, APoseVideoWithoutFramesIsNamed) {
    SmallJob job;
    ASSERT_EQ(run({"ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.2", "-c:a", "aac", (job / "sound.mp4").string()}, job.folder()).code, 0);
    write_bytes(job / "empty.mp4", "");
    fs::create_directories(job / "empty");
    job.keep_files();
    job.expect_refused(job.generate({"input.pose=sound.mp4"}), 2, {"input.pose: ", "sound.mp4", "no video"});
    job.expect_refused(job.generate({"input.pose=empty.mp4"}), 2, {"input.pose: ", "empty.mp4", "is empty"});
    job.expect_refused(job.generate({"input.pose=empty"}), 2, {"input.pose: ", "empty", "holds no pictures"});
}

TEST(InputMistakes, APlainVideoAsPosesIsRefusedWithWhatToDo) {
    SmallJob job;
    ASSERT_EQ(run({"ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc2=duration=0.5:size=96x96:rate=15", (job / "walk.mp4").string()}, job.folder()).code,
              0);
    job.keep_files();
    job.expect_refused(job.generate({"input.pose=walk.mp4"}), 2, {"input.pose: ", "walk.mp4", "no drawn pose", "DWPose"});
}

TEST(InputMistakes, APlainVideoThatBeginsInBlackIsRefusedToo) {
    SmallJob job;
    {
        io::VideoWriter film(job / "walk.mkv", {.width = 96, .height = 96});
        for (int frame = 0; frame < 20; ++frame) film.write(frame < 12 ? io::test::plain(96, 96, 0, 0, 0) : park(96, 96, frame));
        static_cast<void>(film.finish());
    }
    job.keep_files();
    job.expect_refused(job.generate({"input.pose=walk.mkv", "input.frames=0"}), 2, {"input.pose: ", "walk.mkv", "no drawn pose", "DWPose"});
}

TEST(InputMistakes, PosesThatBeginInBlackAreFine) {
    SmallJob job;
    fs::create_directories(job / "pose");
    for (const char* const name : {"00000.png", "00001.png", "00002.png"}) io::write_png(job / "pose" / name, io::test::plain(128, 128, 0, 0, 0));
    for (const char* const name : {"00003.png", "00004.png"}) fs::copy(tiny_model() / "example" / "pose" / name, job / "pose" / name);
    expect_done(job.generate({"input.pose=pose"}));
}

TEST(InputMistakes, APlainPictureAsTheReferencesPoseIsRefused) {
    SmallJob job;
    io::write_png(job / "park.png", park(96, 96, 0));
    job.keep_files();
    job.expect_refused(job.generate({"input.image_pose=park.png"}), 2, {"input.image_pose: ", "park.png", "no drawn pose"});
}

TEST(InputMistakes, ABrokenPoseVideoIsRefusedWithItsFrame) {
    SmallJob job;
    const auto poses = tiny_model() / "example" / "pose" / "%05d.png";
    ASSERT_EQ(run({"ffmpeg", "-v", "error", "-i", poses.string(), (job / "whole.mkv").string()}, job.folder()).code, 0);
    const auto whole = bytes_of(job / "whole.mkv");
    auto broken = whole;
    for (std::size_t at = whole.size() / 2; at < whole.size() * 3 / 4; ++at) broken[at] = static_cast<char>(at * 37);
    write_bytes(job / "broken.mkv", broken);
    job.keep_files();
    job.expect_refused(job.generate({"input.pose=broken.mkv", "input.frames=0"}), 2, {"broken.mkv", "broken at frame"});
}

// ---- model files ----

class ModelMistakes : public ::testing::Test {
  protected:
    ModelMistakes() { copy_model(job / "model"); }

    /// Refused with each of `texts`; `weft inspect --keys` says so too.
    void expect_refused(const Words& texts) {
        job.keep_files();
        job.expect_refused(job.generate({"model.path=model"}), 2, texts);
        job.expect_refused(job.weft({"inspect", "--keys", "model"}), 2, texts);
    }

    /// The VAE's file with this header and the old data.
    void set_vae_header(const std::string& header) {
        const auto bytes = bytes_of(job / "model" / vae_in_model.string());
        replace(vae, number(header.size()) + header + bytes.substr(8 + header_bytes(bytes)));
    }
    [[nodiscard]] std::string vae_header() const {
        const auto bytes = bytes_of(vae);
        return bytes.substr(8, header_bytes(bytes));
    }
    static std::size_t header_bytes(const std::string& bytes) {
        std::uint64_t size = 0;
        std::memcpy(&size, bytes.data(), sizeof size);
        return size;
    }
    static std::string number(std::uint64_t value) { return {reinterpret_cast<const char*>(&value), sizeof value}; }

    /// Writes the checkpoint by a Python program that finds its path in argv[1].
    void write_pth_by_python(const std::string& program) {
        fs::remove(pth);
        const auto ended = run({"python3", "-c", program, pth.string()}, job.folder());
        ASSERT_EQ(ended.code, 0) << ended.err;
    }

    SmallJob job;
    fs::path vae = job / ("model/" + vae_in_model.string());
    fs::path pth = job / ("model/" + pth_in_model.string());
};

TEST_F(ModelMistakes, NoFolder) {
    job.keep_files();
    job.expect_refused(job.generate({"model.path=nowhere"}), 2, {"nowhere"});
}

TEST_F(ModelMistakes, MissingFilesAreListedTogether) {
    fs::remove(vae);
    fs::remove(pth);
    job.keep_files();
    job.expect_refused(job.generate({"model.path=model"}), 2, {"MimicMotion", "vae"});
}

TEST_F(ModelMistakes, TruncatedSafetensors) {
    const auto bytes = bytes_of(vae);
    replace(vae, bytes.substr(0, bytes.size() - 100));
    expect_refused({vae_in_model.filename().string()});
}

TEST_F(ModelMistakes, OffsetsPastTheEnd) {
    auto header = vae_header();
    const auto at = header.find("\"data_offsets\":[0,");
    ASSERT_NE(at, std::string::npos);
    const auto end = header.find(']', at);
    header.replace(at, end - at, "\"data_offsets\":[0,9999999999");
    set_vae_header(header);
    expect_refused({vae_in_model.filename().string()});
}

TEST_F(ModelMistakes, HugeHeaderLength) {
    auto bytes = bytes_of(vae);
    bytes.replace(0, 8, number(std::uint64_t{1} << 62));
    replace(vae, bytes);
    expect_refused({vae_in_model.filename().string(), "header"});
}

TEST_F(ModelMistakes, OverlappingTensors) {
    auto header = vae_header();
    // The second tensor gets the first one's place; sizes fit, so the two are of one shape.
    header =
        "{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[2,6]}," + header.substr(1);
    set_vae_header(header);
    expect_refused({vae_in_model.filename().string(), "overlap"});
}

TEST_F(ModelMistakes, ZipBomb) {
    write_pth_by_python(
        "import sys, zipfile\n"
        "with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n"
        "    z.writestr('archive/data.pkl', b'\\0' * (64 << 20))\n"
        "    z.writestr('archive/data/0', b'\\0' * (64 << 20))\n");
    job.keep_files();
    const auto ended = job.generate({"model.path=model"});
    job.expect_refused(ended, 2, {pth_in_model.string(), "compressed"});
    EXPECT_LT(ended.peak_resident_bytes, std::int64_t{400} << 20);
}

TEST_F(ModelMistakes, APickleThatCallsAFunctionIsRefusedAndCallsNothing) {
    for (const char* const call : {"(os.system, ('touch called',))", "(eval, ('open(\"called\", \"w\")',))", "(exec, ('open(\"called\", \"w\")',))"}) {
        write_pth_by_python(
            cat("import os, pickle, sys, zipfile\n"
                "class Call:\n"
                "    def __reduce__(self): return ",
                call,
                "\n"
                "with zipfile.ZipFile(sys.argv[1], 'w') as z:\n"
                "    z.writestr('archive/data.pkl', pickle.dumps({'unet.conv_in.weight': Call()}, 2))\n"
                "    z.writestr('archive/version', '3\\n')\n"));
        expect_refused({pth_in_model.string()});
        EXPECT_FALSE(fs::exists(job / "called")) << call;
    }
}

TEST_F(ModelMistakes, NamesThatAreNoUtf8ReachTheStatusFile) {
    write_pth_by_python(
        "import sys\n"
        "import zipfile\n"
        "with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as z:\n"
        "    z.writestr('archXve/data.pkl', b'\\0' * 100)\n"
        "b = open(sys.argv[1], 'rb').read().replace(b'archXve', b'arch\\xffve')\n"
        "open(sys.argv[1], 'wb').write(b)\n");
    job.keep_files();
    job.expect_refused(job.generate({"model.path=model"}), 2, {pth_in_model.string()});
    EXPECT_EQ(status_of(job / "out.status"), "2 prepare 0");
    EXPECT_THAT(json_of(bytes_of(job / "out.status")).at("text"), HasSubstr(pth_in_model.string()));
}

TEST_F(ModelMistakes, WrongShapesAndMissingAndSurplusKeysAreListedTogether) {
    const auto file = io::WeightFile::open(vae);
    std::vector<io::TensorToWrite> tensors;
    std::vector<std::string> names;
    for (const auto& [name, stored] : file.tensors()) {
        names.push_back(name);
        const auto bytes = static_cast<std::size_t>(stored.num_elements()) * io::element_bytes(stored.type);
        tensors.push_back(
            {name, stored.type, stored.shape, stored.storage.subspan(static_cast<std::size_t>(stored.offset) * io::element_bytes(stored.type), bytes)});
    }
    ASSERT_GT(tensors.size(), 3U);
    const auto missing = tensors.back().name;
    tensors.pop_back();
    const auto misshapen = tensors.back().name;
    tensors.back().shape.push_back(1);
    tensors.front().name += ".of_somebody_else";
    const auto path = job / "new.safetensors";
    io::write_safetensors(path, tensors);
    fs::remove(vae);
    fs::rename(path, vae);
    expect_refused({cat("key ", missing, " is missing"), cat("key ", misshapen, " has shape"), cat("key ", names.front(), " is missing"),
                    cat("key ", names.front(), ".of_somebody_else"), "is surplus"});
}

TEST_F(ModelMistakes, AConfigThatIsNoJson) {
    replace(job / "model/stable-video-diffusion-img2vid-xt-1-1/unet/config.json", "{\"in_channels\": 8,");
    expect_refused({"unet/config.json", "not JSON"});
}

// ---- places ----

TEST(Places, AnUnknownEndingIsRefusedBeforeTheJobRuns) {
    SmallJob job;
    const auto ended = job.generate({"output.video=out.avi"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("out.avi: unknown ending"));
    EXPECT_EQ(status_of(job / "out.status"), "2 prepare 0");
}

TEST(Places, AMissingFolderIsNamed) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({"output.run_file=nowhere/out.h5", "output.video=never/out.mp4"}), 2,
                       {"output.run_file = \"nowhere/out.h5\": the folder nowhere cannot be written: No such file or directory",
                        "output.video = ", "the folder never cannot be written", "name a folder that exists"});
}

TEST(Places, AFolderWithOtherFilesIsNotReplacedByFrames) {
    SmallJob job;
    fs::create_directories(job / "holiday");
    write_bytes(job / "holiday/00001.png", "a picture of the user's");
    write_bytes(job / "holiday/notes.txt", "notes of the user's");
    job.keep_files();
    const auto ended = job.generate({"output.video=holiday"});
    EXPECT_EQ(ended.code, 2);
    EXPECT_THAT(ended.err, HasSubstr("notes.txt"));
    job.expect_files_kept({"out.status", "out.h5"});
}

TEST(Places, AFileThatIsNoRunFileIsNotReplaced) {
    SmallJob job;
    write_bytes(job / "out.h5", "notes of the user's");
    job.keep_files();
    job.expect_refused(job.generate(), 2, {"out.h5", "not a weft run file"});
}

TEST(Places, AReadOnlyMountIsRefusedBeforeTheJobRuns) {
    SmallJob job;
    const Mount disk(0, "size=4m");
    ASSERT_TRUE(disk);
    write_bytes(disk / "film.mkv", "a film of the user's");
    ASSERT_EQ(::mount("tmpfs", disk.path().c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "size=4m"), 0) << errno_text(errno);
    job.keep_files();
    for (const auto& [key, name] : {std::pair{"output.run_file", "out.h5"}, {"output.video", "film.mkv"}, {"output.video", "frames/"}})
        job.expect_refused(job.generate({cat(key, "=", (disk / name).string())}), 2,
                           {key, name, disk.path().string(), "Read-only file system", "name a folder that exists and can be written"});
    EXPECT_EQ(bytes_of(disk / "film.mkv"), "a film of the user's");
}

/// Fills the disk but for about `left` bytes.
void fill(const Mount& disk, std::size_t left) {
    struct statvfs room {};
    ASSERT_EQ(::statvfs(disk.path().c_str(), &room), 0);
    const auto free = room.f_bavail * room.f_frsize;
    ASSERT_GT(free, left);
    write_bytes(disk / "ballast", std::string(free - left, 'x'));
}

TEST(Places, AFullDiskForTheRunFileIsTheSystemsFailure) {
    SmallJob job;
    const Mount disk(0, "size=1m");
    ASSERT_TRUE(disk);
    const auto ended = job.generate({cat("output.run_file=", (disk / "out.h5").string())});
    EXPECT_EQ(ended.code, 1) << ::testing::PrintToString(ended);
    EXPECT_THAT(ended.err, HasSubstr("out.h5: "));
    EXPECT_THAT(ended.err, HasSubstr("No space left on device"));
    EXPECT_FALSE(fs::exists(disk / "out.h5"));
    EXPECT_FALSE(fs::exists(disk / "out.h5.part"));
    EXPECT_EQ(status_of(disk / "out.status"), "1 prepare 0");
}

TEST(Places, AFullDiskNeverCostsWhatTheRunFileHolds) {
    SmallJob job;
    const Mount disk(0, "size=16m");
    ASSERT_TRUE(disk);
    const Words to_disk{cat("output.run_file=", (disk / "out.h5").string()), "sampling.steps=6"};
    auto first = job.start(to_disk, {"--events", "events.jsonl"});
    while (bytes_of(job / "events.jsonl").find("\"step\":3,\"seconds\"") == std::string::npos) ASSERT_FALSE(first.ends_within(0.005));
    first.send(SIGKILL);
    ASSERT_EQ(first.wait().signal, SIGKILL);
    const auto before = job.hash((disk / "out.h5").string());
    fill(disk, 0);

    auto words = to_disk;
    const auto anew = job.generate(words, {"--restart"});
    EXPECT_EQ(anew.code, 1) << ::testing::PrintToString(anew);
    EXPECT_EQ(job.hash((disk / "out.h5").string()), before);

    // The scratch file for pose maps lies beside the run file: no room for it is the system's failure too.
    const auto again = job.generate(words);
    EXPECT_EQ(again.code, 1) << ::testing::PrintToString(again);
    EXPECT_THAT(again.err, HasSubstr("No space left on device"));
    EXPECT_EQ(job.hash((disk / "out.h5").string()), before);

    fs::remove(disk / "ballast");
    fill(disk, 9 * 64 * 64 * 3 + 128 * 1024);  // room for the maps and nothing else: saving needs no more, its blocks are there
    expect_done(job.generate(words));
    SmallJob other;
    expect_done(other.generate({"sampling.steps=6"}));
    EXPECT_EQ(job.hash((disk / "out.h5").string()), other.hash("out.h5"));
    EXPECT_EQ(job.hash("out.mkv"), other.hash("out.mkv"));
}

TEST(Places, AFullDiskForTheVideoCostsOnlyTheDecode) {
    SmallJob job;
    const Mount disk(0, "size=64k");
    ASSERT_TRUE(disk);
    const Words to_disk{cat("output.video=", (disk / "film.mkv").string())};
    write_bytes(disk / "film.mkv", "a film of the user's");
    const auto full = job.generate(to_disk);
    EXPECT_EQ(full.code, 1) << ::testing::PrintToString(full);
    EXPECT_THAT(full.err, HasSubstr("film.mkv: "));
    EXPECT_THAT(full.err, HasSubstr("No space left on device"));
    EXPECT_EQ(bytes_of(disk / "film.mkv"), "a film of the user's");
    EXPECT_FALSE(fs::exists(disk / "film.mkv.part"));
    EXPECT_EQ(status_of(job / "out.status"), "1 decode 3");

    expect_done(job.generate({}, {"--events", "events.jsonl"}));
    EXPECT_THAT(bytes_of(job / "events.jsonl"), Not(HasSubstr("\"pass\"")));
    EXPECT_EQ(job.hashes(), undisturbed_hashes());
}

TEST(Places, TheSameJobTwiceAtOnceIsRefused) {
    SmallJob job;
    auto first = job.start({"sampling.steps=200"}, {"--events", "events.jsonl"});
    while (bytes_of(job / "events.jsonl").find("\"pass\"") == std::string::npos) ASSERT_FALSE(first.ends_within(0.005));
    const auto second = job.generate({"sampling.steps=200"});
    EXPECT_EQ(second.code, 2) << ::testing::PrintToString(second);
    EXPECT_THAT(second.err, HasSubstr("out.h5"));
    EXPECT_FALSE(first.ends_within(0));
}

TEST(OtherJobs, ARunFileOfAnotherJobIsRefusedWithTheDifferences) {
    SmallJob job;
    expect_done(job.generate());
    job.keep_files();
    job.expect_refused(job.generate({"sampling.seed=43", "slices.overlap=3"}), 2,
                       {"output.run_file = \"out.h5\" is of another job", "sampling.seed: was 42, is 43", "slices.overlap: was 2, is 3", "--restart",
                        "name another output.run_file"});
    EXPECT_EQ(status_of(job / "out.status"), "2 prepare 0");

    io::write_png(job / "other.png", io::test::plain(128, 128, 200, 20, 20));
    job.keep_files();
    job.expect_refused(job.generate({"input.image=other.png"}), 2, {"picture and poses: was "});

    copy_model(job / "model");
    auto bytes = bytes_of(tiny_model() / vae_in_model);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    replace(job / "model" / vae_in_model.string(), bytes);
    job.keep_files();
    job.expect_refused(job.generate({"model.path=model"}), 2, {cat("weights vae/", vae_in_model.filename().string(), ": was ")});
}

}  // namespace weft::test

#include "io/run_file.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <thread>

namespace weft::io {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::filesystem::path fresh_folder() {
    std::string name = (std::filesystem::temp_directory_path() / "weft-run-XXXXXX").string();
    ensure(::mkdtemp(name.data()) != nullptr, "a folder for the test");
    return name;
}

struct Folder {
    std::filesystem::path path = fresh_folder();
    Folder() = default;
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    ~Folder() { std::filesystem::remove_all(path); }
    [[nodiscard]] std::filesystem::path operator/(const char* name) const { return path / name; }
};

/// A memory file system of a given size, which needs root (or CAP_SYS_ADMIN).
struct SmallDisk {
    Folder folder;
    bool mounted = false;
    explicit SmallDisk(const std::string& size) {
        mounted = ::mount("tmpfs", folder.path.c_str(), "tmpfs", MS_NODEV, cat("size=", size).c_str()) == 0;
        if (!mounted) ADD_FAILURE() << "mount(2) of a tmpfs is not permitted here (" << errno_text(errno) << "): run this test as root";
    }
    ~SmallDisk() {
        if (mounted) ::umount2(folder.path.c_str(), MNT_DETACH);
    }
    [[nodiscard]] std::filesystem::path operator/(const char* name) const { return folder / name; }
    void make_readonly() const {
        if (::mount("tmpfs", folder.path.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "") != 0) ADD_FAILURE() << "remount read-only: " << errno_text(errno);
    }
};

RunHeader small_header() {
    return {.settings = "[sampling]\nsteps = 25\n",
            .plan = "ranks = 3\n",
            .numerics_key = "0123456789abcdef0123456789abcdef",
            .input_digest = "fedcba9876543210fedcba9876543210",
            .weights = {{"unet/model.safetensors", "11aa"}, {"vae=v2.bin", "22bb"}},
            .steps = 25,
            .clip_frames = 4,
            .shape = {.frames = 5, .channels = 4, .height = 6, .width = 7}};
}

/// Latents that say where they came from: 1000 * step + frame in front, the element's number in each frame behind the point.
std::vector<float> latents_of(const LatentShape& shape, std::int64_t step) {
    std::vector<float> latents;
    latents.reserve(static_cast<std::size_t>(shape.frames * shape.frame_elements()));
    for (std::int64_t frame = 0; frame < shape.frames; ++frame)
        for (std::int64_t i = 0; i < shape.frame_elements(); ++i) latents.push_back(static_cast<float>(1000 * step + frame) + static_cast<float>(i % 64) / 64);
    return latents;
}
std::vector<float> latents_of(std::int64_t step) {
    return latents_of(small_header().shape, step);
}

std::string output_of(const std::string& command) {
    std::string text;
    std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
    ensure(pipe != nullptr, "a pipe");
    std::array<char, 4096> piece{};
    while (const auto got = std::fread(piece.data(), 1, piece.size(), pipe)) text.append(piece.data(), got);
    const int rc = ::pclose(pipe);
    EXPECT_EQ(rc, 0) << command << "\n" << text;
    return text;
}

/// Where h5dump says that a dataset's bytes lie.
std::int64_t offset_of(const std::filesystem::path& path, const std::string& dataset) {
    const auto text = output_of(cat("h5dump -p -H -d ", dataset, " ", path.string()));
    const auto found = text.find("OFFSET ");
    ensure(found != std::string::npos, "h5dump names the dataset's offset");
    return std::stoll(text.substr(found + 7));
}

void poke(const std::filesystem::path& path, std::int64_t offset, std::string_view bytes) {
    const FileDescriptor fd{::open(path.c_str(), O_WRONLY | O_CLOEXEC)};
    ASSERT_EQ(::pwrite(fd.get(), bytes.data(), bytes.size(), offset), static_cast<ssize_t>(bytes.size()));
}
void poke_word(const std::filesystem::path& path, std::int64_t offset, std::int64_t word) {
    poke(path, offset, {reinterpret_cast<const char*>(&word), sizeof word});
}

constexpr std::int64_t frame_bytes = std::int64_t{4} * 6 * 7 * sizeof(float);
constexpr std::int64_t slot_bytes = 5 * frame_bytes;

/// The Error that `work` ends with.
struct Caught {
    ExitCode code = ExitCode::done;
    std::string text;
};
Caught caught(const std::function<void()>& work) {
    try {
        work();
    } catch (const Error& error) {
        return {error.code(), error.what()};
    }
    ADD_FAILURE() << "nothing was thrown";
    return {};
}

void expect_newest(const RunFile& run, std::int64_t step) {
    const auto saved = run.newest();
    ASSERT_TRUE(saved.has_value());
    EXPECT_EQ(saved->step, step);
    EXPECT_EQ(saved->latents, latents_of(run.header().shape, step));
}

TEST(RunFile, WhatWasCreatedAndSavedIsReadBack) {
    const Folder folder;
    const auto path = folder / "out.h5";
    const auto wanted = small_header();
    {
        auto run = RunFile::create(path, wanted);
        EXPECT_EQ(run.path(), path);
        EXPECT_FALSE(run.newest().has_value());
        EXPECT_FALSE(run.newest_step().has_value());
        EXPECT_EQ(run.phase(), Phase::denoise);
        run.save(0, latents_of(0));
        expect_newest(run, 0);
        run.save(1, latents_of(1));
        run.set_phase(Phase::decode);
    }
    EXPECT_FALSE(std::filesystem::exists(folder / "out.h5.part"));
    const auto run = RunFile::open_readonly(path);
    const auto& header = run.header();
    EXPECT_EQ(header.settings, wanted.settings);
    EXPECT_EQ(header.plan, wanted.plan);
    EXPECT_EQ(header.numerics_key, wanted.numerics_key);
    EXPECT_EQ(header.input_digest, wanted.input_digest);
    EXPECT_EQ(header.weights, wanted.weights);
    EXPECT_EQ(header.steps, wanted.steps);
    EXPECT_EQ(header.shape, wanted.shape);
    EXPECT_EQ(run.phase(), Phase::decode);
    EXPECT_EQ(run.newest_step(), 1);
    expect_newest(run, 1);
}

TEST(RunFile, H5dumpReadsItEvenWhileItIsOpenForWriting) {
    const Folder folder;
    const auto path = folder / "out.h5";
    auto run = RunFile::create(path, small_header());
    run.save(3, latents_of(3));
    const auto structure = output_of("h5dump -B -H -p " + path.string());
    for (const char* name : {"/", "latents", "stamps", "commit", "phase", "plan", "starts", "settings", "numerics_key", "input_digest", "weights", "steps",
                             "clip_frames", "layout_version"})
        EXPECT_THAT(structure, HasSubstr(cat("\"", name, "\""))) << structure;
    EXPECT_THAT(structure, AllOf(HasSubstr("( 2, 5, 4, 6, 7 )"), HasSubstr("SUPERBLOCK_VERSION 0"), HasSubstr("CONTIGUOUS"), Not(HasSubstr("CHUNKED"))));
    EXPECT_THAT(output_of("h5dump -d /settings " + path.string()), HasSubstr("steps = 25"));
    EXPECT_THAT(output_of("h5dump -d /phase " + path.string()), HasSubstr("\"denoise\""));
    EXPECT_THAT(output_of("h5dump -d /commit " + path.string()), HasSubstr("(0): 6"));  // 2 * step + slot
    EXPECT_THAT(output_of("h5dump -d /latents -s 0,4,0,0,0 -c 1,1,1,1,2 " + path.string()), HasSubstr("3004, 3004.02"));
    EXPECT_EQ(offset_of(path, "/commit") % 8, 0);
}

TEST(RunFile, AReopenedFileGoesOnFromItsNewestState) {
    const Folder folder;
    const auto path = folder / "out.h5";
    RunFile::create(path, small_header()).save(0, latents_of(0));
    for (std::int64_t step = 1; step <= 5; ++step) {
        auto run = RunFile::open(path);
        EXPECT_EQ(run.newest_step(), step - 1);
        expect_newest(run, step - 1);
        run.save(step, latents_of(step));
        expect_newest(run, step);
    }
    expect_newest(RunFile::open_readonly(path), 5);
}

TEST(RunFile, StatesAlternateBetweenTheTwoSlots) {
    const Folder folder;
    const auto path = folder / "out.h5";
    auto run = RunFile::create(path, small_header());
    const auto size = std::filesystem::file_size(path);
    const auto commit = offset_of(path, "/commit");
    for (std::int64_t step = 0; step <= 25; ++step) {
        run.save(step, latents_of(step));
        const auto bytes = read_text(path);
        std::int64_t word = 0;
        std::memcpy(&word, bytes.data() + commit, sizeof word);
        EXPECT_EQ(word, 2 * step + step % 2);
    }
    EXPECT_EQ(std::filesystem::file_size(path), size) << "nothing is allocated after the start";
}

TEST(RunFile, ADamagedNewestStateGivesTheOneBeforeAndTheNextSaveSparesThat) {
    const Folder folder;
    const auto path = folder / "out.h5";
    {
        auto run = RunFile::create(path, small_header());
        for (const std::int64_t step : {0, 1, 2}) run.save(step, latents_of(step));  // 2 in slot 0, 1 in slot 1
    }
    poke(path, offset_of(path, "/latents") + 3 * frame_bytes + 17, "?");
    {
        auto run = RunFile::open(path);
        EXPECT_EQ(run.newest_step(), 2) << "the latents are not read for this";
        expect_newest(run, 1);
    }
    {
        auto run = RunFile::open(path);  // without asking for newest()
        run.save(2, latents_of(2));
        expect_newest(run, 2);
    }
    poke(path, offset_of(path, "/latents") + 3 * frame_bytes + 17, "?");
    expect_newest(RunFile::open_readonly(path), 1);
}

TEST(RunFile, TwoDamagedStatesGiveNothingAndTheFileCanStartAgain) {
    const Folder folder;
    const auto path = folder / "out.h5";
    {
        auto run = RunFile::create(path, small_header());
        for (const std::int64_t step : {0, 1}) run.save(step, latents_of(step));
    }
    for (const int slot : {0, 1}) poke(path, offset_of(path, "/latents") + slot * slot_bytes, "????");
    auto run = RunFile::open(path);
    EXPECT_FALSE(run.newest().has_value());
    run.save(0, latents_of(0));
    expect_newest(run, 0);
}

TEST(RunFile, ASlotHalfWrittenOverIsNotTakenForAState) {
    const Folder folder;
    const auto path = folder / "out.h5";
    {
        auto run = RunFile::create(path, small_header());
        for (const std::int64_t step : {0, 1, 2}) run.save(step, latents_of(step));
    }
    // The stamps of frames 0 and 1 in the committed slot 0 name another step.
    for (const std::int64_t frame : {0, 1}) poke_word(path, offset_of(path, "/stamps") + frame * 16, 4);
    const auto run = RunFile::open_readonly(path);
    expect_newest(run, 1);
    EXPECT_EQ(run.newest_step(), 1);
}

TEST(RunFile, ATornCommitWordFallsBackOnTheSlotsThemselves) {
    const Folder folder;
    const auto path = folder / "out.h5";
    {
        auto run = RunFile::create(path, small_header());
        for (const std::int64_t step : {6, 7}) run.save(step, latents_of(step));  // 6 in slot 0, 7 in slot 1
    }
    const auto commit = offset_of(path, "/commit");
    for (const std::int64_t word : {std::int64_t{-2}, std::int64_t{1} << 60, std::int64_t{52}}) {
        poke_word(path, commit, word);
        const auto run = RunFile::open_readonly(path);
        expect_newest(run, 7);
        EXPECT_EQ(run.newest_step(), 7);
    }
    poke_word(path, commit, 2 * 9 + 0);  // a step that slot 0 does not hold
    expect_newest(RunFile::open_readonly(path), 7);
    poke_word(path, commit, 2 * 6 + 0);  // the state before: what a kill between the two syncs leaves
    expect_newest(RunFile::open_readonly(path), 6);
}

TEST(RunFile, APowerCutThatKeepsAnyPartOfASaveGivesTheStateBefore) {
    const Folder folder;
    const auto path = folder / "out.h5";
    auto header = small_header();
    header.shape = {.frames = 300, .channels = 4, .height = 6, .width = 7};
    {
        auto run = RunFile::create(path, header);
        for (const std::int64_t step : {10, 11}) run.save(step, latents_of(header.shape, step));
    }
    const auto old = read_text(path);
    RunFile::open(path).save(12, latents_of(header.shape, 12));
    const auto complete = read_text(path);
    const auto commit_sector = static_cast<std::size_t>(offset_of(path, "/commit")) / 512;
    std::mt19937 random{7};
    for (const double kept : {0.0, 0.02, 0.5, 0.98, 1.0})
        for (int round = 0; round < 10; ++round) {
            auto bytes = old;
            // Until the sync before it returns, the commit word is not written; sectors of all else may reach the disk in any order.
            for (std::size_t sector = 0; sector < bytes.size() / 512; ++sector)
                if (sector != commit_sector && std::bernoulli_distribution{kept}(random)) bytes.replace(sector * 512, 512, complete, sector * 512, 512);
            const auto after = folder / "after.h5";
            std::ofstream{after, std::ios::binary} << bytes;
            expect_newest(RunFile::open_readonly(after), 11);
        }
    expect_newest(RunFile::open_readonly(path), 12);
}

TEST(RunFile, AKillAtAnyMomentLeavesAWholeStateAndStepsOnlyGrow) {
    const Folder folder;
    const auto path = folder / "out.h5";
    auto header = small_header();
    header.shape = {.frames = 24, .channels = 4, .height = 36, .width = 64};
    header.steps = 1'000'000;
    RunFile::create(path, header).save(0, latents_of(header.shape, 0));
    std::mt19937 random{20240607};
    std::int64_t before = 0;
    for (int round = 0; round < 15; ++round) {
        std::array<int, 2> ready{};
        ASSERT_EQ(::pipe2(ready.data(), O_CLOEXEC), 0);
        const auto child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            try {
                auto run = RunFile::open(path);
                auto step = run.newest().value().step;
                if (::write(ready[1], "r", 1) != 1) ::_exit(2);
                for (;;) {
                    ++step;
                    run.save(step, latents_of(header.shape, step));
                }
            } catch (...) {
                ::_exit(1);
            }
        }
        ::close(ready[1]);
        char letter = 0;
        ASSERT_EQ(::read(ready[0], &letter, 1), 1) << "the child could not open the run file";
        ::close(ready[0]);
        std::this_thread::sleep_for(std::chrono::microseconds{std::uniform_int_distribution{200, 200'000}(random)});
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the child ended by itself in round " << round;

        const auto run = RunFile::open(path);
        const auto saved = run.newest();
        ASSERT_TRUE(saved.has_value()) << "round " << round;
        EXPECT_GE(saved->step, before);
        EXPECT_EQ(run.newest_step(), saved->step) << "the committed state itself is good, not only the other slot";
        ASSERT_TRUE(saved->latents == latents_of(header.shape, saved->step)) << "round " << round;
        before = saved->step;
    }
    EXPECT_GT(before, 15) << "the children did save";
    output_of("h5dump -H " + path.string());
}

TEST(RunFile, AReaderBesideAFastWriterAlwaysFindsAWholeState) {
    const Folder folder;
    const auto path = folder / "out.h5";
    auto header = small_header();
    header.steps = 1'000'000;
    auto run = RunFile::create(path, header);
    run.save(0, latents_of(0));
    std::jthread writer([&](const std::stop_token& stop) {
        const std::array states{latents_of(0), latents_of(1)};
        for (std::int64_t step = 1; !stop.stop_requested(); ++step) run.save(step, states[static_cast<std::size_t>(step % 2)]);
    });
    const auto reader = RunFile::open_readonly(path);
    std::int64_t before = 0;
    for (int i = 0; i < 200; ++i) {
        const auto saved = reader.newest();
        ASSERT_TRUE(saved.has_value());
        EXPECT_GE(saved->step + 1, before) << "at most one save older";
        EXPECT_EQ(saved->latents, latents_of(saved->step % 2));
        before = saved->step;
    }
}

TEST(RunFile, AFullDiskIsMetAtTheStartAndTheBytesAreNamed) {
    const SmallDisk disk{"64k"};
    ASSERT_TRUE(disk.mounted);
    const auto path = disk / "out.h5";
    const auto error = caught([&] { (void)RunFile::create(path, small_header()); });
    EXPECT_EQ(error.code, ExitCode::failure);
    EXPECT_THAT(error.text,
                AllOf(HasSubstr(path.string()), HasSubstr("No space left"), HasSubstr("2.3 MiB ("), HasSubstr(" bytes)"), HasSubstr("64.0 KiB are free")));
    EXPECT_TRUE(std::filesystem::is_empty(disk.folder.path)) << "no half-made file is left";
}

TEST(RunFile, AFileThatDoesNotFitLeavesTheExistingOneAlone) {
    const SmallDisk disk{"4m"};
    ASSERT_TRUE(disk.mounted);
    const auto path = disk / "out.h5";
    RunFile::create(path, small_header()).save(4, latents_of(4));
    auto larger = small_header();
    larger.shape.frames = 4000;
    const auto error = caught([&] { (void)RunFile::create(path, larger); });
    EXPECT_EQ(error.code, ExitCode::failure);
    EXPECT_THAT(error.text, HasSubstr("No space left"));
    EXPECT_FALSE(std::filesystem::exists(disk / "out.h5.part"));
    expect_newest(RunFile::open(path), 4);
}

TEST(RunFile, AllSavesFitOnADiskThatIsFullAfterTheStart) {
    const SmallDisk disk{"4m"};
    ASSERT_TRUE(disk.mounted);
    auto run = RunFile::create(disk / "out.h5", small_header());
    std::ofstream{disk / "filler"} << std::string(8 << 20, 'x');
    struct statvfs left {};
    ASSERT_EQ(::statvfs((disk / "filler").c_str(), &left), 0);
    ASSERT_EQ(left.f_bavail, 0U);
    for (std::int64_t step = 0; step <= 25; ++step) run.save(step, latents_of(step));
    for (int start = 0; start < 20; ++start) run.set_plan(std::string(1000, 'p'));
    expect_newest(run, 25);
}

TEST(RunFile, ADiskFullWhileSavingLeavesTheEarlierState) {
    const SmallDisk disk{"4m"};
    ASSERT_TRUE(disk.mounted);
    const auto path = disk / "out.h5";
    auto header = small_header();
    header.shape.frames = 50;  // several pages
    auto run = RunFile::create(path, header);
    run.save(6, latents_of(header.shape, 6));
    // A file system that takes its blocks back, as one with copy on write may: holes in slot 1, and nothing free.
    {
        const FileDescriptor fd{::open(path.c_str(), O_RDWR | O_CLOEXEC)};
        ASSERT_EQ(::fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_of(path, "/latents") + 50 * frame_bytes, 50 * frame_bytes), 0);
    }
    std::ofstream{disk / "filler"} << std::string(8 << 20, 'x');
    const auto error = caught([&] { run.save(7, latents_of(header.shape, 7)); });
    EXPECT_EQ(error.code, ExitCode::failure);
    EXPECT_THAT(error.text, AllOf(HasSubstr("saving the state of step 7"), HasSubstr("No space left"), HasSubstr("the state of step 6 is still good")));
    expect_newest(run, 6);
    expect_newest(RunFile::open_readonly(path), 6);
    std::filesystem::remove(disk / "filler");
    run.save(7, latents_of(header.shape, 7));
    expect_newest(run, 7);
}

TEST(RunFile, ASecondWriterIsRefusedAndAReaderIsNot) {
    const Folder folder;
    const auto path = folder / "out.h5";
    {
        auto run = RunFile::create(path, small_header());
        run.save(2, latents_of(2));
        for (const auto& second :
             {std::function<void()>{[&] { (void)RunFile::open(path); }}, std::function<void()>{[&] { (void)RunFile::create(path, small_header()); }}}) {
            const auto error = caught(second);
            EXPECT_EQ(error.code, ExitCode::user_mistake);
            EXPECT_THAT(error.text, AllOf(HasSubstr(path.string()), HasSubstr("another weft process has it open"), HasSubstr("output.run_file")));
        }
        expect_newest(RunFile::open_readonly(path), 2);
        run.save(3, latents_of(3));
    }
    expect_newest(RunFile::open(path), 3);
}

TEST(RunFile, ANewFileReplacesAFinishedOne) {
    const Folder folder;
    const auto path = folder / "out.h5";
    RunFile::create(path, small_header()).save(2, latents_of(2));
    std::ofstream{folder / "out.h5.part"} << "left by a killed job";
    EXPECT_FALSE(RunFile::create(path, small_header()).newest_step().has_value());
    EXPECT_FALSE(RunFile::open(path).newest_step().has_value());
}

TEST(RunFile, WhatIsNoRunFileIsRefusedWithWhatToDo) {
    const Folder folder;
    const auto refused = [&](const char* name, const std::string& why) {
        for (const auto& opener : {&RunFile::open, &RunFile::open_readonly}) {
            const auto error = caught([&] { (void)opener(folder / name); });
            EXPECT_EQ(error.code, ExitCode::user_mistake) << name;
            EXPECT_THAT(error.text, AllOf(HasSubstr((folder / name).string()), HasSubstr(why), HasSubstr("output.run_file"))) << name;
        }
    };
    refused("missing.h5", "No such file");
    refused("no-folder/out.h5", "No such file");
    std::ofstream{folder / "empty.h5"} << "";
    refused("empty.h5", "not a weft run file");
    std::ofstream{folder / "text.h5"} << "# my notes\n" << std::string(5000, 'x');
    refused("text.h5", "file signature not found");
    std::filesystem::create_directory(folder / "folder.h5");
    refused("folder.h5", "");

    output_of(cat("h5mkgrp -p ", (folder / "other.h5").string(), " /a/b"));
    refused("other.h5", "is an HDF5 file, but not a weft run file");

    const auto good = folder / "good.h5";
    RunFile::create(good, small_header()).save(1, latents_of(1));
    const auto copy = [&](const char* name) {
        std::filesystem::copy_file(good, folder / name);
        return folder / name;
    };
    poke_word(copy("newer.h5"), offset_of(good, "/layout_version"), 3);
    refused("newer.h5", "has layout version 3, this weft reads version 2; use the newer weft");
    poke_word(copy("zero.h5"), offset_of(good, "/layout_version"), 0);
    refused("zero.h5", "has layout version 0");
    std::filesystem::resize_file(copy("cut.h5"), std::filesystem::file_size(good) / 2);
    refused("cut.h5", "truncated file");
    auto bytes = read_text(good);
    bytes.replace(bytes.find("latents"), 7, "latentz");
    std::ofstream{folder / "renamed.h5"} << bytes;
    refused("renamed.h5", "opening /latents");
}

TEST(RunFile, APlaceThatCannotBeWrittenIsTheUsersMistake) {
    const SmallDisk disk{"4m"};
    ASSERT_TRUE(disk.mounted);
    const auto path = disk / "out.h5";
    RunFile::create(path, small_header()).save(1, latents_of(1));
    disk.make_readonly();
    for (const auto& work :
         {std::function<void()>{[&] { (void)RunFile::open(path); }}, std::function<void()>{[&] { (void)RunFile::create(path, small_header()); }},
          std::function<void()>{[&] { (void)RunFile::create(disk / "new.h5", small_header()); }}}) {
        const auto error = caught(work);
        EXPECT_EQ(error.code, ExitCode::user_mistake);
        EXPECT_THAT(error.text, AllOf(HasSubstr("Read-only file system"), HasSubstr("output.run_file")));
    }
    expect_newest(RunFile::open_readonly(path), 1);

    const auto missing = caught([&] { (void)RunFile::create("/nonexistent/folder/out.h5", small_header()); });
    EXPECT_EQ(missing.code, ExitCode::user_mistake);
    EXPECT_THAT(missing.text, HasSubstr("No such file"));
    const auto device = caught([&] { (void)RunFile::create("/dev/null", small_header()); });
    EXPECT_EQ(device.code, ExitCode::user_mistake);
    EXPECT_THAT(device.text, HasSubstr("is not a regular file"));
}

TEST(RunFile, EachStartsPlanIsKeptInPlaceAndTheNewestCounts) {
    const Folder folder;
    const auto path = folder / "out.h5";
    (void)RunFile::create(path, small_header());
    const auto size = std::filesystem::file_size(path);
    for (int start = 2; start <= 20; ++start) {
        auto run = RunFile::open(path);
        run.set_plan(cat("start = ", start, "\n"));
        EXPECT_EQ(run.header().plan, cat("start = ", start, "\n"));
    }
    EXPECT_EQ(RunFile::open_readonly(path).header().plan, "start = 20\n");
    EXPECT_EQ(std::filesystem::file_size(path), size);
    const auto plans = output_of("h5dump -d /plan " + path.string());
    for (int start = 13; start <= 20; ++start) EXPECT_THAT(plans, HasSubstr(cat("start = ", start)));
}

TEST(RunFile, APlanLongerThanItsRoomIsCutBehindALineWithANote) {
    const Folder folder;
    auto run = RunFile::create(folder / "out.h5", small_header());
    std::string plan;
    for (int line = 0; plan.size() < 400'000; ++line) plan += cat("line_", line, " = 1\n");
    run.set_plan(plan);
    const auto kept = RunFile::open_readonly(folder / "out.h5").header().plan;
    EXPECT_LT(kept.size(), 256U * 1024);
    EXPECT_GT(kept.size(), 255U * 1024);
    const auto note = kept.rfind('\n', kept.size() - 2) + 1;
    EXPECT_EQ(kept.substr(note), "# weft: the rest of the plan did not fit in here\n");
    EXPECT_EQ(kept.substr(0, note), plan.substr(0, note));
}

TEST(RunFile, EmptyTextsAndASingleFrameAreFine) {
    const Folder folder;
    const auto path = folder / "out.h5";
    RunHeader header;
    header.clip_frames = 1;
    header.shape = {1, 1, 1, 1};
    RunFile::create(path, header).save(0, std::array{2.5F});
    const auto run = RunFile::open(path);
    EXPECT_EQ(run.header().settings, "");
    EXPECT_TRUE(run.header().weights.empty());
    EXPECT_EQ(run.newest().value().latents, std::vector{2.5F});
}

TEST(RunStatus, LiesBesideTheRunFile) {
    EXPECT_EQ(status_path("a/out.h5"), "a/out.status");
    EXPECT_EQ(status_path("a.b/out.v2.h5"), "a.b/out.v2.status");
    EXPECT_EQ(status_path("a/out"), "a/out.status");
    EXPECT_EQ(status_path("a/out.data"), "a/out.data.status");
}

TEST(RunStatus, IsJsonWithTheJobsEnd) {
    const Folder folder;
    write_status(folder / "out.h5", {.code = 0, .phase = "done", .step = 25, .text = {}, .culprit = {}});
    write_status(folder / "out.h5",
                 {.code = 4, .phase = "denoise", .step = 17, .text = "NCCL failed: \"unhandled\"\nbytes \xff\x01", .culprit = "rank 5 of 8, node12"});
    const auto json = nlohmann::json::parse(read_text(folder / "out.status"));
    EXPECT_EQ(json.size(), 5U);
    EXPECT_EQ(json.at("code"), 4);
    EXPECT_EQ(json.at("phase"), "denoise");
    EXPECT_EQ(json.at("step"), 17);
    EXPECT_EQ(json.at("text"), "NCCL failed: \"unhandled\"\nbytes \xef\xbf\xbd\x01");
    EXPECT_EQ(json.at("culprit"), "rank 5 of 8, node12");
    EXPECT_FALSE(std::filesystem::exists(folder / "out.status.part"));
}

TEST(RunStatus, NeverThrows) {
    testing::internal::CaptureStderr();
    write_status("/nonexistent/folder/out.h5", {});
    EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("/nonexistent/folder/out.status"));
}

}  // namespace
}  // namespace weft::io

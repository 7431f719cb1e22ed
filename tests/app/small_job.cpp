#include "app/small_job.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "io/run_file.hpp"
#include "io/video_reader.hpp"
#include "support/model_files.hpp"

#include <nlohmann/json.hpp>

#include <sys/file.h>
#include <sys/stat.h>

#include <fcntl.h>

#include <algorithm>
#include <span>
#include <sstream>

namespace weft::test {

using ::testing::HasSubstr;

namespace {
/// Tells builds of the program apart.
std::string build_of_program() {
    struct stat status {};
    ensure(::stat(weft_program().c_str(), &status) == 0, "the program is built");
    return cat(status.st_mtim.tv_sec, "-", status.st_mtim.tv_nsec);
}

std::string config_of(const fs::path& model) {
    const auto example = model / "example";
    return cat("[model]\npath = ", in_quotes(model.string()), "\n\n[input]\nimage = ", in_quotes((example / "person.png").string()),
               "\npose = ", in_quotes((example / "pose").string()), "\nframes = 9\n\n[video]\nwidth = 64\nheight = 64\n\n[sampling]\nsteps = 3\n\n",
               "[slices]\nlength = 6\noverlap = 2\n\n[device]\nkind = \"cpu\"\n\n[output]\nvideo = \"out.mkv\"\n");
}

fs::path made_model() {
    const fs::path folder = fs::path{WEFT_BINARY_DIR} / "app_test_model";
    fs::create_directories(folder);
    // Each test is a process of its own: the first one makes the model, under a lock.
    const FileDescriptor lock{::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666)};
    if (!lock || ::flock(lock.get(), LOCK_EX) != 0) fail("the tiny model's lock: " + errno_text(errno));
    const auto model = folder / build_of_program();
    const auto whole = model / "whole";  // made last
    if (fs::exists(whole)) return model;
    for (const auto& entry : fs::directory_iterator(folder))
        if (entry.is_directory()) fs::remove_all(entry.path());
    const auto ended = run({weft_program(), "make-model", "--tiny", model.string()}, folder);
    if (ended.code != 0) fail("weft make-model failed: " + ended.err);
    const auto run_folder = model / "run";
    fs::create_directory(run_folder);
    write_bytes(run_folder / "config.toml", config_of(model));
    const auto made = run({weft_program(), "generate", "config.toml"}, run_folder);
    if (made.code != 0) fail("weft generate failed: " + made.err);
    write_bytes(model / "hashes", hash(run_folder / "out.h5") + " " + hash(run_folder / "out.mkv"));
    write_bytes(whole, "");
    return model;
}
}  // namespace

const fs::path& tiny_model() {
    static const fs::path model = made_model();
    return model;
}

void copy_model(const fs::path& to) {
    link_files(tiny_model(), to);
}

void replace(const fs::path& path, std::string_view bytes) {
    fs::remove(path);
    write_bytes(path, bytes);
}

SmallJob::SmallJob() {
    write_bytes(folder_ / "config.toml", config_of(tiny_model()));
}

Ended SmallJob::weft(const Words& words, double timeout_s) const {
    Words all{weft_program()};
    all.insert(all.end(), words.begin(), words.end());
    return run(all, folder(), timeout_s);
}

Words SmallJob::command(const Words& sets, const Words& more) const {
    Words words{weft_program(), "generate", "config.toml"};
    for (const auto& one : sets) words.insert(words.end(), {"--set", one});
    words.insert(words.end(), more.begin(), more.end());
    return words;
}

Ended SmallJob::generate(const Words& sets, const Words& more) const {
    return run(command(sets, more), folder());
}

Program SmallJob::start(const Words& sets, const Words& more) const {
    return {command(sets, more), folder()};
}

std::map<std::string, std::string> SmallJob::files() const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::recursive_directory_iterator(folder()))
        if (entry.is_regular_file()) files[entry.path().lexically_relative(folder()).string()] = bytes_of(entry.path());
    return files;
}

void SmallJob::keep_files() {
    if (!fs::exists(folder_ / "out.mkv")) write_bytes(folder_ / "out.mkv", "a film of the user's");
    kept_ = files();
}

void SmallJob::expect_files_kept(const Words& except) const {
    auto now = files();
    for (const auto& name : except) now.erase(name);
    for (const auto& [name, content] : kept_) {
        if (std::find(except.begin(), except.end(), name) != except.end()) continue;
        EXPECT_TRUE(now.contains(name)) << name << " is gone";
        EXPECT_TRUE(!now.contains(name) || now.at(name) == content) << name << " has changed";
        now.erase(name);
    }
    for (const auto& [name, content] : now) ADD_FAILURE() << name << " was left behind";
}

void SmallJob::expect_refused(const Ended& ended, int code, const Words& texts) const {
    EXPECT_EQ(ended.code, code) << ::testing::PrintToString(ended);
    for (const auto& text : texts) EXPECT_THAT(ended.err, HasSubstr(text));
    EXPECT_THAT(ended.err, ::testing::StartsWith("error: "));
    for (const char* const crash : {"terminate called", "weft has a bug", "Sanitizer", "frame #0", "Exception raised from"})
        EXPECT_THAT(ended.err, ::testing::Not(HasSubstr(crash)));
    expect_files_kept({"out.status"});
}

std::string SmallJob::hash(const std::string& name) const {
    return test::hash(folder_ / name);
}

std::string hash(const fs::path& path) {
    if (path.extension() == ".h5") {
        const auto saved = io::RunFile::open_readonly(path).newest();
        EXPECT_TRUE(saved.has_value()) << path << " holds no step";
        return saved ? hex_digest(std::as_bytes(std::span(saved->latents))) : "none";
    }
    Digest digest;
    io::VideoReader reader(path);
    while (const auto frame = reader.next()) digest.add(std::as_bytes(std::span(frame->rgb)));
    return digest.hex();
}

void expect_done(const Ended& ended) {
    EXPECT_EQ(ended.code, 0) << ::testing::PrintToString(ended);
    EXPECT_EQ(ended.err, "");
}

const std::string& undisturbed_hashes() {
    static const std::string hashes = bytes_of(tiny_model() / "hashes");
    return hashes;
}

namespace {
const Words sets_for_peak{"input.pose=pose", "input.frames=0", "sampling.steps=1", "sampling.guidance=[1.0, 1.0]", "slices.length=12", "output.video=out.mp4"};

void add_poses(const SmallJob& job, int num_poses) {
    fs::create_directories(job / "pose");
    for (int frame = 0; frame < num_poses; ++frame)
        fs::create_symlink(tiny_model() / "example" / "pose" / cat("000", frame % 30 + 10, ".png"), job / "pose" / cat(frame + 10000, ".png"));
}
}  // namespace

double peak_megabytes(int num_poses) {
    const SmallJob job;
    add_poses(job, num_poses);
    Words words{"env", "MKL_DISABLE_FAST_MM=1"};
    const auto command = job.command(sets_for_peak);
    words.insert(words.end(), command.begin(), command.end());
    const auto ended = run(words, job.folder());
    expect_done(ended);
    return static_cast<double>(ended.peak_resident_bytes) / 1e6;
}

double peak_tensor_megabytes(int num_poses) {
    const SmallJob job;
    add_poses(job, num_poses);
    expect_done(job.generate(sets_for_peak, {"--events", "events.jsonl"}));
    return std::stod(json_lines(job / "events.jsonl").back().at("peak_bytes")) / 1e6;
}

std::map<std::string, std::string> json_of(const std::string& text) {
    std::map<std::string, std::string> values;
    const auto json = nlohmann::json::parse(text);
    for (const auto& [key, value] : json.items()) values[key] = value.is_string() ? value.get<std::string>() : value.dump();
    return values;
}

std::vector<std::map<std::string, std::string>> json_lines(const fs::path& path) {
    std::vector<std::map<std::string, std::string>> lines;
    std::istringstream in(bytes_of(path));
    for (std::string line; std::getline(in, line);) lines.push_back(json_of(line));
    return lines;
}

std::string status_of(const fs::path& path) {
    if (!fs::exists(path)) return "no status";
    const auto status = json_of(bytes_of(path));
    EXPECT_EQ(status.size(), 5U);
    return cat(status.at("code"), " ", status.at("phase"), " ", status.at("step"));
}

io::Picture park(int width, int height, int frame) {
    return io::test::drawing(width, height, frame);
}

}  // namespace weft::test

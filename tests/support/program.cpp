#include "support/program.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <ostream>
#include <thread>

namespace weft::test {

namespace {
using Clock = std::chrono::steady_clock;

/// Files rather than pipes: whatever a program says, nobody has to read it while it runs.
FileDescriptor scratch() {
    FileDescriptor file{::open(fs::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600)};
    if (!file) fail("no scratch file for a program's output: " + errno_text(errno));
    return file;
}

std::string content(const FileDescriptor& file) {
    std::string text(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
    const auto got = ::pread(file.get(), text.data(), text.size(), 0);
    ensure(got == static_cast<ssize_t>(text.size()), "a scratch file can be read");
    return text;
}
}  // namespace

struct Program::State {
    FileDescriptor out = scratch();
    FileDescriptor err = scratch();
    pid_t pid = -1;
    bool ended = false;
    int status = 0;
    rusage usage{};

    [[nodiscard]] bool poll() {
        if (!ended) ended = ::wait4(pid, &status, WNOHANG, &usage) == pid;
        return ended;
    }
    void kill() {
        if (ended || pid < 0) return;
        ::kill(pid, SIGKILL);
        while (::wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
        }
        ended = true;
    }
};

Program::Program(const std::vector<std::string>& arguments, const fs::path& folder) : state_{std::make_unique<State>()} {
    std::vector<char*> words;
    for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
    words.push_back(nullptr);
    auto& s = *state_;
    s.pid = ::fork();
    if (s.pid < 0) fail("fork failed: " + errno_text(errno));
    if (s.pid > 0) return;
    const int nothing = ::open("/dev/null", O_RDONLY);
    ::dup2(nothing, STDIN_FILENO);
    ::dup2(s.out.get(), STDOUT_FILENO);
    ::dup2(s.err.get(), STDERR_FILENO);
    if (::chdir(folder.c_str()) == 0) ::execvp(words.front(), words.data());
    ::_exit(127);
}

Program::Program(Program&&) noexcept = default;

Program::~Program() {
    if (state_) state_->kill();
}

void Program::send(int signal) const {
    if (!state_->ended) ::kill(state_->pid, signal);
}

std::int64_t Program::anonymous_bytes() const {
    std::ifstream in(fs::path("/proc") / std::to_string(state_->pid) / "status");
    for (std::string word; in >> word;)
        if (std::int64_t kilobytes = 0; word == "RssAnon:" && in >> kilobytes) return 1024 * kilobytes;
    return 0;
}

bool Program::ends_within(double seconds) {
    const auto until = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
    while (!state_->poll()) {
        if (Clock::now() >= until) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

Ended Program::wait(double timeout_s) {
    Ended result;
    result.timed_out = !ends_within(timeout_s);
    auto& s = *state_;
    s.kill();
    if (WIFEXITED(s.status)) result.code = WEXITSTATUS(s.status);
    if (WIFSIGNALED(s.status)) result.signal = WTERMSIG(s.status);
    result.out = content(s.out);
    result.err = content(s.err);
    result.peak_resident_bytes = std::int64_t{s.usage.ru_maxrss} * 1024;
    return result;
}

Ended run(const std::vector<std::string>& arguments, const fs::path& folder, double timeout_s) {
    return Program(arguments, folder).wait(timeout_s);
}

std::string weft_program() {
    return WEFT_PROGRAM;
}

void PrintTo(const Ended& ended, std::ostream* to) {
    *to << "exit code " << ended.code << ", signal " << ended.signal << (ended.timed_out ? ", timed out" : "") << "\n--- stdout\n"
        << ended.out << "--- stderr\n"
        << ended.err << "---";
}

}  // namespace weft::test

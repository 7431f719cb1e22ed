#pragma once
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

/// Runs programs as a user does: a command line in a folder, then what it said and how it ended.
namespace weft::test {

namespace fs = std::filesystem;

struct Ended {
    int code = -1;           ///< exit code; -1 where a signal ended it
    int signal = 0;          ///< that ended it
    bool timed_out = false;  ///< it was killed then
    std::string out;
    std::string err;
    std::int64_t peak_resident_bytes = 0;  ///< "maximum resident set size", as the system counts
};
void PrintTo(const Ended& ended, std::ostream* to);

/// A program that runs. It is killed when the object goes before it ended.
class Program {
  public:
    /// `arguments[0]` is found along PATH.
    Program(const std::vector<std::string>& arguments, const fs::path& folder);
    Program(Program&&) noexcept;
    ~Program();

    void send(int signal) const;

    /// RssAnon of the process now; 0 once it has ended.
    [[nodiscard]] std::int64_t anonymous_bytes() const;

    /// Waits at most `seconds`; true when it has ended.
    [[nodiscard]] bool ends_within(double seconds);

    /// Waits for the end, at most `timeout_s`; then it is killed.
    [[nodiscard]] Ended wait(double timeout_s = 60);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

[[nodiscard]] Ended run(const std::vector<std::string>& arguments, const fs::path& folder, double timeout_s = 60);

/// The program under test.
[[nodiscard]] std::string weft_program();

}  // namespace weft::test

#pragma once
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// What the process ends with; design.md section 7 and the README list them.
enum class ExitCode : int {
    done = 0,
    failure = 1,       ///< the system or a library failed, or weft has a bug
    user_mistake = 2,  ///< settings, command line or input files
    does_not_fit = 3,  ///< memory
    rank_failed = 4,   ///< a rank or a link failed
    stopped = 75,      ///< stopped on request (USR1, TERM) with the state saved; EX_TEMPFAIL, so that batch systems requeue
};

/// Every error weft throws on purpose. The text is meant for the user: who, what was intended, why, what to try.
class Error : public std::runtime_error {
  public:
    Error(ExitCode code, const std::string& text) : std::runtime_error{text}, code_{code} {}
    [[nodiscard]] ExitCode code() const noexcept { return code_; }

  private:
    ExitCode code_;
};

/// What a process ends with for `error`: its own code, 3 where memory ran out, else 1; and its text.
[[nodiscard]] ExitCode exit_code_of(const std::exception& error) noexcept;
[[nodiscard]] std::string text_of(const std::exception& error);

/// A library or the system failed: exit code 1. The place in weft's sources is added to the text.
[[noreturn]] void fail(const std::string& text, std::source_location at = std::source_location::current());

/// The user's mistake: exit code 2. Says what was given, what is allowed, what to try.
[[noreturn]] void refuse(const std::string& text);

/// Our own bug when `condition` does not hold.
void ensure(bool condition, std::string_view what, std::source_location at = std::source_location::current());

/// Text of errno value `number`, thread-safe.
[[nodiscard]] std::string errno_text(int number);

/// Gathers a user's mistakes, so that all are reported at once, before anything loads.
class Mistakes {
  public:
    void add(std::string text) { texts_.push_back(std::move(text)); }

    /// "video.width = 500: must be a multiple of 64; try 512"
    void add(std::string_view key, std::string_view value, std::string_view allowed, std::string_view advice = {});

    [[nodiscard]] bool empty() const noexcept { return texts_.empty(); }
    [[nodiscard]] const std::vector<std::string>& texts() const noexcept { return texts_; }

    /// Throws one Error (exit code 2) that lists all mistakes, if there are any.
    void throw_if_any(std::string_view about) const;

  private:
    std::vector<std::string> texts_;
};

}  // namespace weft

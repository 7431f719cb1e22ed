#pragma once
#include <string>
#include <string_view>

/// spdlog behind plain functions: its headers and libtorch's (another fmt) do not compile in one file.
namespace weft::log {

/// This process is one of several ranks, called `name`: it says only what goes wrong, with its name in front. Without a call all is said, without a name.
void speak_only_of_trouble(const std::string& name);

/// Standard output is no terminal though it looks like one: launchers give their ranks a pseudo terminal and write what comes to a file.
void never_rewrite_lines();

/// A line for the user, on standard output.
void info(std::string_view line);

/// Lines about something that went otherwise than wished, on standard error.
void warn(std::string_view line);
void error(std::string_view line);

/// Rewrites the last line of the terminal; does nothing where standard output is a file or a pipe. "" removes it.
void progress(std::string_view line);

/// Is standard output a terminal?
[[nodiscard]] bool on_terminal();

}  // namespace weft::log

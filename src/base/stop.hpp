#pragma once

/// A request from outside to save and end: USR1 (a batch system's early warning) or TERM.
namespace weft::stop {

/// From now on USR1 and TERM only set the request.
void watch_signals();

/// Has somebody asked for the end?
[[nodiscard]] bool requested() noexcept;

/// Throws the Error with exit code 75 if the end was asked for. Call where the state is saved.
void here_if_requested();

}  // namespace weft::stop

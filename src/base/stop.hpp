#pragma once

/// A request from outside to save and end: USR1 (a batch system's early warning) or TERM.
namespace weft::stop {

/// From now on USR1 and TERM only set the request.
void watch_signals();

/// The same request, from another rank's word; `signal_number` says which signal it was there.
void request(int signal_number) noexcept;

/// Which signal asked for the end; 0: none.
[[nodiscard]] int requested_by() noexcept;

/// Has somebody asked for the end?
[[nodiscard]] bool requested() noexcept;

/// Throws the Error with exit code 75 if the end was asked for. Call where the state is saved.
void here_if_requested();

}  // namespace weft::stop

#include "base/stop.hpp"

#include "base/error.hpp"

#include <atomic>
#include <csignal>

namespace weft::stop {

namespace {
std::atomic<int> asked{0};  // lock-free, so a handler may set it
void note(int signal_number) {
    asked = signal_number;
}
}  // namespace

void watch_signals() {
    struct sigaction action {};
    action.sa_handler = note;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGUSR1, &action, nullptr);
    sigaction(SIGTERM, &action, nullptr);
}

void request(int signal_number) noexcept {
    asked = signal_number;
}

int requested_by() noexcept {
    return asked;
}

bool requested() noexcept {
    return asked != 0;
}

void here_if_requested() {
    const int signal_number = asked;
    if (signal_number == 0) return;
    throw Error(ExitCode::stopped, signal_number == SIGUSR1 ? "stopped on signal USR1; the state is saved, the same command goes on from here"
                                                            : "stopped on signal TERM; the state is saved, the same command goes on from here");
}

}  // namespace weft::stop

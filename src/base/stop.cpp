#include "base/stop.hpp"

#include "base/error.hpp"

#include <csignal>

namespace weft::stop {

namespace {
volatile std::sig_atomic_t request = 0;
void note(int signal_number) {
    request = signal_number;
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

bool requested() noexcept {
    return request != 0;
}

void here_if_requested() {
    if (request == 0) return;
    throw Error(ExitCode::stopped, request == SIGUSR1 ? "stopped on signal USR1; the state is saved, the same command goes on from here"
                                                      : "stopped on signal TERM; the state is saved, the same command goes on from here");
}

}  // namespace weft::stop

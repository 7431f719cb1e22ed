// `weft`, but a rank fails where WEFT_FAULT says: "KIND RANK STEP", in front of the first task of that step (counted from 0) on that rank.
#include "app/generate.hpp"
#include "app/run.hpp"

#include <csignal>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

void fail_as(const std::string& kind) {
    if (kind == "kill") std::raise(SIGKILL);
    if (kind == "stop") std::raise(SIGSTOP);
    if (kind == "usr1") std::raise(SIGUSR1);
    if (kind == "stall") std::this_thread::sleep_for(std::chrono::hours(1));
    if (kind == "throw") throw std::runtime_error("a test makes this rank throw");
}

void add_faulty_generate(CLI::App& root, weft::app::Actions& actions) {
    weft::pipeline::JobOptions options;
    options.before_task = [](const weft::plan::Task& task) {
        static bool failed = false;
        const char* const fault = std::getenv("WEFT_FAULT");
        if (fault == nullptr || failed) return;
        std::string kind;
        int rank = -1;
        std::int64_t step = -1;
        std::istringstream(fault) >> kind >> rank >> step;
        if (task.rank != rank || task.pass.step != step) return;
        failed = true;
        fail_as(kind);
    };
    weft::app::add_generate_with(root, actions, options);
}

}  // namespace

int main(int argc, char** argv) {
    return weft::app::run_program(argc, argv, {add_faulty_generate});
}

// `weft`, but a rank fails where WEFT_FAULT says: "KIND RANK STEP", in front of the first task of that step (counted from 0) on that rank; what gives the
// rank no time to save ("kill", "stop", "throw"), once events.jsonl tells that a step is saved. Or its memory runs out: "once RANK N" refuses the N-th tensor,
// "large RANK N" from there on all of 16 KiB and more, "all RANK N" all; "count RANK FILE" writes how many tensors each phase makes.
#include "app/generate.hpp"
#include "app/run.hpp"
#include "device/meter.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

namespace {

/// What a rank has sent for a step that is not saved yet may go down with it. Ten seconds at most, then what is expected of the saved step tells.
void wait_for_a_saved_step() {
    using namespace std::chrono_literals;
    for (const auto until = std::chrono::steady_clock::now() + 10s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(5ms)) {
        std::ifstream in("events.jsonl");
        const std::string told{std::istreambuf_iterator<char>(in), {}};
        if (told.find("\"saved\":true") != std::string::npos) return;
    }
}

void fail_as(const std::string& kind) {
    if (kind == "kill") std::raise(SIGKILL);
    if (kind == "stop") std::raise(SIGSTOP);
    if (kind == "usr1") std::raise(SIGUSR1);
    if (kind == "stall") std::this_thread::sleep_for(std::chrono::hours(1));
    if (kind == "throw") throw std::runtime_error("a test makes this rank throw");
}

/// What WEFT_FAULT asks of memory, on the rank that this process is.
struct MemoryFault {
    std::string kind;
    std::int64_t point = 0;
    std::string file;
    std::atomic<std::int64_t> made{0};
} memory_fault;

bool refuses(std::int64_t bytes) {
    const auto number = ++memory_fault.made;
    if (memory_fault.kind == "count") {
        const auto phases = weft::meter::phases();
        std::ofstream(memory_fault.file, std::ios::app) << (phases.empty() ? "none" : phases.back().name) << " " << number << "\n";
        return false;
    }
    if (memory_fault.kind == "once") return number == memory_fault.point;
    return number >= memory_fault.point && (memory_fault.kind == "all" || bytes >= 16384);
}

void let_memory_run_out() {
    const char* const fault = std::getenv("WEFT_FAULT");
    const char* const launched = std::getenv("OMPI_COMM_WORLD_RANK");
    if (fault == nullptr) return;
    std::string kind, last;
    int rank = 0;
    std::istringstream(fault) >> kind >> rank >> last;
    if ((kind != "once" && kind != "large" && kind != "all" && kind != "count") || rank != (launched == nullptr ? 0 : std::atoi(launched))) return;
    memory_fault.kind = kind;
    memory_fault.file = last;
    memory_fault.point = std::atoll(last.c_str());
    weft::meter::refuse_where(refuses);
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
        if (step > 0 && (kind == "kill" || kind == "stop" || kind == "throw")) wait_for_a_saved_step();
        fail_as(kind);
    };
    weft::app::add_generate_with(root, actions, options);
}

}  // namespace

int main(int argc, char** argv) {
    let_memory_run_out();
    return weft::app::run_program(argc, argv, {add_faulty_generate});
}

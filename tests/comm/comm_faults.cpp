#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/transport.hpp"

#include <pthread.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

/// A small job over MPI that goes wrong on request, and the place where the transport is measured:
///   mpirun -n 3 comm_faults CASE [RANK]
/// The rank that tells the verdict writes it to standard error as "verdict by rank R: culprit: text".
namespace {

using namespace weft;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// Seconds of CPU that this process's communication thread has used.
double comm_thread_s() {
    for (const auto& task : std::filesystem::directory_iterator{"/proc/self/task"}) {
        std::ifstream name{task.path() / "comm"};
        std::string line;
        std::getline(name, line);
        if (line != "weft-comm") continue;
        std::ifstream file{task.path() / "schedstat"};
        double ns = 0;
        file >> ns;
        return ns * 1e-9;
    }
    return -1;
}

void compute(double seconds) {
    const auto begin = Clock::now();
    volatile double sink = 0;
    while (since(begin) < seconds)
        for (int i = 0; i < 10000; ++i) sink = sink + i;
}

/// Steps of a ring: compute a little, send to the right, receive from the left.
void ring(comm::Transport& transport, double seconds, const std::function<void(int step)>& on_step) {
    const int rank = transport.who().rank;
    const int size = transport.who().size;
    const auto begin = Clock::now();
    for (int step = 0; since(begin) < seconds; ++step) {
        transport.pulse().working(cat("pass of step ", step), 0.05);
        on_step(step);
        compute(0.05);
        transport.pulse().waiting(cat("frames of step ", step));
        const auto what = cat("step ", step, ": frames");
        const auto sent = transport.send((rank + 1) % size, {1, step}, comm::make_buffer(100000), what);
        transport.receive((rank + size - 1) % size, {1, step}, comm::make_buffer(100000), what).wait();
        sent.wait();
    }
}

void say(const std::string& line) {
    std::fputs((line + "\n").c_str(), stderr);
}

void measure_latency(comm::Transport& transport) {
    const int rank = transport.who().rank;
    for (const std::size_t bytes : {std::size_t{8}, std::size_t{100000}, std::size_t{16} << 20}) {
        constexpr int rounds = 200;
        const auto buffer = comm::make_buffer(bytes);
        transport.barrier();
        const auto begin = Clock::now();
        for (int i = 0; i < rounds && rank < 2; ++i) {
            if (rank == 0) transport.send(1, {1, i}, buffer, "ping").wait();
            if (rank == 1) transport.receive(0, {1, i}, buffer, "ping").wait();
            if (rank == 1) transport.send(0, {1, i}, buffer, "pong").wait();
            if (rank == 0) transport.receive(1, {1, i}, buffer, "pong").wait();
        }
        if (rank == 0) say(cat("round trip of ", human_bytes(static_cast<std::int64_t>(bytes)), ": ", fixed(1e6 * since(begin) / rounds, 0), " us"));
    }
}

void measure_idle(comm::Transport& transport, double seconds) {
    const auto line = [&](const std::string& when, double begin_s) {
        return cat("  ", when, ": ", fixed(100 * (comm_thread_s() - begin_s) / seconds, 2), " % of a core\n");
    };
    std::string mine;
    transport.barrier();
    double begin_s = comm_thread_s();
    std::this_thread::sleep_for(std::chrono::duration<double>{seconds});
    mine += line("nothing in flight", begin_s);
    const int size = transport.who().size;
    const int rank = transport.who().rank;
    if (size == 1) return say(mine);
    const auto late = transport.receive((rank + size - 1) % size, {1, 1}, comm::make_buffer(8), "late");
    begin_s = comm_thread_s();
    compute(seconds);
    mine += line("a receive in flight, computing", begin_s);
    const auto sent = transport.send((rank + 1) % size, {1, 1}, comm::make_buffer(8), "late");
    late.wait();
    sent.wait();
    transport.barrier();
    begin_s = comm_thread_s();
    if (rank == 0) {
        std::this_thread::sleep_for(std::chrono::duration<double>{seconds});
        for (int other = 1; other < size; ++other) transport.send(other, {1, 1}, comm::make_buffer(8), "late").wait();
    } else
        transport.receive(0, {1, 1}, comm::make_buffer(8), "late").wait();
    mine += line("rank 0 sleeps, others wait", begin_s);
    for (const auto& text : transport.gather(cat(transport.who().name(), "\n", mine))) say(text);
}

void send_gigabytes(comm::Transport& transport, std::size_t bytes) {
    if (transport.who().rank > 1) return;
    const auto buffer = comm::make_buffer(bytes);
    constexpr std::size_t stride = 4096;
    if (transport.who().rank == 0) {
        for (std::size_t i = 0; i < bytes; i += stride) buffer.bytes[i] = static_cast<std::byte>(i / stride * 7);
        buffer.bytes[bytes - 1] = std::byte{77};
        transport.send(1, {1, 1}, buffer, "gigabytes").wait();
    } else {
        transport.receive(0, {1, 1}, buffer, "gigabytes").wait();
        std::size_t wrong = 0;
        for (std::size_t i = 0; i + 1 < bytes; i += stride) wrong += buffer.bytes[i] != static_cast<std::byte>(i / stride * 7) ? 1U : 0U;
        wrong += buffer.bytes[bytes - 1] != std::byte{77} ? 1U : 0U;
        say(cat(bytes, " bytes came, ", wrong, " of them wrong"));
    }
}

int run(const std::string& fault, int culprit) {
    stop::watch_signals();
    comm::Watch watch;
    watch.stall_s = 2;
    watch.all_wait_s = 5;
    std::string reason;
    const auto transport = comm::open_transport(watch, reason);
    transport->set_on_verdict([rank = transport->who().rank](const comm::Verdict& verdict) {
        say(cat("verdict by rank ", rank, ", code ", static_cast<int>(verdict.code), ": ", verdict.culprit, ": ", verdict.text));
    });
    if (transport->speaks()) say(reason);
    const bool me = transport->who().rank == culprit;
    try {
        if (fault == "latency")
            measure_latency(*transport);
        else if (fault == "idle")
            measure_idle(*transport, 10);
        else if (fault == "gigabytes")
            send_gigabytes(*transport, (std::size_t{2} << 30) + 12345);
        else
            ring(*transport, fault == "none" ? 2 : 60, [&](int step) {
                if (step != 10 || !me) return;
                if (fault == "kill") ::raise(SIGKILL);
                if (fault == "freeze") ::raise(SIGSTOP);
                if (fault == "exit") std::_Exit(3);
                if (fault == "throw") throw Error(ExitCode::does_not_fit, "out of memory in a pass");
                if (fault == "stall") std::this_thread::sleep_for(std::chrono::seconds{60});
                if (fault == "stop") ::raise(SIGUSR1);
                if (fault == "deserter") std::_Exit(transport->leave(0));
                if (fault == "tag") transport->send((culprit + 1) % transport->who().size, {2, step}, comm::make_buffer(100000), "a wrong kind").wait();
                if (fault == "vanish") throw 1;  // past everyone
            });
        return transport->leave(0);
    } catch (const Error& error) {
        if (error.code() == ExitCode::stopped) {
            const int code = transport->leave(static_cast<int>(error.code()));  // does not return when mpirun sends TERM because a rank has died
            if (transport->speaks()) say(error.what());
            return code;
        }
        transport->fail(error.code(), error.what());
        return static_cast<int>(error.code());
    }
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(argc > 1 ? argv[1] : "none", argc > 2 ? std::atoi(argv[2]) : 1);
    } catch (const Error& error) {
        say(error.what());
        return static_cast<int>(error.code());
    } catch (int) {
        return 1;
    }
}

#include "base/error.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "comm/nccl_calls.hpp"
#include "comm/transport.hpp"
#include "support/fake_nccl.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <iostream>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <thread>
#include <vector>

/// NCCL on a machine's GPUs, through the code that the pipeline uses: ranks as threads, a GPU each. Several ranks share a GPU where NCCL allows it (2.30 and
/// NCCL_MULTI_RANK_GPU_ENABLE=1); a lone one makes its communicator, sends to itself and closes. The last line begins with "NCCL check: ".
///   nccl_check [--ranks N] [--megabytes M] [--stand-in]      --stand-in: host memory and the tests' stand-in for NCCL, without a GPU
namespace {

using namespace weft;

void check(cudaError_t code, std::string_view doing, std::source_location at = std::source_location::current()) {
    if (code != cudaSuccess) fail(cat("CUDA failed while ", doing, ": ", cudaGetErrorString(code)), at);
}

/// One rank's memory and stream.
class Memory {
  public:
    virtual ~Memory() = default;
    /// Rooms taken so far are no longer needed.
    virtual void begin() {}
    [[nodiscard]] virtual comm::Buffer room(std::size_t bytes) = 0;
    /// With a fence behind the copy.
    [[nodiscard]] virtual comm::Buffer upload(const std::vector<std::byte>& bytes) = 0;
    [[nodiscard]] virtual std::vector<std::byte> download(const comm::Buffer& buffer) = 0;
    /// Of the GPU, by all processes.
    [[nodiscard]] virtual std::int64_t bytes_in_use() const { return 0; }
};

class HostMemory final : public Memory {
  public:
    comm::Buffer room(std::size_t bytes) override { return test::on_device(comm::make_buffer(bytes)); }
    comm::Buffer upload(const std::vector<std::byte>& bytes) override {
        auto buffer = room(bytes.size());
        std::memcpy(buffer.bytes.data(), bytes.data(), bytes.size());
        return buffer;
    }
    std::vector<std::byte> download(const comm::Buffer& buffer) override { return {buffer.bytes.begin(), buffer.bytes.end()}; }
};

class GpuMemory final : public Memory {
  public:
    /// Takes all of its memory at once: taking and freeing waits for kernels of other ranks on the GPU, and those may wait for this rank.
    GpuMemory(int device, std::size_t bytes) {
        check(cudaSetDevice(device), "choosing the GPU");
        check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "making a stream");
        void* raw = nullptr;
        check(cudaMalloc(&raw, bytes), "taking memory");
        all_ = {static_cast<std::byte*>(raw), bytes};
    }
    GpuMemory(const GpuMemory&) = delete;
    GpuMemory& operator=(const GpuMemory&) = delete;
    ~GpuMemory() override {
        cudaFree(all_.data());
        cudaStreamDestroy(stream_);
    }

    void begin() override { used_ = 0; }
    comm::Buffer room(std::size_t bytes) override {
        const auto rounded = (std::max<std::size_t>(bytes, 1) + 255) / 256 * 256;
        if (used_ + rounded > all_.size()) fail("a round takes more memory than was foreseen");
        comm::Buffer buffer;
        buffer.bytes = all_.subspan(used_, bytes);
        buffer.memory = comm::Buffer::Memory::device;
        used_ += rounded;
        return buffer;
    }
    comm::Buffer upload(const std::vector<std::byte>& bytes) override {
        auto buffer = room(bytes.size());
        check(cudaMemcpyAsync(buffer.bytes.data(), bytes.data(), bytes.size(), cudaMemcpyHostToDevice, stream_), "copying to the GPU");
        cudaEvent_t event = nullptr;
        check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "making an event");
        buffer.fence = {event, [](void* raw) { cudaEventDestroy(static_cast<cudaEvent_t>(raw)); }};
        check(cudaEventRecord(event, stream_), "marking the stream");
        return buffer;
    }
    std::int64_t bytes_in_use() const override {
        std::size_t free = 0, total = 0;
        check(cudaMemGetInfo(&free, &total), "asking for the free memory");
        return static_cast<std::int64_t>(total - free);
    }
    std::vector<std::byte> download(const comm::Buffer& buffer) override {
        std::vector<std::byte> bytes(buffer.bytes.size());
        check(cudaMemcpyAsync(bytes.data(), buffer.bytes.data(), bytes.size(), cudaMemcpyDeviceToHost, stream_), "copying from the GPU");
        check(cudaStreamSynchronize(stream_), "copying from the GPU");
        return bytes;
    }

  private:
    cudaStream_t stream_ = nullptr;
    std::span<std::byte> all_;
    std::size_t used_ = 0;
};

std::vector<std::byte> stamped(std::size_t bytes, int stamp) {
    std::vector<std::byte> all(bytes);
    for (std::size_t i = 0; i < bytes; ++i) all[i] = static_cast<std::byte>(i * 31 + i / 251 + static_cast<std::size_t>(stamp) * 17);
    return all;
}

constexpr int timed_repeats = 4;

struct Options {
    int ranks = 0;
    std::size_t bytes = std::size_t{64} << 20;
    bool stand_in = false;
};

struct Found {
    std::string reason;
    double open_s = 0;
    double close_s = 0;
    double gb_per_s = 0;         ///< one direction of one rank
    std::int64_t gpu_bytes = 0;  ///< that NCCL took of this rank's GPU, for all ranks on it
    std::int64_t messages = 0;
};

/// All messages of a round, in order: from each rank to its right, and back. A rank's turns follow from it.
class Rounds {
  public:
    Rounds(comm::Transport& transport, Memory& memory) : transport_{transport}, memory_{memory} {}

    /// The first message of each pair of ranks, one pair after the other. Ranks that are threads share a CUDA context, and what NCCL allocates for a new
    /// connection waits there for the kernels of all ranks, some of which may wait for the rank that connects.
    void connect() {
        for (int left = 0; left < transport_.who().size; ++left) run(1, 1, true, left);
    }

    /// Seconds from the first post to the last end. `only`: of a lone pair, the rank on the left.
    double run(std::size_t bytes, int repeats, bool compare, std::optional<int> only = std::nullopt) {
        const int rank = transport_.who().rank;
        const int size = transport_.who().size;
        transport_.barrier();
        memory_.begin();
        std::vector<comm::Future> futures;
        std::vector<std::pair<comm::Buffer, int>> came;
        std::vector<comm::Transfer> group;
        const auto mine = memory_.upload(stamped(bytes, rank));
        for (int repeat = 0; repeat < repeats; ++repeat)
            for (int left = 0; left < size; ++left)
                for (const bool back : {false, true}) {
                    const int right = (left + 1) % size;
                    const int from = back ? right : left;
                    const int to = back ? left : right;
                    if ((only && left != *only) || (from != rank && to != rank)) continue;
                    comm::Transfer transfer;
                    transfer.direction = from == rank ? comm::Transfer::Direction::send : comm::Transfer::Direction::receive;
                    transfer.peer = from == rank ? to : from;
                    transfer.tag = {1, left};
                    transfer.what = cat(bytes, " bytes from rank ", from, " to rank ", to);
                    transfer.turn = turn_++;
                    transfer.buffer = mine;
                    if (to == rank) {
                        transfer.buffer = memory_.room(bytes);
                        came.emplace_back(transfer.buffer, from);
                    }
                    group.push_back(std::move(transfer));
                }
        const auto count = group.size();
        transport_.barrier();
        const Stopwatch watch;
        futures = transport_.post(std::move(group));
        for (const auto& future : futures) future.wait();
        const double seconds = watch.seconds();
        if (compare)
            for (const auto& [room, from] : came)
                if (memory_.download(room) != stamped(bytes, from))
                    fail(cat("rank ", rank, " got other bytes from rank ", from, " than it sent, ", bytes, " of them"));
        messages += static_cast<std::int64_t>(count);
        return seconds;
    }
    std::int64_t messages = 0;

  private:
    comm::Transport& transport_;
    Memory& memory_;
    std::int64_t turn_ = 0;
};

void wait_until_through(comm::NcclCalls& calls) {
    for (auto code = comm::NcclCalls::in_progress; code == comm::NcclCalls::in_progress;) {
        const auto asked = calls.state(code);
        if (asked != comm::NcclCalls::success || (code != comm::NcclCalls::success && code != comm::NcclCalls::in_progress))
            fail(cat("NCCL failed: ", calls.error_text(code), "; ", calls.last_error()));
    }
}

/// What a lone rank can do: send to itself.
double send_to_itself(comm::NcclCalls& calls, Memory& memory, std::size_t bytes) {
    memory.begin();
    const auto text = stamped(bytes, 3);
    const auto from = memory.upload(text);
    const auto into = memory.room(bytes);
    while (from.fence && !calls.passed(from.fence.get())) std::this_thread::yield();
    double seconds = 0;
    for (int repeat = 0; repeat < 3; ++repeat) {  // the first one connects
        const Stopwatch watch;
        const bool good = calls.group_start() == 0 && calls.send(from.bytes, 0) == 0 && calls.receive(into.bytes, 0) == 0;
        const auto code = calls.group_end();
        if (!good || (code != comm::NcclCalls::success && code != comm::NcclCalls::in_progress)) fail(cat("NCCL failed in a group: ", calls.last_error()));
        wait_until_through(calls);
        const auto end = calls.mark();
        while (!calls.passed(end.get())) std::this_thread::yield();
        seconds = watch.seconds();
    }
    if (memory.download(into) != text) fail("a rank got other bytes from itself than it sent");
    return seconds;
}

Found run_rank(comm::Transport& transport, const comm::DeviceOffer& offer, Memory& memory, const Options& options) {
    Found found;
    transport.barrier();
    const auto before = memory.bytes_in_use();
    transport.barrier();
    const Stopwatch opening;
    found.reason = transport.use_device_transfers(offer, comm::DeviceWish::required).reason;
    found.open_s = opening.seconds();
    if (transport.who().size > 1) {
        Rounds rounds{transport, memory};
        rounds.connect();
        for (const std::size_t bytes : {1, 7, 0, 4096, 1048579}) rounds.run(bytes, 3, true);
        rounds.run(options.bytes, 1, true);
        const double seconds = rounds.run(options.bytes, timed_repeats, false);
        found.gb_per_s = 2.0 * timed_repeats * static_cast<double>(options.bytes) / seconds / 1e9;
        found.messages = rounds.messages;
    } else if (!options.stand_in) {  // which knows no rank that sends to itself
        found.gb_per_s = static_cast<double>(options.bytes) / send_to_itself(*offer.calls, memory, options.bytes) / 1e9;
        found.messages = 1;
    }
    transport.barrier();
    found.gpu_bytes = memory.bytes_in_use() - before;
    transport.barrier();
    const Stopwatch closing;
    transport.leave(0);
    found.close_s = closing.seconds();
    return found;
}

int run(const Options& options) {
    int gpus = 0;
    if (!options.stand_in) check(cudaGetDeviceCount(&gpus), "looking for GPUs");
    int ranks = options.ranks;
    if (ranks == 0) ranks = options.stand_in ? 3 : std::max(gpus, comm::offer_device(0).may_share ? 2 : 1);
    test::FakeNccl stand_in{ranks};
    comm::ThreadsHub hub{std::vector<std::string>(static_cast<std::size_t>(ranks), comm::this_host())};
    std::vector<Found> found(static_cast<std::size_t>(ranks));
    std::mutex mutex;
    std::string errors;
    std::vector<std::thread> threads;
    threads.reserve(found.size());
    for (int rank = 0; rank < ranks; ++rank)
        threads.emplace_back([&, rank] {
            comm::Transport transport{[&] { return hub.link(rank); }, comm::Watch{}};
            try {
                std::unique_ptr<Memory> memory;
                if (options.stand_in)
                    memory = std::make_unique<HostMemory>();
                else
                    memory = std::make_unique<GpuMemory>(rank % gpus, (2 * timed_repeats + 1) * std::max(options.bytes, std::size_t{2} << 20));
                const auto offer = options.stand_in ? stand_in.offer(rank) : comm::offer_device(rank % gpus);
                found[static_cast<std::size_t>(rank)] = run_rank(transport, offer, *memory, options);
            } catch (const std::exception& error) {
                {
                    const std::lock_guard lock{mutex};
                    errors += cat("rank ", rank, ": ", error.what(), "\n");
                }
                transport.fail(exit_code_of(error), error.what());
            }
        });
    for (auto& thread : threads) thread.join();
    if (!errors.empty()) {
        std::cout << errors << "NCCL check: FAILED" << std::endl;
        return 1;
    }
    if (const auto misuse = stand_in.misuse(); !misuse.empty()) {
        std::cout << misuse << "NCCL check: FAILED" << std::endl;
        return 1;
    }
    const auto& first = found.front();
    std::cout << "NCCL check: " << (options.stand_in ? "stand-in for " : "") << first.reason << ": opened in " << fixed(first.open_s, 2) << " s, "
              << first.messages << " messages of rank 0 right, " << fixed(first.gb_per_s, 1) << " GB/s, closed in " << fixed(first.close_s, 2) << " s; "
              << fixed(static_cast<double>(first.gpu_bytes) / 1e6, 0) << " MB of the GPU" << std::endl;
    return 0;
}

template <class Number>
Number number(std::string_view text) {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || value < 1) refuse(cat(text, ": a number above 0 is wanted"));
    return value;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        Options options;
        for (int at = 1; at < argc; ++at) {
            const std::string_view word{argv[at]};
            if (word == "--stand-in")
                options.stand_in = true;
            else if (word == "--ranks" && at + 1 < argc)
                options.ranks = number<int>(argv[++at]);
            else if (word == "--megabytes" && at + 1 < argc)
                options.bytes = number<std::size_t>(argv[++at]) << 20;
            else
                refuse(cat("unknown argument ", word, "; nccl_check [--ranks N] [--megabytes M] [--stand-in]"));
        }
        return run(options);
    } catch (const Error& error) {
        std::cout << "NCCL check: " << error.what() << std::endl;
        return static_cast<int>(error.code());
    }
}

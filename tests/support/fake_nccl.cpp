#include "support/fake_nccl.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <random>
#include <sstream>
#include <thread>
#include <variant>
#include <vector>

namespace weft::test {

namespace {

using comm::NcclCalls;
using Clock = std::chrono::steady_clock;

constexpr NcclCalls::Code system_error = 2;
constexpr NcclCalls::Code invalid_usage = 5;

struct Event {
    std::atomic<bool> passed{false};
};

struct Operation {
    bool sends = false;
    int from = 0;
    int to = 0;
    std::span<const std::byte> out;
    std::span<std::byte> in;
    bool done = false;
};

using Operations = std::vector<std::shared_ptr<Operation>>;
using Queued = std::variant<Operations, std::shared_ptr<Event>>;

Clock::time_point in_seconds(double seconds) {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>{seconds});
}

}  // namespace

/// All under one lock.
struct FakeNccl::World {
    struct Rank {
        bool made = false;  // init was called
        bool aborted = false;
        bool finalizing = false;
        std::deque<Queued> stream;
        int groups = 0;
        NcclCalls::Code broken = NcclCalls::success;
    };

    World(int num_ranks, Settings wishes) : settings{std::move(wishes)}, ranks(static_cast<std::size_t>(num_ranks)), random{settings.seed} {}

    [[nodiscard]] Rank& rank(int number) { return ranks.at(static_cast<std::size_t>(number)); }
    [[nodiscard]] double some_time() { return std::uniform_real_distribution<>{0, settings.slow_s}(random); }
    void note(const std::string& text) { misuse += text + "\n"; }

    /// Moves what can move now that `one` runs.
    void match(const std::shared_ptr<Operation>& one) {
        running.push_back(one);
        const auto first = [&](bool sends) {
            return std::find_if(running.begin(), running.end(),
                                [&](const auto& other) { return other->sends == sends && other->from == one->from && other->to == one->to; });
        };
        const auto send = first(true);
        const auto receive = first(false);
        if (send == running.end() || receive == running.end()) return;
        if ((*send)->out.size() != (*receive)->in.size()) {
            note(cat("rank ", one->from, " sends ", (*send)->out.size(), " bytes where rank ", one->to, " expects ", (*receive)->in.size()));
            rank(one->from).broken = rank(one->to).broken = invalid_usage;
            return;
        }
        if (!(*send)->out.empty()) std::memcpy((*receive)->in.data(), (*send)->out.data(), (*send)->out.size());
        (*send)->done = (*receive)->done = true;
        running.erase(send);
        running.remove(*receive);
        changed.notify_all();
    }

    const Settings settings;
    mutable std::mutex mutex;  // of what follows
    std::condition_variable changed;
    std::vector<Rank> ranks;
    std::list<std::shared_ptr<Operation>> running;  // not matched yet, in the order in which they began
    std::mt19937_64 random;
    std::string misuse;
    Counts counts;
};

namespace {

class Calls final : public NcclCalls {
  public:
    Calls(std::shared_ptr<FakeNccl::World> world, int rank) : world_{std::move(world)}, rank_{rank} {}
    Calls(const Calls&) = delete;
    Calls& operator=(const Calls&) = delete;
    ~Calls() override {
        end_stream();
        const std::lock_guard lock{world_->mutex};
        if (alive_) world_->note(cat("rank ", rank_, " forgets its communicator"));
    }

    std::string error_text(Code code) const override { return code == system_error ? "unhandled system error" : cat("error ", code); }
    std::string last_error() const override { return cat("the stand-in of rank ", rank_, " was told to fail"); }
    int version() const override { return world_->settings.version; }

    Code unique_id(Id& id) override {
        id.fill(std::byte{0xa5});
        return success;
    }

    Code init(const Id& id, int rank, int size) override {
        const std::lock_guard lock{world_->mutex};
        if (rank != rank_ || size != static_cast<int>(world_->ranks.size()) || id.front() != std::byte{0xa5} || id.back() != std::byte{0xa5})
            world_->note(cat("rank ", rank_, " starts with another's id, rank or size"));
        mine().made = true;
        alive_ = true;
        ++world_->counts.alive;
        begin_progress();
        making_ = true;
        thread_ = std::thread{[this] { run_stream(); }};
        return in_progress;
    }

    Code state(Code& of_communicator) const override {
        const std::lock_guard lock{world_->mutex};
        of_communicator = state_now();
        return success;
    }

    Code group_start() override {
        const std::lock_guard lock{world_->mutex};
        free_to_call("group_start");
        if (group_) world_->note(cat("rank ", rank_, " opens a group in a group"));
        group_.emplace();
        return success;
    }

    Code send(std::span<const std::byte> bytes, int to) override {
        const std::lock_guard lock{world_->mutex};
        if (rank_ == world_->settings.send_fails_at) return system_error;
        add(std::make_shared<Operation>(Operation{true, rank_, to, bytes, {}}), to);
        return success;
    }
    Code receive(std::span<std::byte> bytes, int from) override {
        const std::lock_guard lock{world_->mutex};
        add(std::make_shared<Operation>(Operation{false, from, rank_, {}, bytes}), from);
        return success;
    }

    Code group_end() override {
        const std::lock_guard lock{world_->mutex};
        if (!group_) {
            world_->note(cat("rank ", rank_, " ends a group that it did not open"));
            return invalid_usage;
        }
        auto& counts = world_->counts;
        ++counts.groups;
        counts.operations += static_cast<int>(group_->size());
        counts.largest_group = std::max(counts.largest_group, static_cast<int>(group_->size()));
        ++mine().groups;
        launching_ = std::move(*group_);
        group_.reset();
        begin_progress();
        return in_progress;
    }

    Code finalize() override {
        const std::lock_guard lock{world_->mutex};
        free_to_call("finalize");
        mine().finalizing = true;
        begin_progress();
        return in_progress;
    }

    Code destroy() override {
        {
            const std::lock_guard lock{world_->mutex};
            if (!mine().finalizing || state_now() != success) world_->note(cat("rank ", rank_, " destroys a communicator that is not finalized"));
            ++world_->counts.destroyed;
            forget();
        }
        end_stream();
        return success;
    }

    void abort() override {
        if (rank_ == world_->settings.abort_hangs_at) std::this_thread::sleep_for(std::chrono::seconds{3});
        {
            const std::lock_guard lock{world_->mutex};
            mine().aborted = true;
            if (alive_) ++world_->counts.aborted;
            forget();
            world_->changed.notify_all();
        }
        end_stream();
    }

    std::shared_ptr<void> mark() override {
        const std::lock_guard lock{world_->mutex};
        free_to_call("mark");
        auto event = std::make_shared<Event>();
        mine().stream.emplace_back(event);
        world_->changed.notify_all();
        return event;
    }

    bool passed(void* event) const override { return static_cast<const Event*>(event)->passed; }

  private:
    [[nodiscard]] FakeNccl::World::Rank& mine() const { return world_->rank(rank_); }

    void begin_progress() { in_progress_until_ = in_seconds(world_->some_time()); }

    void free_to_call(const char* call) const {
        if (!alive_) world_->note(cat("rank ", rank_, " calls ", call, " without a communicator"));
        if (state_now() == in_progress) world_->note(cat("rank ", rank_, " calls ", call, " while its communicator is in progress"));
    }

    void add(std::shared_ptr<Operation> operation, int peer) {
        if (!group_) {
            world_->note(cat("rank ", rank_, " sends or receives outside a group"));
            return;
        }
        if (peer < 0 || peer >= static_cast<int>(world_->ranks.size()) || peer == rank_) world_->note(cat("rank ", rank_, " and rank ", peer));
        for (const auto& other : *group_)
            if (other->sends == operation->sends && other->from == operation->from && other->to == operation->to)
                world_->note(cat("rank ", rank_, " has two operations in a group with the same peer and direction"));
        group_->push_back(std::move(operation));
    }

    /// Also moves on what waits for the end of `in_progress`, as NCCL's own thread does.
    Code state_now() const {
        auto& me = mine();
        const auto& settings = world_->settings;
        if (me.broken != success) return me.broken;
        if (making_) {
            if (settings.init_fails_at == rank_ && Clock::now() > in_progress_until_) return system_error;
            for (std::size_t rank = 0; rank < world_->ranks.size(); ++rank)
                if (!world_->ranks[rank].made || world_->ranks[rank].aborted || settings.init_fails_at == static_cast<int>(rank)) return in_progress;
        }
        if (Clock::now() < in_progress_until_) return in_progress;
        making_ = false;
        if (settings.breaks_at == rank_ && me.groups > settings.breaks_after) return me.broken = system_error;
        if (launching_) {
            me.stream.emplace_back(std::move(*launching_));
            launching_.reset();
            world_->changed.notify_all();
        }
        if (me.finalizing) {
            for (const auto& rank : world_->ranks)
                if (!rank.finalizing || !rank.stream.empty()) return in_progress;
        }
        return success;
    }

    void forget() {
        if (alive_) --world_->counts.alive;
        alive_ = false;
        quit_ = true;
        world_->changed.notify_all();
    }

    void end_stream() {
        {
            const std::lock_guard lock{world_->mutex};
            quit_ = true;
            world_->changed.notify_all();
        }
        if (thread_.joinable()) thread_.join();
    }

    void run_stream() {
        std::unique_lock lock{world_->mutex};
        while (true) {
            world_->changed.wait(lock, [this] { return quit_ || !mine().stream.empty(); });
            if (quit_) break;
            const auto queued = mine().stream.front();
            if (const auto* event = std::get_if<std::shared_ptr<Event>>(&queued)) {
                (*event)->passed = true;
            } else {
                const auto& operations = std::get<Operations>(queued);
                for (const auto& one : operations) {
                    pause(lock);
                    world_->match(one);
                }
                world_->changed.wait(lock,
                                     [&] { return quit_ || std::all_of(operations.begin(), operations.end(), [](const auto& one) { return one->done; }); });
                if (quit_) {
                    for (const auto& one : operations) world_->running.remove(one);
                    break;
                }
                pause(lock);
            }
            mine().stream.pop_front();
            world_->changed.notify_all();
        }
    }

    void pause(std::unique_lock<std::mutex>& lock) const {
        const auto until = in_seconds(world_->some_time());
        world_->changed.wait_until(lock, until, [&] { return quit_ || Clock::now() >= until; });
    }

    std::shared_ptr<FakeNccl::World> world_;
    int rank_;
    // Under the world's mutex.
    bool alive_ = false;
    bool quit_ = false;
    mutable bool making_ = false;
    Clock::time_point in_progress_until_;
    std::optional<Operations> group_;              // open
    mutable std::optional<Operations> launching_;  // ended, not on the stream yet
    std::thread thread_;
};

}  // namespace

FakeNccl::FakeNccl(int num_ranks, Settings settings) : world_{std::make_shared<World>(num_ranks, std::move(settings))} {}
FakeNccl::~FakeNccl() = default;

std::shared_ptr<NcclCalls> FakeNccl::calls(int rank) {
    return std::make_shared<Calls>(world_, rank);
}

comm::DeviceOffer FakeNccl::offer(int rank) {
    std::istringstream without{world_->settings.no_device_at};
    for (int one = 0; without >> one;)
        if (one == rank) return comm::offer_no_device("no GPU: the driver shows none");
    comm::DeviceOffer offer;
    offer.gpu = world_->settings.gpu.empty() ? cat("0000:0", rank, ":00.0") : world_->settings.gpu;
    offer.may_share = world_->settings.may_share;
    offer.calls = calls(rank);
    return offer;
}

std::string FakeNccl::misuse() const {
    const std::lock_guard lock{world_->mutex};
    return world_->misuse;
}

FakeNccl::Counts FakeNccl::counts() const {
    const std::lock_guard lock{world_->mutex};
    return world_->counts;
}

FakeFence::FakeFence() : event_{std::make_shared<Event>()} {}
void FakeFence::pass() {
    static_cast<Event*>(event_.get())->passed = true;
}
std::shared_ptr<void> FakeFence::event() const {
    return event_;
}

comm::Buffer on_device(comm::Buffer buffer, const FakeFence* fence) {
    buffer.memory = comm::Buffer::Memory::device;
    if (fence != nullptr) buffer.fence = fence->event();
    return buffer;
}

}  // namespace weft::test

#pragma once
#include "comm/device_transfers.hpp"
#include "comm/office.hpp"
#include "comm/pulse.hpp"
#include "comm/watchman.hpp"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>

/// The communication thread. Internal to comm.
namespace weft::comm {

class NcclLink;

/// Runs the communication thread: it makes the link, calls it, and destroys it. The other calls are for other threads, and are quick unless said otherwise.
class Courier {
  public:
    Courier(const std::function<std::unique_ptr<Link>()>& make_link, Watch watch);
    ~Courier();
    Courier(const Courier&) = delete;
    Courier& operator=(const Courier&) = delete;

    std::vector<Future> post(std::vector<Transfer> group);
    DeviceTransfers use_device_transfers(const DeviceOffer& mine);  ///< returns when all ranks have agreed
    [[nodiscard]] bool carries_device() const;
    void fail(ExitCode code, const std::string& text);     ///< returns when the job is over
    int leave(int code, std::function<void()> last_word);  ///< returns when all have left, or the job is over
    [[nodiscard]] Traffic traffic() const;
    void set_stall_s(double seconds);
    void set_on_verdict(std::function<void(const Verdict&)> on_verdict);

    [[nodiscard]] const Identity& who() const { return all_[static_cast<std::size_t>(rank_)]; }
    [[nodiscard]] const std::vector<Identity>& everyone() const { return all_; }
    Pulse pulse;

  private:
    using Clock = std::chrono::steady_clock;
    struct Entry {
        Transfer transfer;
        std::shared_ptr<Future::State> future;
        double posted_s = 0;
    };
    /// A verdict that somebody else ought to carry out until then.
    struct Due {
        Verdict verdict;
        double until_s = 0;
    };

    /// What `use_device_transfers` waits for.
    struct Opening {
        DeviceOffer offer;
        DeviceTransfers result;
        std::shared_ptr<Future::State> future;
    };

    void check_device_use(const Transfer& transfer);
    void run(const std::function<std::unique_ptr<Link>()>& make_link);
    void turn(double now_s);
    void open_device_transfers();
    void take_posts(double now_s);
    void start_what_may(double now_s);
    void finish(double now_s);
    void look_at_deadlines(double now_s);
    void read_letters(double now_s);
    void spread_stop();
    void watch();
    void end_job(double now_s);
    void leave_in_order();
    void report(Verdict verdict, double now_s);
    void decide(const Verdict& verdict);
    void call_off(Verdict verdict);
    void close_link(int code);
    void drop_all(const std::string& why);
    void tell_all(const std::string& letter);
    [[nodiscard]] std::chrono::microseconds pause(double now_s, int waiting) const;
    [[nodiscard]] double now() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }
    [[nodiscard]] int num_ranks() const { return static_cast<int>(all_.size()); }

    const Clock::time_point begin_ = Clock::now();
    const std::shared_ptr<Office> office_ = std::make_shared<Office>();

    // Written before the constructor returns.
    std::vector<Identity> all_;
    int rank_ = 0;
    std::exception_ptr no_start_;

    // Under the office's mutex.
    bool started_ = false;
    bool quit_ = false;
    std::deque<Entry> posts_;
    std::optional<Verdict> failing_;
    std::optional<int> leaving_;
    std::function<void()> last_word_;
    std::optional<int> left_;
    Traffic traffic_;
    Watch watch_;
    std::shared_ptr<Opening> opening_;  // stays when it is done
    std::int64_t first_open_turn_ = 0;  // all before it were posted
    std::set<std::int64_t> turns_;      // posted, beyond it

    // The communication thread's own.
    std::unique_ptr<Link> link_;
    NcclLink* device_ = nullptr;         // link_, once that carries device buffers or is to
    std::vector<Letter> early_letters_;  // about devices, from ranks that asked before this one
    std::optional<Watchman> watchman_;
    std::unordered_map<int, std::deque<Entry>> held_sends_;  // by peer: not ready yet, or behind one that is not
    std::unordered_map<Link::Ticket, Entry> in_flight_;
    std::vector<Link::Ended> ended_;
    std::uint64_t moved_ = 0;
    int deadlines_ = 0;  // transfers not ended that have one
    double moved_s_ = 0;
    double watch_s_ = 0;  // when to look next
    double beat_s_ = -1e9;
    bool stop_told_ = false;
    bool leave_told_ = false;
    std::vector<bool> has_left_;   // rank 0: who said so
    std::optional<int> all_left_;  // rank 0's exit code
    std::optional<Due> reported_;
    std::optional<Due> sentence_;
    bool closed_ = false;
    bool broken_ = false;

    std::thread thread_;
};

}  // namespace weft::comm

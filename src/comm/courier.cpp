#include "comm/courier.hpp"

#include "base/log.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/nccl_link.hpp"

#include <nlohmann/json.hpp>

#include <pthread.h>
#include <unistd.h>

#include <algorithm>

namespace weft::comm {

namespace {

using Json = nlohmann::json;

std::string letter(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);  // texts may hold file names in any encoding
}

Json to_json(const Verdict& verdict) {
    return {{"code", static_cast<int>(verdict.code)}, {"culprit", verdict.culprit}, {"text", verdict.text}};
}

Verdict verdict_from(const Json& json) {
    return {static_cast<ExitCode>(json.at("code").get<int>()), json.at("culprit").get<std::string>(), json.at("text").get<std::string>()};
}

/// Ends the process if it is not defused in time.
class Fuse {
  public:
    Fuse(double seconds, int code)
        : thread_{[this, seconds, code] {
              std::unique_lock lock{mutex_};
              if (!bell_.wait_for(lock, std::chrono::duration<double>{seconds}, [this] { return defused_; })) ::_exit(code);
          }} {}
    Fuse(const Fuse&) = delete;
    Fuse& operator=(const Fuse&) = delete;
    ~Fuse() {
        {
            const std::lock_guard lock{mutex_};
            defused_ = true;
        }
        bell_.notify_all();
        thread_.join();
    }

  private:
    std::mutex mutex_;
    std::condition_variable bell_;
    bool defused_ = false;
    std::thread thread_;
};

}  // namespace

Courier::Courier(const std::function<std::unique_ptr<Link>()>& make_link, Watch watch) : watch_{std::move(watch)} {
    thread_ = std::thread{[this, make_link] { run(make_link); }};
    std::unique_lock lock{office_->mutex};
    office_->bell.wait(lock, [this] { return started_; });
    if (no_start_) {
        lock.unlock();
        thread_.join();
        std::rethrow_exception(no_start_);
    }
}

Courier::~Courier() {
    const bool orderly = [this] {
        const std::lock_guard lock{office_->mutex};
        return left_ || office_->over || num_ranks() == 1;
    }();
    if (!orderly) fail(ExitCode::failure, "left the job without a word, as when an error flies past everyone");
    {
        const std::lock_guard lock{office_->mutex};
        quit_ = true;
    }
    office_->wake.notify_all();
    thread_.join();
}

std::vector<Future> Courier::post(std::vector<Transfer> group) {
    std::vector<Future> futures;
    {
        const std::lock_guard lock{office_->mutex};
        ensure(!leaving_, "a transfer is posted after leaving");
        for (auto& transfer : group) {
            ensure(transfer.peer >= 0 && transfer.peer < num_ranks() && transfer.peer != rank_,
                   cat("a transfer with rank ", transfer.peer, ": ", transfer.what));
            check_device_use(transfer);
            auto future = std::make_shared<Future::State>();
            future->office = office_;
            futures.emplace_back(future);
            if (office_->over) {
                future->done = true;
                future->wrong = told(*office_->over);
            } else
                posts_.push_back({std::move(transfer), std::move(future)});
        }
    }
    office_->wake.notify_all();
    return futures;
}

/// Under the office's mutex.
void Courier::check_device_use(const Transfer& transfer) {
    if (transfer.buffer.memory == Buffer::Memory::host) {
        ensure(transfer.turn < 0 && !transfer.buffer.fence, cat("a host buffer with a turn or a fence: ", transfer.what));
        return;
    }
    ensure(opening_ && opening_->result.on, cat("a device buffer, but device buffers do not travel here: ", transfer.what));
    ensure(transfer.turn >= 0, cat("a device buffer without a turn: ", transfer.what));
    ensure(transfer.turn >= first_open_turn_ && turns_.insert(transfer.turn).second, cat("turn ", transfer.turn, " a second time: ", transfer.what));
    while (turns_.erase(first_open_turn_) > 0) ++first_open_turn_;
}

DeviceTransfers Courier::use_device_transfers(const DeviceOffer& mine) {
    ensure(mine.why_not.empty() == (mine.calls != nullptr), "a rank either offers a device or says why not");
    const auto future = std::make_shared<Future::State>();
    future->office = office_;
    const auto opening = std::make_shared<Opening>(Opening{mine, {}, future});
    {
        const std::lock_guard lock{office_->mutex};
        ensure(!opening_ && !leaving_, "transfers between GPUs are asked for once, and before leaving");
        opening_ = opening;
    }
    office_->wake.notify_all();
    Future{future}.wait();
    const std::lock_guard lock{office_->mutex};
    return opening->result;
}

bool Courier::carries_device() const {
    const std::lock_guard lock{office_->mutex};
    return opening_ && opening_->result.on;
}

void Courier::fail(ExitCode code, const std::string& text) {
    std::unique_lock lock{office_->mutex};
    if (!failing_) failing_ = Verdict{code, who().name(), text};
    office_->wake.notify_all();
    office_->bell.wait(lock, [this] { return office_->over || left_; });
}

int Courier::leave(int code, std::function<void()> last_word) {
    pulse.waiting("all ranks to end");
    std::unique_lock lock{office_->mutex};
    if (!leaving_) {
        leaving_ = code;
        last_word_ = std::move(last_word);
    }
    office_->wake.notify_all();
    office_->bell.wait(lock, [this] { return office_->over || left_; });
    return left_ ? *left_ : static_cast<int>(office_->over->code);
}

Traffic Courier::traffic() const {
    const std::lock_guard lock{office_->mutex};
    return traffic_;
}

void Courier::set_stall_s(double seconds) {
    const std::lock_guard lock{office_->mutex};
    watch_.stall_s = seconds;
}

void Courier::set_on_verdict(std::function<void(const Verdict&)> on_verdict) {
    const std::lock_guard lock{office_->mutex};
    watch_.on_verdict = std::move(on_verdict);
}

void Courier::run(const std::function<std::unique_ptr<Link>()>& make_link) {
    pthread_setname_np(pthread_self(), "weft-comm");
    try {
        link_ = make_link();
        all_ = link_->everyone();
        rank_ = link_->who().rank;
    } catch (...) {
        no_start_ = std::current_exception();
        link_.reset();
    }
    has_left_.assign(all_.size(), false);
    std::vector<std::string> names;
    names.reserve(all_.size());
    for (const auto& one : all_) names.push_back(one.name());
    watch_s_ = moved_s_ = now();
    watchman_.emplace(rank_, std::move(names), watch_s_);
    {
        const std::lock_guard lock{office_->mutex};
        started_ = true;
        office_->bell.notify_all();
    }
    if (!link_) return;

    while (true) {
        const double now_s = now();
        try {
            turn(now_s);
        } catch (const std::exception& error) {
            const Verdict verdict{ExitCode::rank_failed, who().name(), error.what()};
            if (broken_) {  // and cannot even tell
                decide(verdict);
            } else {
                broken_ = true;
                const std::lock_guard lock{office_->mutex};
                if (!failing_) failing_ = verdict;
            }
        }
        std::unique_lock lock{office_->mutex};
        if (quit_) break;
        const auto news = [this] {
            return !posts_.empty() || quit_ || (opening_ && device_ == nullptr) || (failing_ && !reported_ && !sentence_) || (leaving_ && !leave_told_);
        };
        if (closed_)
            office_->wake.wait(lock, [this] { return quit_; });
        else
            office_->wake.wait_for(lock, pause(now_s, office_->waiting), news);
        if (quit_) break;
    }
    if (!closed_) close_link(static_cast<int>(ExitCode::failure));
    link_.reset();
}

/// Short while something may move, longer the longer it does not: a wait is prolonged by 1 % or so, and a rank that computes for a minute pays little.
std::chrono::microseconds Courier::pause(double now_s, int waiting) const {
    using namespace std::chrono_literals;
    if (device_ != nullptr && device_->hurries()) return 50us;
    if (device_ != nullptr && !device_->agreed()) return 1000us;
    if (in_flight_.empty() && held_sends_.empty()) return leaving_ || reported_ ? 1000us : 20000us;
    const double quiet_s = now_s - moved_s_;
    const std::chrono::microseconds wanted{static_cast<std::int64_t>(1e6 * quiet_s / (waiting > 0 ? 100 : 40))};
    return std::clamp<std::chrono::microseconds>(wanted, 50us, 1000us);
}

void Courier::turn(double now_s) {
    if (closed_) return;
    open_device_transfers();
    take_posts(now_s);
    start_what_may(now_s);
    finish(now_s);
    if (deadlines_ > 0) look_at_deadlines(now_s);
    if (num_ranks() > 1) read_letters(now_s);
    if (closed_) return;
    spread_stop();
    if (now() >= watch_s_) watch();
    end_job(now());
    if (!closed_) leave_in_order();
}

void Courier::open_device_transfers() {
    if (device_ != nullptr) {
        if (!device_->agreed()) return;
        const std::lock_guard lock{office_->mutex};
        if (opening_->future->done) return;
        opening_->result = *device_->agreed();
        opening_->offer = {};
        opening_->future->done = true;
        office_->bell.notify_all();
        return;
    }
    const auto offer = [this]() -> std::optional<DeviceOffer> {
        const std::lock_guard lock{office_->mutex};
        if (!opening_) return {};
        return opening_->offer;
    }();
    if (!offer) return;
    auto link = std::make_unique<NcclLink>(std::move(link_), *offer);
    device_ = link.get();
    link_ = std::move(link);
    device_->ask(std::exchange(early_letters_, {}));
}

void Courier::take_posts(double now_s) {
    std::deque<Entry> posts;
    {
        const std::lock_guard lock{office_->mutex};
        posts.swap(posts_);
    }
    for (auto& entry : posts) {
        entry.posted_s = now_s;
        if (entry.transfer.deadline_s > 0) ++deadlines_;
        moved_s_ = now_s;
        const auto& transfer = entry.transfer;
        if (transfer.buffer.memory == Buffer::Memory::device) {
            const auto ticket = device_->start_device(transfer);
            in_flight_.emplace(ticket, std::move(entry));
            continue;
        }
        if (transfer.direction == Transfer::Direction::send) {
            held_sends_[transfer.peer].push_back(std::move(entry));
            continue;
        }
        const auto ticket = link_->start_receive(transfer.peer, transfer.tag, transfer.buffer.bytes);
        in_flight_.emplace(ticket, std::move(entry));
    }
}

void Courier::start_what_may(double now_s) {
    for (auto peer = held_sends_.begin(); peer != held_sends_.end();) {
        auto& queue = peer->second;
        while (!queue.empty()) {
            const auto& transfer = queue.front().transfer;
            if (transfer.buffer.ready && !transfer.buffer.ready()) break;
            const auto ticket = link_->start_send(transfer.peer, transfer.tag, transfer.buffer.bytes);
            in_flight_.emplace(ticket, std::move(queue.front()));
            queue.pop_front();
            moved_s_ = now_s;
        }
        peer = queue.empty() ? held_sends_.erase(peer) : std::next(peer);
    }
}

void Courier::finish(double now_s) {
    ended_.clear();
    link_->poll(ended_);
    if (ended_.empty()) return;
    moved_s_ = now_s;
    moved_ += ended_.size();
    std::vector<Entry> gone;  // their buffers go outside the lock
    {
        const std::lock_guard lock{office_->mutex};
        for (const auto& ended : ended_) {
            const auto at = in_flight_.find(ended.ticket);
            ensure(at != in_flight_.end(), "a transfer ended that nobody started");
            Entry entry = std::move(at->second);
            in_flight_.erase(at);
            const auto& transfer = entry.transfer;
            const bool sends = transfer.direction == Transfer::Direction::send;
            if (transfer.deadline_s > 0) --deadlines_;
            if (ended.wrong.empty() && sends) {
                auto& count = traffic_.sent[{transfer.tag.kind, transfer.peer}];
                ++count.messages;
                count.bytes += static_cast<std::int64_t>(transfer.buffer.bytes.size());
            }
            if (!entry.future->done) {
                entry.future->done = true;
                entry.future->ended_s = std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
                if (!ended.wrong.empty())
                    entry.future->wrong = cat(transfer.what, sends ? ": sending to " : ": receiving from ",
                                              all_[static_cast<std::size_t>(transfer.peer)].name(), " failed: ", ended.wrong);
            }
            gone.push_back(std::move(entry));
        }
        office_->bell.notify_all();
    }
}

/// The future ends; the bytes stay with the link, which may still reach for them.
void Courier::look_at_deadlines(double now_s) {
    const auto look = [&](Entry& entry) {
        const auto& transfer = entry.transfer;
        if (transfer.deadline_s <= 0 || now_s - entry.posted_s <= transfer.deadline_s) return;
        const std::lock_guard lock{office_->mutex};
        if (entry.future->done) return;
        entry.future->done = true;
        entry.future->wrong = cat(transfer.what, transfer.direction == Transfer::Direction::send ? ": sending to " : ": receiving from ",
                                  all_[static_cast<std::size_t>(transfer.peer)].name(), " did not end within ", transfer.deadline_s, " s");
        office_->bell.notify_all();
    };
    for (auto& [ticket, entry] : in_flight_) look(entry);
    for (auto& [peer, queue] : held_sends_)
        for (auto& entry : queue) look(entry);
}

void Courier::tell_all(const std::string& text) {
    for (int rank = 0; rank < num_ranks(); ++rank)
        if (rank != rank_) link_->post_letter(rank, text);
}

void Courier::read_letters(double now_s) {
    while (const auto came = link_->next_letter()) {
        watchman_->heard(came->from, now_s);
        if (NcclLink::is_own(came->text)) {
            early_letters_.push_back(*came);
            continue;
        }
        const auto json = Json::parse(came->text);
        const auto type = json.at("type").get<std::string>();
        if (type == "beat") {
            watchman_->beat(came->from, {{static_cast<Pulse::Activity>(json.at("activity").get<int>()), json.at("what").get<std::string>(),
                                          json.at("ticks").get<std::uint64_t>(), json.at("still_s").get<double>(), json.at("expected_s").get<double>()},
                                         json.at("moved").get<std::uint64_t>()});
        } else if (type == "stop") {
            if (!stop::requested()) stop::request(json.at("signal").get<int>());
            if (rank_ != 0) stop_told_ = true;  // rank 0 knows
            const std::lock_guard lock{office_->mutex};
            office_->bell.notify_all();
        } else if (type == "report") {
            decide(verdict_from(json.at("verdict")));
            return;
        } else if (type == "verdict") {
            // Who decided also ends the job; this rank only must not outlive that for long.
            if (!sentence_) sentence_ = Due{verdict_from(json.at("verdict")), now_s + watch_.grace_s};
        } else if (type == "leave") {
            has_left_[static_cast<std::size_t>(came->from)] = true;
        } else if (type == "left") {
            all_left_ = json.at("code").get<int>();
        } else
            ensure(false, cat("a letter of type ", type));
    }
}

void Courier::spread_stop() {
    if (stop_told_ || !stop::requested()) return;
    stop_told_ = true;
    const auto text = letter({{"type", "stop"}, {"signal", stop::requested_by()}});
    if (rank_ != 0)
        link_->post_letter(0, text);
    else
        tell_all(text);
    const std::lock_guard lock{office_->mutex};
    office_->bell.notify_all();
}

void Courier::watch() {
    const double now_s = now();  // this process may have been stopped in the middle of a turn
    const auto limits = [this] {
        const std::lock_guard lock{office_->mutex};
        return watch_;
    }();
    if (now_s - watch_s_ > limits.silent_s / 2) {
        watchman_->woke(now_s);
        pulse.tick();
    }
    watch_s_ = now_s + limits.beat_s / 10;
    Watchman::Beat mine{pulse.read(), moved_};
    if (device_ != nullptr && mine.reading.activity == Pulse::Activity::waiting)
        if (const auto stands_at = device_->stands_at(); !stands_at.empty()) mine.reading.what += cat("; its ", stands_at);
    if (now_s - beat_s_ >= limits.beat_s && num_ranks() > 1) {
        beat_s_ = now_s;
        const auto text = letter({{"type", "beat"},
                                  {"activity", static_cast<int>(mine.reading.activity)},
                                  {"what", mine.reading.what},
                                  {"ticks", mine.reading.ticks},
                                  {"still_s", mine.reading.still_s},
                                  {"expected_s", mine.reading.expected_s},
                                  {"moved", mine.moved}});
        if (rank_ != 0)
            link_->post_letter(0, text);
        else
            tell_all(text);
    }
    if (reported_ || sentence_) return;  // somebody is at it
    if (const auto found = watchman_->look(now_s, limits, mine)) {
        if (found->own && rank_ != 0)
            report(found->verdict, now_s);
        else
            decide(found->verdict);
    }
}

void Courier::report(Verdict verdict, double now_s) {
    link_->post_letter(0, letter({{"type", "report"}, {"verdict", to_json(verdict)}}));
    reported_ = Due{std::move(verdict), now_s + watch_.grace_s};
}

void Courier::end_job(double now_s) {
    if (closed_) return;
    if (const auto code = link_->aborted()) {
        read_letters(now_s);  // the verdict was posted before the abort
        call_off(sentence_ ? sentence_->verdict : Verdict{static_cast<ExitCode>(*code), "", cat("the job was aborted with exit code ", *code)});
        return;
    }
    const auto failing = [this] {
        const std::lock_guard lock{office_->mutex};
        return failing_;
    }();
    if (failing && !reported_ && !sentence_) {
        if (rank_ == 0)
            decide(*failing);
        else
            report(*failing, now_s);
    }
    if (sentence_ && now_s > sentence_->until_s) {
        link_->abort(static_cast<int>(sentence_->verdict.code));
        call_off(sentence_->verdict);
    } else if (!sentence_ && reported_ && now_s > reported_->until_s)
        decide(reported_->verdict);
}

/// This rank ends the job.
void Courier::decide(const Verdict& verdict) {
    if (closed_ || link_->aborted()) return;  // somebody was faster
    const auto [on_verdict, failing] = [this] {
        const std::lock_guard lock{office_->mutex};
        return std::pair{watch_.on_verdict, failing_.has_value()};
    }();
    try {
        if (on_verdict) on_verdict(verdict);
        tell_all(letter({{"type", "verdict"}, {"verdict", to_json(verdict)}}));
    } catch (const std::exception& error) {
        log::error(cat(who().name(), ": while ending the job: ", error.what()));
    }
    // A lone rank that fails by its own word can also end by itself; one that hangs cannot.
    if (num_ranks() > 1 || !failing) link_->abort(static_cast<int>(verdict.code));
    call_off(verdict);
}

/// The job is over, and this process goes on: ranks as threads, and a lone rank.
void Courier::call_off(Verdict verdict) {
    close_link(static_cast<int>(verdict.code));
    drop_all(told(verdict));
    const std::lock_guard lock{office_->mutex};
    office_->over = std::move(verdict);
    office_->bell.notify_all();
}

void Courier::leave_in_order() {
    const auto leaving = [this] {
        const std::lock_guard lock{office_->mutex};
        return leaving_;
    }();
    if (leaving && !leave_told_) {
        leave_told_ = true;
        has_left_[static_cast<std::size_t>(rank_)] = true;
        if (rank_ != 0) link_->post_letter(0, letter({{"type", "leave"}}));
    }
    if (rank_ == 0 && std::find(has_left_.begin(), has_left_.end(), false) == has_left_.end()) {
        all_left_ = leaving;
        if (last_word_) last_word_();  // nobody writes it any more
        tell_all(letter({{"type", "left"}, {"code", *leaving}}));
    }
    if (!all_left_) return;
    close_link(*all_left_);
    drop_all("it was dropped when the job ended");
    const std::lock_guard lock{office_->mutex};
    left_ = all_left_;
    office_->bell.notify_all();
}

void Courier::close_link(int code) {
    closed_ = true;
    // All ranks end MPI together. Should one of them have died since, the others must not wait for ever.
    const Fuse fuse{5, code};
    try {
        link_->close();
    } catch (const std::exception& error) {
        log::error(cat(who().name(), ": while ending: ", error.what()));
    }
}

/// After the link was closed: nobody reaches for the buffers any more.
void Courier::drop_all(const std::string& why) {
    std::deque<Entry> gone;
    {
        const std::lock_guard lock{office_->mutex};
        gone.swap(posts_);
        for (auto& [ticket, entry] : in_flight_) gone.push_back(std::move(entry));
        for (auto& [peer, queue] : held_sends_)
            for (auto& entry : queue) gone.push_back(std::move(entry));
        in_flight_.clear();
        held_sends_.clear();
        if (opening_ && !opening_->future->done) {
            opening_->future->done = true;
            opening_->future->wrong = cat("opening transfers between GPUs: ", why);
        }
        for (auto& entry : gone) {
            if (entry.future->done) continue;
            entry.future->done = true;
            entry.future->wrong = cat(entry.transfer.what, ": ", why);
        }
        office_->bell.notify_all();
    }
}

}  // namespace weft::comm

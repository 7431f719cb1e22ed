#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/link.hpp"
#include "comm/tag.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>

namespace weft::comm {

/// All under one lock, copies too: simple, and the thread sanitizer sees the order.
struct ThreadsHub::State {
    struct Started {
        Link::Ticket ticket = 0;
        int tag = 0;
        std::span<const std::byte> from;  // of a send
        std::span<std::byte> into;        // of a receive
    };
    struct Pair {  // one direction between two ranks
        std::deque<Started> sends;
        std::deque<Started> receives;
    };

    explicit State(const std::vector<std::string>& hosts) : pairs(hosts.size() * hosts.size()), ended(hosts.size()), letters(hosts.size()) {
        for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
            Identity one;
            one.rank = static_cast<int>(rank);
            one.size = static_cast<int>(hosts.size());
            one.host = hosts[rank];
            one.pid = ::getpid();
            all.push_back(std::move(one));
        }
        place_on_hosts(all);
    }

    [[nodiscard]] Pair& pair(int from, int to) { return pairs.at(static_cast<std::size_t>(from) * all.size() + static_cast<std::size_t>(to)); }

    void match(int from, int to) {
        auto& both = pair(from, to);
        while (!both.sends.empty() && !both.receives.empty()) {
            const auto send = both.sends.front();
            const auto receive = both.receives.front();
            both.sends.pop_front();
            both.receives.pop_front();
            std::string wrong;
            if (send.tag != receive.tag || send.from.size() != receive.into.size())
                wrong = disagreement(described(send.tag, cat(send.from.size(), " bytes")), described(receive.tag, cat(receive.into.size(), " bytes")));
            else if (!send.from.empty())
                std::memcpy(receive.into.data(), send.from.data(), send.from.size());
            ended[static_cast<std::size_t>(from)].push_back({send.ticket, wrong});
            ended[static_cast<std::size_t>(to)].push_back({receive.ticket, wrong});
        }
    }

    std::vector<Identity> all;  // does not change
    std::mutex mutex;           // of what follows
    std::vector<Pair> pairs;
    std::vector<std::vector<Link::Ended>> ended;  // by rank
    std::vector<std::deque<Letter>> letters;      // by receiver
    Link::Ticket next_ticket = 1;
    std::optional<int> aborted;
};

namespace {

class ThreadsLink final : public Link {
  public:
    ThreadsLink(std::shared_ptr<ThreadsHub::State> hub, int rank) : hub_{std::move(hub)}, rank_{rank} {}
    ThreadsLink(const ThreadsLink&) = delete;
    ThreadsLink& operator=(const ThreadsLink&) = delete;
    ~ThreadsLink() override { drop(); }

    const std::vector<Identity>& everyone() const override { return hub_->all; }
    const Identity& who() const override { return hub_->all[static_cast<std::size_t>(rank_)]; }

    Ticket start_send(int to, Tag tag, std::span<const std::byte> bytes) override {
        const std::lock_guard lock{hub_->mutex};
        const Ticket ticket = hub_->next_ticket++;
        hub_->pair(rank_, to).sends.push_back({ticket, packed(tag), bytes, {}});
        hub_->match(rank_, to);
        return ticket;
    }

    Ticket start_receive(int from, Tag tag, std::span<std::byte> bytes) override {
        const std::lock_guard lock{hub_->mutex};
        const Ticket ticket = hub_->next_ticket++;
        hub_->pair(from, rank_).receives.push_back({ticket, packed(tag), {}, bytes});
        hub_->match(from, rank_);
        return ticket;
    }

    void poll(std::vector<Ended>& ended) override {
        const std::lock_guard lock{hub_->mutex};
        auto& mine = hub_->ended[static_cast<std::size_t>(rank_)];
        ended.insert(ended.end(), mine.begin(), mine.end());
        mine.clear();
    }

    void post_letter(int to, const std::string& text) override {
        const std::lock_guard lock{hub_->mutex};
        hub_->letters.at(static_cast<std::size_t>(to)).push_back({rank_, text});
    }

    std::optional<Letter> next_letter() override {
        const std::lock_guard lock{hub_->mutex};
        auto& mine = hub_->letters[static_cast<std::size_t>(rank_)];
        if (mine.empty()) return {};
        Letter first = std::move(mine.front());
        mine.pop_front();
        return first;
    }

    void close() override { drop(); }

    void abort(int code) override {
        const std::lock_guard lock{hub_->mutex};
        if (!hub_->aborted) hub_->aborted = code;
    }

    std::optional<int> aborted() const override {
        const std::lock_guard lock{hub_->mutex};
        return hub_->aborted;
    }

  private:
    /// Nobody may reach this rank's buffers any more.
    void drop() {
        const std::lock_guard lock{hub_->mutex};
        for (int other = 0; other < who().size; ++other) {
            hub_->pair(rank_, other).sends.clear();
            hub_->pair(other, rank_).receives.clear();
        }
    }

    std::shared_ptr<ThreadsHub::State> hub_;
    int rank_;
};

}  // namespace

ThreadsHub::ThreadsHub(const std::vector<std::string>& hosts) : state_{std::make_shared<State>(hosts)} {}
ThreadsHub::~ThreadsHub() = default;

std::unique_ptr<Link> ThreadsHub::link(int rank) {
    ensure(rank >= 0 && rank < static_cast<int>(state_->all.size()), cat("a hub without rank ", rank));
    return std::make_unique<ThreadsLink>(state_, rank);
}

}  // namespace weft::comm

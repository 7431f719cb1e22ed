#include "comm/watchman.hpp"

#include "base/text.hpp"

#include <algorithm>

namespace weft::comm {

namespace {
std::string doing(const Pulse::Reading& reading) {
    switch (reading.activity) {
        case Pulse::Activity::idle: return "idle";
        case Pulse::Activity::working: return cat("working on ", reading.what);
        case Pulse::Activity::waiting: return cat("waiting for ", reading.what);
    }
    return {};
}
}  // namespace

Watchman::Watchman(int rank, std::vector<std::string> names, double now_s)
    : rank_{rank}, names_{std::move(names)}, heard_s_(names_.size(), now_s), beats_(names_.size()), progress_s_{now_s} {}

void Watchman::woke(double now_s) {
    std::fill(heard_s_.begin(), heard_s_.end(), now_s);
    progress_s_ = now_s;
}

std::optional<Watchman::Finding> Watchman::look(double now_s, const Watch& limits, const Beat& mine) {
    beats_[static_cast<std::size_t>(rank_)] = mine;
    if (auto found = stall(limits, mine)) return found;
    if (names_.size() == 1) return {};
    if (auto found = silence(now_s, limits)) return found;
    if (rank_ == 0) return all_wait(now_s, limits);
    return {};
}

std::optional<Watchman::Finding> Watchman::silence(double now_s, const Watch& limits) const {
    const auto check = [&](std::size_t rank, double limit_s) -> std::optional<Finding> {
        const double silent_s = now_s - heard_s_[rank];
        if (silent_s <= limit_s) return {};
        std::string text = cat("no heartbeat for ", fixed(silent_s, 1), " s: dead, stopped, or cut off");
        if (const auto& last = beats_[rank]) text += cat("; its last word: ", doing(last->reading));
        return Finding{{ExitCode::rank_failed, names_[rank], text}, false};
    };
    if (rank_ == 0) {
        for (std::size_t rank = 1; rank < names_.size(); ++rank)
            if (auto found = check(rank, limits.silent_s)) return found;
        return {};
    }
    // Who finds rank 0 silent speaks for it, the lowest first: its abort ends the others before their turn (1 s later with the default limit).
    return check(0, limits.silent_s * (1 + std::min(rank_ - 1, 4) / 11.0));
}

std::optional<Watchman::Finding> Watchman::stall(const Watch& limits, const Beat& mine) const {
    const auto& reading = mine.reading;
    if (reading.activity != Pulse::Activity::working) return {};
    const double limit_s = reading.expected_s > 0 ? std::max(limits.stall_s, 10 * reading.expected_s) : 20 * limits.stall_s;
    if (reading.still_s <= limit_s) return {};
    std::string text = cat("no progress for ", fixed(reading.still_s, 1), " s in ", reading.what);
    if (reading.expected_s > 0) text += cat(", where ", fixed(reading.expected_s, reading.expected_s < 1 ? 3 : 1), " s were expected");
    text += cat(" (watchdog.stall_s = ", limits.stall_s, ")");
    return Finding{{ExitCode::rank_failed, names_[static_cast<std::size_t>(rank_)], text}, true};
}

std::optional<Watchman::Finding> Watchman::all_wait(double now_s, const Watch& limits) {
    std::uint64_t progress = 0;
    bool all = true;
    for (const auto& beat : beats_) {
        all = all && beat && beat->reading.activity == Pulse::Activity::waiting;
        if (beat) progress += beat->reading.ticks + beat->moved;
    }
    if (!all || progress != progress_) {
        progress_ = progress;
        progress_s_ = now_s;
        return {};
    }
    const double limit_s = limits.all_wait_s > 0 ? limits.all_wait_s : 2 * std::max(limits.stall_s, 30.0);
    if (now_s - progress_s_ <= limit_s) return {};
    std::string text = cat("all ranks wait for each other, and nothing has moved for ", fixed(now_s - progress_s_, 1), " s:");
    for (std::size_t rank = 0; rank < names_.size(); ++rank) text += cat("\n  ", names_[rank], " waits for ", beats_[rank]->reading.what);
    return Finding{{ExitCode::rank_failed, "", text}, false};
}

}  // namespace weft::comm

#include "comm/nccl_link.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "comm/tag.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <future>
#include <set>
#include <source_location>
#include <sstream>
#include <thread>

namespace weft::comm {

namespace {

using Json = nlohmann::json;
using namespace std::chrono_literals;

constexpr std::string_view own_letter = "device ";

/// Tickets of device transfers lie above those of the inner link.
constexpr Link::Ticket first_ticket = Link::Ticket{1} << 62;

/// NCCL moves so many operations of a group at once, if no two of them have the same peer and direction; further ones wait for the first to end
/// (NCCL_MAX_DEV_WORK_P2P_PER_BATCH, the same from 2.19 to 2.30).
constexpr std::size_t max_group = 8;

/// A communicator takes some seconds to make; over thousands of ranks, some tens.
constexpr auto making_limit = 120s;
constexpr auto closing_limit = 1500ms;  // twice that stays under the courier's limit for the end
constexpr auto abort_limit = 2s;
constexpr auto look_for_errors_each = 100ms;

bool good(NcclCalls::Code code) {
    return code == NcclCalls::success || code == NcclCalls::in_progress;
}

std::string error_of(const NcclCalls& calls, NcclCalls::Code code) {
    const auto more = calls.last_error();
    return cat(calls.error_text(code), more.empty() ? "" : "; ", more);
}

/// `doing` gives the text of what was intended; it is called only where that is needed.
template <class Doing>
void check(NcclCalls::Code code, const NcclCalls& calls, const Doing& doing, const std::source_location& at = std::source_location::current()) {
    if (good(code)) return;
    throw Error(ExitCode::rank_failed, cat("NCCL failed while ", doing(), ": ", error_of(calls, code), " (nccl_link.cpp:", at.line(), ")"));
}

std::string dumped(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string to_hex(const NcclCalls::Id& id) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const auto byte : id) {
        text += digits[std::to_integer<std::size_t>(byte >> 4)];
        text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
    }
    return text;
}

NcclCalls::Id from_hex(const std::string& text) {
    NcclCalls::Id id{};
    ensure(text.size() == 2 * id.size(), "an id of NCCL's has 128 bytes");
    for (std::size_t i = 0; i < id.size(); ++i) id[i] = static_cast<std::byte>(std::stoi(text.substr(2 * i, 2), nullptr, 16));
    return id;
}

}  // namespace

std::string nccl_version_text(int version) {
    return cat(version / 10000, ".", version % 10000 / 100, ".", version % 100);
}

DeviceOffer offer_no_device(const std::string& why_not) {
    DeviceOffer offer;
    offer.why_not = why_not;
    return offer;
}

NcclLink::NcclLink(std::unique_ptr<Link> inner, DeviceOffer offer)
    : inner_{std::move(inner)},
      offer_{std::move(offer)},
      offers_(everyone().size()),
      made_(everyone().size()),
      next_ticket_{first_ticket},
      told_(everyone().size()) {
    for (const auto& one : everyone()) names_.push_back(one.name());
}

void NcclLink::ask(const std::vector<Letter>& early) {
    const auto text = cat(
        own_letter, "offer ",
        dumped({{"why_not", offer_.why_not}, {"gpu", offer_.gpu}, {"may_share", offer_.may_share}, {"version", offer_.calls ? offer_.calls->version() : 0}}));
    if (who().rank != 0)
        inner_->post_letter(0, text);
    else
        hear({0, text});
    for (const auto& letter : early) hear(letter);
}

NcclLink::~NcclLink() {
    abort_communicator();
}

bool NcclLink::is_own(const std::string& letter) {
    return letter.starts_with(own_letter);
}

std::optional<Letter> NcclLink::next_letter() {
    sort_letters();
    if (letters_.empty()) return {};
    Letter first = std::move(letters_.front());
    letters_.pop_front();
    return first;
}

void NcclLink::sort_letters() {
    while (auto letter = inner_->next_letter()) {
        if (is_own(letter->text))
            hear(*letter);
        else
            letters_.push_back(std::move(*letter));
    }
}

void NcclLink::hear(const Letter& letter) {
    std::istringstream words{letter.text.substr(own_letter.size())};
    std::string type;
    words >> type;
    const auto from = static_cast<std::size_t>(letter.from);
    const auto rest = [&words] {
        std::string text;
        std::getline(words >> std::ws, text, '\0');
        return text;
    };
    if (type == "ready") {
        Told told;
        bool peer_sends = false;
        while (words >> peer_sends >> told.tag >> told.bytes)
            told_.at(from).at(static_cast<std::size_t>(peer_sends ? Direction::receive : Direction::send)).push_back(told);
    } else if (type == "offer") {
        const auto json = Json::parse(rest());
        offers_.at(from) =
            Offered{json.at("why_not").get<std::string>(), json.at("gpu").get<std::string>(), json.at("may_share").get<bool>(), json.at("version").get<int>()};
    } else if (type == "id") {
        make_communicator(from_hex(rest()));
    } else if (type == "made") {
        made_.at(from) = rest();
    } else if (type == "agreed") {
        const auto json = Json::parse(rest());
        agree({json.at("on").get<bool>(), json.at("reason").get<std::string>()});
    } else
        ensure(false, cat("a letter about devices of type ", type));
}

void NcclLink::tell_all(const std::string& text) {
    for (const auto& one : everyone())
        if (one.rank != who().rank) inner_->post_letter(one.rank, text);
}

void NcclLink::poll(std::vector<Ended>& ended) {
    inner_->poll(ended);
    if (failed_) return;
    try {
        sort_letters();
        if (!agreed_)
            open_further();
        else if (agreed_->on)
            move(ended);
    } catch (...) {
        failed_ = true;
        throw;
    }
}

// ---- Opening: every rank offers its device to rank 0, which judges; all make the communicator; rank 0 says that all have. Nothing here waits.

void NcclLink::open_further() {
    if (who().rank == 0 && !offers_judged_ && std::find(offers_.begin(), offers_.end(), std::nullopt) == offers_.end()) {
        offers_judged_ = true;
        judge_offers();
    }
    if (making_) {
        NcclCalls::Code found = NcclCalls::success;
        const auto code = offer_.calls->state(found);
        const auto worst = code != NcclCalls::success ? code : found;
        if (!good(worst))
            report_made(error_of(*offer_.calls, worst));
        else if (worst == NcclCalls::success)
            report_made("");
    }
    if (who().rank != 0 || !offers_judged_ || agreed_) return;
    std::vector<std::string> wrong;
    std::vector<std::string> late;
    for (std::size_t rank = 0; rank < made_.size(); ++rank) {
        if (!made_[rank])
            late.push_back(names_[rank]);
        else if (!made_[rank]->empty())
            wrong.push_back(cat(names_[rank], ": ", *made_[rank]));
    }
    if (wrong.empty() && !late.empty() && Clock::now() - making_since_ < making_limit) return;
    if (wrong.empty() && !late.empty()) wrong.push_back(cat(join(late), ": not done within ", making_limit.count(), " s"));
    if (!wrong.empty()) {
        agree({false, cat("through host buffers: NCCL failed while making a communicator of all ranks: ", join(wrong, "; "))});
        return;
    }
    std::set<std::string> gpus;
    for (std::size_t rank = 0; rank < offers_.size(); ++rank) gpus.insert(cat(everyone()[rank].host, " ", offers_[rank]->gpu));
    const auto ranks = names_.size();
    agree({true, cat("NCCL ", nccl_version_text(offer_.calls->version()), ", ",
                     gpus.size() == ranks ? cat("each of ", ranks, " ranks with its own GPU") : cat(ranks, " ranks on ", gpus.size(), " GPUs"))});
}

void NcclLink::judge_offers() {
    std::vector<Offered> offers;
    offers.reserve(offers_.size());
    for (auto& one : offers_) offers.push_back(*one);
    if (const auto reason = against(offers); !reason.empty()) {
        agree({false, cat("through host buffers: ", reason)});
        return;
    }
    NcclCalls::Id id{};
    if (const auto code = offer_.calls->unique_id(id); !good(code)) {
        agree({false, cat("through host buffers: NCCL failed while opening its meeting point on ", name_of(0), ": ", error_of(*offer_.calls, code))});
        return;
    }
    tell_all(cat(own_letter, "id ", to_hex(id)));
    make_communicator(id);
}

std::string NcclLink::against(const std::vector<Offered>& offers) const {
    std::vector<std::pair<std::string, std::vector<std::string>>> why;  // each with the ranks that say so
    std::map<std::string, std::vector<std::string>> ranks_of;           // by GPU
    bool all_share = true;
    for (std::size_t rank = 0; rank < offers.size(); ++rank) {
        const auto& one = offers[rank];
        all_share = all_share && one.may_share;
        if (one.why_not.empty()) {
            ranks_of[cat("GPU ", one.gpu, " of ", everyone()[rank].host)].push_back(cat(rank));
            continue;
        }
        const auto same = std::find_if(why.begin(), why.end(), [&](const auto& known) { return known.first == one.why_not; });
        if (same == why.end())
            why.emplace_back(one.why_not, std::vector{names_[rank]});
        else
            same->second.push_back(names_[rank]);
    }
    if (why.size() == 1 && why.front().second.size() == offers.size()) return cat("all ranks: ", why.front().first);
    std::vector<std::string> parts;
    parts.reserve(why.size());
    for (const auto& [text, names] : why) parts.push_back(cat(join(names), ": ", text));
    if (!parts.empty()) return join(parts, "; ");
    for (std::size_t rank = 0; rank < offers.size(); ++rank)
        if (offers[rank].version != offers[0].version)
            return cat(name_of(0), " has NCCL ", nccl_version_text(offers[0].version), ", ", names_[rank], " has ", nccl_version_text(offers[rank].version));
    if (all_share) return {};
    for (const auto& [gpu, ranks] : ranks_of)
        if (ranks.size() > 1) parts.push_back(cat("ranks ", join(ranks), " share ", gpu));
    if (parts.empty()) return {};
    return cat(join(parts, "; "), ", and NCCL ", nccl_version_text(offers[0].version),
               " wants one for each (from 2.30 on, NCCL_MULTI_RANK_GPU_ENABLE=1 lets them share)");
}

void NcclLink::make_communicator(const NcclCalls::Id& id) {
    offers_judged_ = true;
    making_since_ = Clock::now();
    try {
        has_communicator_ = true;
        const auto code = offer_.calls->init(id, who().rank, who().size);
        if (good(code))
            making_ = true;
        else
            report_made(error_of(*offer_.calls, code));
    } catch (const std::exception& error) {
        report_made(error.what());
    }
}

void NcclLink::report_made(const std::string& wrong) {
    making_ = false;
    const auto text = cat(own_letter, "made ", wrong);
    if (who().rank != 0)
        inner_->post_letter(0, text);
    else
        made_[0] = wrong;
}

void NcclLink::agree(DeviceTransfers result) {
    if (who().rank == 0) tell_all(cat(own_letter, "agreed ", dumped({{"on", result.on}, {"reason", result.reason}})));
    making_ = false;
    if (!result.on) {
        abort_communicator();
        offer_.calls.reset();
    }
    agreed_ = std::move(result);
}

// ---- Transfers

Link::Ticket NcclLink::start_device(const Transfer& transfer) {
    ensure(agreed_ && agreed_->on, cat("a device buffer without transfers between GPUs: ", transfer.what));
    ensure(transfer.turn >= next_turn_ && !waiting_.contains(transfer.turn), cat("turn ", transfer.turn, " a second time: ", transfer.what));
    const auto ticket = next_ticket_++;
    waiting_.emplace(transfer.turn, Waiting{ticket, transfer.direction, transfer.peer, packed(transfer.tag), transfer.buffer, transfer.what});
    return ticket;
}

bool NcclLink::may_start(const Waiting& one) const {
    if (one.told) return true;
    if (one.buffer.ready && !one.buffer.ready()) return false;
    return !one.buffer.fence || offer_.calls->passed(one.buffer.fence.get());
}

std::deque<NcclLink::Told>& NcclLink::told_by_peer(const Waiting& one) {
    return told_[static_cast<std::size_t>(one.peer)][static_cast<std::size_t>(one.direction)];
}

/// In one letter, so that the peer sees both at once.
void NcclLink::tell(Waiting& one, Waiting* crossing) {
    std::string text;
    for (auto* each : {&one, crossing}) {
        if (each == nullptr || each->told) continue;
        each->told = true;
        text += cat(" ", each->direction == Direction::send, " ", each->tag, " ", each->buffer.bytes.size());
    }
    if (!text.empty()) inner_->post_letter(one.peer, cat(own_letter, "ready", text));
}

NcclCalls::Code NcclLink::state_of_communicator() const {
    NcclCalls::Code found = NcclCalls::success;
    const auto doing = [this] {
        if (submitting_) return submitting_->what;
        return running_.empty() ? std::string{"nothing was under way"} : running_.front().what;
    };
    check(offer_.calls->state(found), *offer_.calls, doing);
    check(found, *offer_.calls, doing);
    return found;
}

void NcclLink::move(std::vector<Ended>& ended) {
    while (!running_.empty() && offer_.calls->passed(running_.front().event.get())) {
        for (const auto ticket : running_.front().tickets) ended.push_back({ticket, {}});
        running_.pop_front();
    }
    if (submitting_) {
        if (state_of_communicator() == NcclCalls::in_progress) return;
        submitting_->event = offer_.calls->mark();
        running_.push_back(std::move(*submitting_));
        submitting_.reset();
    }
    submit(ended);
    if (const auto now = Clock::now(); !submitting_ && now - looked_for_errors_ >= look_for_errors_each) {
        looked_for_errors_ = now;
        static_cast<void>(state_of_communicator());
    }
}

// Why nothing deadlocks. All device transfers of the job are numbered in one order, in which what a rank does before it posts a transfer depends on smaller
// numbers only; a rank's turns are that order restricted to its own transfers, so `waiting_` is without holes as far as the program has come. A transfer is
// given to the GPU when both sides have come to it, that is, when both have given the GPU all their smaller ones.
//
// (1) The smallest unfinished transfer m is given to both GPUs: both sides post it, all that is smaller has ended, so both come to it and tell each other.
// (2) What one side has given to its GPU, the other gives to its own without waiting for any program: let m be the smallest transfer that is with only one
// GPU. The other side has told that it has come to m, so that it only waits until NCCL has taken in its last group, whose transfers are smaller than m and so
// are with both GPUs already; and it hears that this side has come to m, which this side said before.
// (3) What is with both GPUs ends. NCCL's stream runs group after group, unbuffered: a group ends when all its transfers have, and they move at the same time
// (max_group). Let m be the smallest one that has not ended: all groups in front of m's own hold only smaller ones, at both sides, and so have ended. That
// the peer groups otherwise does not matter.
//
// So a group may also hold transfers behind the first, although the first one's end is then told only when all have ended: by (2) and (3) those wait for
// nothing but bytes, whatever programs and host buffers do. It would not be so with a transfer whose peer has not come to it: in front of that the peer may
// have one that depends, through a host buffer, on the end of our first. Hence the rule: the next turn joins if its peer has come to it. Two that cross (a
// send to and a receive from one peer in consecutive turns) would miss each other that way, each side having come to the first only; so the second is told
// together with the first. That is safe: the peer gives it to the GPU no earlier than the first, for which it has what it needs.
void NcclLink::submit(std::vector<Ended>& ended) {
    if (submitting_) return;
    std::vector<Waiting> operations;
    const auto there = [this](std::int64_t turn) -> Waiting* {
        const auto found = waiting_.find(turn);
        return found != waiting_.end() && may_start(found->second) ? &found->second : nullptr;
    };
    const auto busy = [&operations](const Waiting& one) {
        return std::any_of(operations.begin(), operations.end(),
                           [&](const Waiting& other) { return other.peer == one.peer && other.direction == one.direction; });
    };
    while (auto* one = there(next_turn_)) {
        auto* next = there(next_turn_ + 1);
        const bool crosses = next != nullptr && next->peer == one->peer && next->direction != one->direction;
        tell(*one, crosses ? next : nullptr);
        auto& told = told_by_peer(*one);
        if (told.empty() || busy(*one) || operations.size() == max_group) break;
        const auto other = told.front();
        told.pop_front();
        auto taken = std::move(waiting_.extract(next_turn_++).mapped());
        const auto bytes = taken.buffer.bytes.size();
        if (other.tag != taken.tag || other.bytes != bytes) {
            auto mine = described(taken.tag, cat(bytes, " bytes"));
            auto theirs = described(other.tag, cat(other.bytes, " bytes"));
            if (taken.direction == Direction::receive) std::swap(mine, theirs);
            ended.push_back({taken.ticket, disagreement(mine, theirs)});
        } else if (bytes == 0)
            ended.push_back({taken.ticket, {}});  // both sides are there, and that is all there is to it
        else
            operations.push_back(std::move(taken));
    }
    if (!operations.empty()) give_to_gpu(operations);
}

void NcclLink::give_to_gpu(const std::vector<Waiting>& operations) {
    auto& calls = *offer_.calls;
    Group group;
    std::vector<std::string> parts;
    for (const auto& one : operations) {
        group.tickets.push_back(one.ticket);
        parts.push_back(described_side(one));
    }
    group.what = join(parts, " and ");
    check(calls.group_start(), calls, [&] { return cat("opening a group for ", group.what); });
    auto code = NcclCalls::success;
    for (const auto& one : operations) {
        code = one.direction == Direction::send ? calls.send(one.buffer.bytes, one.peer) : calls.receive(one.buffer.bytes, one.peer);
        if (good(code)) continue;
        static_cast<void>(calls.group_end());  // else the abort would count as part of the group
        check(code, calls, [&] { return described_side(one); });
    }
    check(calls.group_end(), calls, [&] { return group.what; });
    submitting_ = std::move(group);
}

std::string NcclLink::described_side(const Waiting& one) const {
    return cat(one.direction == Direction::send ? "sending to " : "receiving from ", name_of(one.peer), ": ", one.what);
}

std::string NcclLink::stands_at() const {
    if (waiting_.empty()) return {};
    const auto& [turn, first] = *waiting_.begin();
    if (turn != next_turn_) return cat("device transfer ", turn, " (", described_side(first), ") waits for turn ", next_turn_, ", which was not posted");
    return cat("device transfer ", turn, " (", described_side(first), ") waits for ", first.told ? "its peer to come to it" : "its buffer");
}

// ---- The end

void NcclLink::close() {
    end_communicator();
    waiting_.clear();
    inner_->close();
}

void NcclLink::abort(int code) {
    failed_ = true;
    abort_communicator();
    inner_->abort(code);
}

void NcclLink::end_communicator() {
    if (!has_communicator_) return;
    if (failed_ || inner_->aborted() || !agreed_ || !end_in_order()) abort_communicator();
    failed_ = true;
    has_communicator_ = false;
    offer_.calls.reset();
}

/// All ranks do so together. False when the GPU or a peer does not answer in time, as when a job stops between the two sides of a transfer.
bool NcclLink::end_in_order() {
    const auto patience = [](const auto& done) {
        const auto until = Clock::now() + closing_limit;
        while (!done()) {
            if (Clock::now() > until) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    };
    try {
        std::vector<Ended> dropped;
        const auto idle = [&] {
            poll(dropped);
            return !hurries();
        };
        if (!patience(idle)) return false;
        auto& calls = *offer_.calls;
        const auto doing = [] { return "ending the communicator"; };
        check(calls.finalize(), calls, doing);
        if (!patience([&] { return state_of_communicator() == NcclCalls::success; })) return false;
        has_communicator_ = false;
        check(calls.destroy(), calls, doing);
        return true;
    } catch (const std::exception& error) {
        log::error(cat(who().name(), ": while ending: ", error.what()));
        return false;
    }
}

/// NCCL waits until its kernels have seen it. Should they not, the job ends without.
void NcclLink::abort_communicator() {
    if (!std::exchange(has_communicator_, false)) return;
    std::promise<void> ended;
    const auto end = ended.get_future();
    std::thread thread{[calls = offer_.calls, ended = std::move(ended)]() mutable {
        calls->abort();
        ended.set_value();
    }};
    if (end.wait_for(abort_limit) == std::future_status::ready)
        thread.join();
    else
        thread.detach();
}

}  // namespace weft::comm

#include "comm/transport.hpp"

#include "base/text.hpp"
#include "comm/courier.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstring>

namespace weft::comm {

namespace {

using Json = nlohmann::json;

constexpr int text_kind = 15;

/// The compute thread waits for other ranks in this scope.
class Waiting {
  public:
    Waiting(Pulse& pulse, std::string what) : pulse_{pulse}, before_{pulse.read()} { pulse_.waiting(std::move(what)); }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() {
        switch (before_.activity) {
            case Pulse::Activity::idle: pulse_.idle(); break;
            case Pulse::Activity::working: pulse_.working(before_.what, before_.expected_s); break;
            case Pulse::Activity::waiting: pulse_.waiting(before_.what); break;
        }
    }

  private:
    Pulse& pulse_;
    Pulse::Reading before_;
};

Buffer buffer_with(const void* bytes, std::size_t size) {
    auto buffer = make_buffer(size);
    if (size > 0) std::memcpy(buffer.bytes.data(), bytes, size);
    return buffer;
}

}  // namespace

struct Transport::State {
    State(const std::function<std::unique_ptr<Link>()>& make_link, Watch watch) : courier{make_link, std::move(watch)} {}
    Courier courier;
    std::int64_t texts = 0;  // gathers and broadcasts until now: a tag that tells them apart
};

Transport::Transport(const std::function<std::unique_ptr<Link>()>& make_link, Watch watch) : state_{std::make_unique<State>(make_link, std::move(watch))} {}
Transport::~Transport() = default;

const Identity& Transport::who() const {
    return state_->courier.who();
}
const std::vector<Identity>& Transport::everyone() const {
    return state_->courier.everyone();
}

std::vector<Future> Transport::post(std::vector<Transfer> group) {
    return state_->courier.post(std::move(group));
}

Future Transport::send(int to, Tag tag, Buffer buffer, std::string what) {
    std::vector<Transfer> group;
    group.push_back({Transfer::Direction::send, to, tag, std::move(buffer), std::move(what), 0});
    return post(std::move(group)).front();
}

Future Transport::receive(int from, Tag tag, Buffer into, std::string what) {
    std::vector<Transfer> group;
    group.push_back({Transfer::Direction::receive, from, tag, std::move(into), std::move(what), 0});
    return post(std::move(group)).front();
}

// A text travels as its length, then its bytes.
std::vector<std::string> Transport::gather(const std::string& mine) {
    const std::int64_t number = state_->texts++;
    const Tag length_tag{text_kind, 2 * number};
    const Tag body_tag{text_kind, 2 * number + 1};
    const std::string what = cat("gathered text ", number);
    const Waiting waiting{pulse(), cat("all ranks, ", what)};
    if (!speaks()) {
        const std::uint64_t length = mine.size();
        const auto first = send(0, length_tag, buffer_with(&length, sizeof length), what);
        const auto second = send(0, body_tag, buffer_with(mine.data(), mine.size()), what);
        first.wait();
        second.wait();
        return {};
    }
    const auto size = everyone().size();
    std::vector<Buffer> buffers(size);
    std::vector<Future> futures(size);
    const auto receive_all = [&](Tag tag, const auto& bytes_of) {
        for (std::size_t rank = 1; rank < size; ++rank) {
            buffers[rank] = make_buffer(bytes_of(rank));
            futures[rank] = receive(static_cast<int>(rank), tag, buffers[rank], what);
        }
        for (const auto& future : futures) future.wait();
    };
    receive_all(length_tag, [](std::size_t) { return sizeof(std::uint64_t); });
    std::vector<std::uint64_t> lengths(size);
    for (std::size_t rank = 1; rank < size; ++rank) std::memcpy(&lengths[rank], buffers[rank].bytes.data(), sizeof(std::uint64_t));
    receive_all(body_tag, [&](std::size_t rank) { return lengths[rank]; });
    std::vector<std::string> all(size);
    all[0] = mine;
    for (std::size_t rank = 1; rank < size; ++rank) all[rank].assign(reinterpret_cast<const char*>(buffers[rank].bytes.data()), lengths[rank]);
    return all;
}

std::string Transport::broadcast(const std::string& text) {
    const std::int64_t number = state_->texts++;
    const Tag length_tag{text_kind, 2 * number};
    const Tag body_tag{text_kind, 2 * number + 1};
    const std::string what = cat("broadcast text ", number);
    const Waiting waiting{pulse(), cat(speaks() ? "all ranks, " : "rank 0, ", what)};
    if (speaks()) {
        const std::uint64_t length = text.size();
        const auto length_buffer = buffer_with(&length, sizeof length);
        const auto body = buffer_with(text.data(), text.size());
        std::vector<Future> futures;
        for (std::size_t rank = 1; rank < everyone().size(); ++rank) {
            futures.push_back(send(static_cast<int>(rank), length_tag, length_buffer, what));
            futures.push_back(send(static_cast<int>(rank), body_tag, body, what));
        }
        for (const auto& future : futures) future.wait();
        return text;
    }
    std::uint64_t length = 0;
    const auto length_buffer = make_buffer(sizeof length);
    receive(0, length_tag, length_buffer, what).wait();
    std::memcpy(&length, length_buffer.bytes.data(), sizeof length);
    const auto body = make_buffer(length);
    receive(0, body_tag, body, what).wait();
    return {reinterpret_cast<const char*>(body.bytes.data()), length};
}

void Transport::barrier() {
    static_cast<void>(gather(""));
    static_cast<void>(broadcast(""));
}

DeviceTransfers Transport::use_device_transfers(const DeviceOffer& mine, DeviceWish wish) {
    if (everyone().size() == 1 && wish == DeviceWish::where_possible) return {false, "none: a lone rank sends nothing"};
    const Waiting waiting{pulse(), "all ranks, to open transfers between GPUs"};
    auto result = state_->courier.use_device_transfers(mine);
    if (!result.on && wish == DeviceWish::required) refuse(cat("transfers between GPUs were asked for, but cannot be. What would be: ", result.reason));
    return result;
}
bool Transport::carries_device() const {
    return state_->courier.carries_device();
}

Traffic Transport::traffic() const {
    return state_->courier.traffic();
}
Pulse& Transport::pulse() {
    return state_->courier.pulse;
}
void Transport::set_stall_s(double seconds) {
    state_->courier.set_stall_s(seconds);
}
void Transport::set_on_verdict(std::function<void(const Verdict&)> on_verdict) {
    state_->courier.set_on_verdict(std::move(on_verdict));
}
void Transport::fail(ExitCode code, const std::string& text) {
    state_->courier.fail(code, text);
}
int Transport::leave(int code, std::function<void()> last_word) {
    return state_->courier.leave(code, std::move(last_word));
}

void together(Transport& transport, const std::function<void()>& work) {
    Json mine{{"code", 0}, {"text", ""}};
    const auto note = [&](ExitCode code, const std::string& text) { mine = {{"code", static_cast<int>(code)}, {"text", text}}; };
    try {
        work();
    } catch (const std::exception& error) {
        note(exit_code_of(error), text_of(error));
    }
    const auto dumped = [](const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); };
    const auto all = transport.gather(dumped(mine));
    Json sum{{"code", 0}, {"text", ""}, {"culprit", ""}};
    std::vector<std::pair<std::string, std::vector<std::string>>> texts;  // each with the names of its ranks
    std::size_t failed = 0;
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
        const auto one = Json::parse(all[rank]);
        if (one.at("code") == 0) continue;
        const auto name = transport.everyone()[rank].name();
        if (failed++ == 0) {
            sum["code"] = one.at("code");
            sum["culprit"] = name;
        }
        const auto text = one.at("text").get<std::string>();
        const auto same = std::find_if(texts.begin(), texts.end(), [&](const auto& known) { return known.first == text; });
        if (same == texts.end())
            texts.emplace_back(text, std::vector{name});
        else
            same->second.push_back(name);
    }
    if (texts.size() == 1 && failed == all.size()) {
        sum["culprit"] = "";
        sum["text"] = texts.front().first;
    } else {
        std::vector<std::string> lines;
        lines.reserve(texts.size());
        for (const auto& [text, names] : texts) lines.push_back(cat(join(names), ": ", text));
        sum["text"] = join(lines, "\n");
    }
    const auto result = Json::parse(transport.broadcast(dumped(sum)));
    if (result.at("code") == 0) return;
    throw JobRefused(static_cast<ExitCode>(result.at("code").get<int>()), result.at("text").get<std::string>(), result.at("culprit").get<std::string>());
}

}  // namespace weft::comm

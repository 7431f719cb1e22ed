#include "comm/transfer.hpp"

#include "base/stop.hpp"
#include "base/text.hpp"
#include "comm/office.hpp"

#include <algorithm>
#include <chrono>
#include <new>

namespace weft::comm {

std::string told(const Verdict& verdict) {
    return verdict.culprit.empty() ? verdict.text : cat(verdict.culprit, ": ", verdict.text);
}

Buffer make_buffer(std::size_t bytes) {
    constexpr std::align_val_t border{64};
    const std::shared_ptr<void> keeper{::operator new(std::max<std::size_t>(bytes, 1), border), [](void* raw) { ::operator delete(raw, border); }};
    return {{static_cast<std::byte*>(keeper.get()), bytes}, keeper, {}};
}

Future::Future() = default;
Future::Future(std::shared_ptr<State> state) : state_{std::move(state)} {}

bool Future::ready() const {
    if (!state_) return true;
    const std::lock_guard lock{state_->office->mutex};
    return state_->done;
}

void Future::wait() const {
    if (!state_) return;
    auto& office = *state_->office;
    std::unique_lock lock{office.mutex};
    ++office.waiting;
    office.bell.wait(lock, [&] { return state_->done || office.over || stop::requested(); });
    --office.waiting;
    if (state_->done && state_->wrong.empty()) return;
    if (state_->done) throw Error(ExitCode::rank_failed, state_->wrong);
    if (office.over) throw Error(ExitCode::rank_failed, told(*office.over));
    lock.unlock();
    stop::here_if_requested();
    wait();  // the request was taken back
}

double Future::ended_s() const {
    if (!state_) return 0;
    const std::lock_guard lock{state_->office->mutex};
    return state_->ended_s;
}

bool Future::wait_for(double seconds) const {
    if (!state_) return true;
    auto& office = *state_->office;
    std::unique_lock lock{office.mutex};
    ++office.waiting;
    office.bell.wait_for(lock, std::chrono::duration<double>{seconds}, [&] { return state_->done || office.over; });
    --office.waiting;
    if (state_->done && !state_->wrong.empty()) throw Error(ExitCode::rank_failed, state_->wrong);
    if (!state_->done && office.over) throw Error(ExitCode::rank_failed, told(*office.over));
    return state_->done;
}

Traffic::Count Traffic::of_kind(int kind) const {
    Count sum;
    for (const auto& [key, count] : sent) {
        if (key.first != kind) continue;
        sum.messages += count.messages;
        sum.bytes += count.bytes;
    }
    return sum;
}

}  // namespace weft::comm

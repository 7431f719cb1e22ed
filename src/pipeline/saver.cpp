#include "pipeline/saver.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/stop.hpp"
#include "base/text.hpp"
#include "pipeline/threads.hpp"

#include <chrono>
#include <cstring>
#include <optional>
#include <span>

namespace weft::pipeline {

namespace {
constexpr std::size_t steps_on_their_way = 2;
constexpr double hurry_s = 2;
}  // namespace

Saver::Saver(Write write, const plan::Plan& plan, std::atomic<std::int64_t>& steps_done, double save_every_s, Events& events)
    : write_{std::move(write)},
      plan_{plan},
      save_every_s_{save_every_s},
      events_{events},
      steps_done_{steps_done},
      steps_saved_{steps_done},
      thread_{helper_thread([this] { work(); })} {}

Saver::~Saver() {
    dropped_ = true;
    end_thread();
}

void Saver::end_thread() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Saver::add(std::int64_t steps_done, std::vector<Part> parts) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_ || gave_up_ || queue_.size() < steps_on_their_way; });
    if (error_) std::rethrow_exception(error_);
    throw_if_given_up();
    queue_.push_back({steps_done, std::move(parts)});
    changed_.notify_all();
}

HostLatents Saver::finish() {
    end_thread();
    if (error_) std::rethrow_exception(error_);
    throw_if_given_up();
    return newest_;
}

void Saver::throw_if_given_up() const {
    if (!gave_up_) return;
    stop::here_if_requested();
    fail("a step's frames did not come");
}

std::exception_ptr Saver::finish_early() noexcept {
    hurried_ = true;
    end_thread();
    return error_;
}

void Saver::work() noexcept {
    try {
        for (;;) {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return ending_ || !queue_.empty(); });
            if (queue_.empty() || dropped_) break;
            const auto& step = queue_.front();  // stays in the queue, and so counts, until it is gathered; others only add behind it
            lock.unlock();
            const bool whole = gather(step);
            const auto steps_done = step.steps_done;
            lock.lock();
            queue_.pop_front();
            gave_up_ = !whole;
            changed_.notify_all();
            lock.unlock();
            if (!whole) break;
            steps_done_ = steps_done;
            if (since_save_.seconds() >= save_every_s_ || steps_done == plan_.steps) save();
            events_.emit("step", {{"step", steps_done},
                                  {"seconds", since_step_.seconds()},
                                  {"saved", steps_saved_ == steps_done},
                                  {"hash", hex_digest(std::as_bytes(std::span(*newest_)))}});
            since_step_.restart();
        }
        if (!dropped_ && steps_saved_ < steps_done_) save();
    } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        changed_.notify_all();
    }
}

bool Saver::gather(const Step& step) {
    // What is not saved yet stays whole until the next step is.
    auto into = newest_ && steps_saved_ == steps_done_ && newest_.use_count() == 1 ? std::move(newest_) : std::make_shared<std::vector<float>>();
    const auto elements = static_cast<std::size_t>(plan_.frame_elements());
    into->resize(static_cast<std::size_t>(plan_.num_latents) * elements);
    std::optional<Stopwatch> hurrying;
    const auto gave_up = [&] {
        if ((hurried_ || stop::requested()) && !hurrying) hurrying.emplace();
        return dropped_ || (hurrying && hurrying->seconds() > hurry_s);
    };
    for (const auto& part : step.parts) {
        while (!part.arrived.wait_for(0.1))
            if (gave_up()) return false;
        while (part.buffer.ready && !part.buffer.ready()) {
            if (gave_up()) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        const auto* from = part.buffer.bytes.data();
        for (const auto& range : part.frames) {
            const auto bytes = static_cast<std::size_t>(range.size()) * elements * sizeof(float);
            std::memcpy(into->data() + static_cast<std::size_t>(range.begin) * elements, from, bytes);
            from += bytes;
        }
        ensure(from == part.buffer.bytes.data() + part.buffer.bytes.size(), "the frames of a saved step are as many as its bytes");
    }
    newest_ = std::move(into);
    return true;
}

void Saver::save() {
    write_(steps_done_, *newest_);
    steps_saved_ = steps_done_;
    since_save_.restart();
}

}  // namespace weft::pipeline

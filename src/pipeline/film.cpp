#include "pipeline/film.hpp"

#include "base/error.hpp"
#include "base/stop.hpp"
#include "base/stopwatch.hpp"
#include "base/text.hpp"
#include "pipeline/kinds.hpp"
#include "pipeline/threads.hpp"

#include <cstring>
#include <deque>

namespace weft::pipeline {

namespace {
constexpr std::size_t own_chunks = 2;       // decoded here and not encoded yet
constexpr std::size_t received_chunks = 4;  // of other ranks, on their way or here
constexpr const char* ended_early = "the film ended before all its chunks were there";
}  // namespace

Film::Film(Write write, const plan::Plan& plan, const FilmShape& shape, comm::Transport& transport, Events& events, Progress& progress)
    : write_{std::move(write)}, plan_{plan}, shape_{shape}, transport_{transport}, events_{events}, progress_{progress}, thread_{helper_thread([this] {
          work();
      })} {}

Film::~Film() {
    {
        const std::lock_guard lock(mutex_);
        ending_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable()) thread_.join();
}

void Film::add(std::int64_t chunk, comm::Buffer frames) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return error_ || own_.size() < own_chunks; });
    if (error_) std::rethrow_exception(error_);
    own_.emplace(chunk, std::move(frames));
    changed_.notify_all();
}

void Film::finish() {
    if (thread_.joinable()) thread_.join();
    if (error_) std::rethrow_exception(error_);
}

comm::Buffer Film::own_chunk(std::int64_t chunk) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ending_ || own_.contains(chunk); });
    if (!own_.contains(chunk)) fail(ended_early);
    auto frames = std::move(own_.extract(chunk).mapped());
    changed_.notify_all();
    return frames;
}

void Film::wait_for_arrival(const comm::Future& arrived) {
    while (!arrived.wait_for(0.1)) {
        stop::here_if_requested();
        const std::lock_guard lock(mutex_);
        if (ending_) fail(ended_early);
    }
}

void Film::work() noexcept {
    try {
        struct Coming {
            comm::Buffer frames;
            comm::Future arrived;
        };
        std::deque<Coming> coming;
        std::int64_t asked = 0;  // chunks before this one are asked for
        const auto num_chunks = static_cast<std::int64_t>(plan_.decode.size());
        for (std::int64_t chunk = 0; chunk < num_chunks; ++chunk) {
            for (; asked < num_chunks && coming.size() < received_chunks; ++asked) {
                const int from = plan_.decoder[static_cast<std::size_t>(asked)];
                if (from == plan::writer) continue;
                auto room = comm::make_buffer(shape_.bytes(plan_.decode[static_cast<std::size_t>(asked)]));
                auto arrived = transport_.receive(from, tag(Kind::frames, asked), room, cat("frames of chunk ", asked + 1));
                coming.push_back({std::move(room), std::move(arrived)});
            }
            if (plan_.decoder[static_cast<std::size_t>(chunk)] == plan::writer) {
                write_chunk(chunk, own_chunk(chunk));
                continue;
            }
            wait_for_arrival(coming.front().arrived);
            write_chunk(chunk, coming.front().frames);
            coming.pop_front();
        }
    } catch (...) {
        const std::lock_guard lock(mutex_);
        error_ = std::current_exception();
        changed_.notify_all();
    }
}

void Film::write_chunk(std::int64_t chunk, const comm::Buffer& frames) {
    const Stopwatch watch;
    const auto range = plan_.decode[static_cast<std::size_t>(chunk)];
    const auto bytes = static_cast<std::size_t>(shape_.width) * static_cast<std::size_t>(shape_.height) * 3;
    io::Picture picture{.width = shape_.width, .height = shape_.height, .rgb = std::vector<std::uint8_t>(bytes)};
    for (std::int64_t frame = 0; frame < shape_.shown(range); ++frame, ++written_) {
        std::memcpy(picture.rgb.data(), frames.bytes.data() + static_cast<std::size_t>(frame) * bytes, bytes);
        write_(picture);
    }
    events_.emit("chunk", {{"first", range.begin},
                           {"frames", range.size()},
                           {"rank", std::int64_t{plan_.decoder[static_cast<std::size_t>(chunk)]}},
                           {"encode_seconds", watch.seconds()}});
    progress_.show(chunk + 1, cat("frame ", written_, "/", plan_.num_frames - shape_.hidden_frames));
}

}  // namespace weft::pipeline

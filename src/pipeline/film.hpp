#pragma once
#include "base/events.hpp"
#include "comm/transport.hpp"
#include "io/picture.hpp"
#include "pipeline/progress.hpp"
#include "plan/plan.hpp"

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

namespace weft::pipeline {

/// The film's size and the frames in front of it that are not shown.
struct FilmShape {
    int width = 0;
    int height = 0;
    std::int64_t hidden_frames = 0;

    [[nodiscard]] std::int64_t shown(plan::FrameRange chunk) const { return chunk.end - std::max(chunk.begin, std::min(chunk.end, hidden_frames)); }
    [[nodiscard]] std::size_t bytes(plan::FrameRange chunk) const {
        return static_cast<std::size_t>(shown(chunk)) * static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3;
    }
};

/// The writer's thread that takes decoded chunks from all ranks in order and encodes them, while the next ones are decoded. Holds a bounded number of chunks.
class Film {
  public:
    /// Called by the thread with each frame in order.
    using Write = std::function<void(const io::Picture& frame)>;
    Film(Write write, const plan::Plan& plan, const FilmShape& shape, comm::Transport& transport, Events& events, Progress& progress);
    ~Film();
    Film(const Film&) = delete;
    Film& operator=(const Film&) = delete;

    /// A chunk that the writer decoded itself. Waits while two of its own are not encoded yet. Throws what failed in the thread.
    void add(std::int64_t chunk, comm::Buffer frames);

    /// Waits until all chunks are encoded. Throws what failed.
    void finish();

  private:
    void work() noexcept;
    [[nodiscard]] comm::Buffer own_chunk(std::int64_t chunk);
    void wait_for_arrival(const comm::Future& arrived);
    void write_chunk(std::int64_t chunk, const comm::Buffer& frames);

    Write write_;
    const plan::Plan& plan_;
    FilmShape shape_;
    comm::Transport& transport_;
    Events& events_;
    Progress& progress_;
    std::int64_t written_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::int64_t, comm::Buffer> own_;  // under mutex_
    bool ending_ = false;                       // under mutex_: no chunk comes any more
    std::exception_ptr error_;                  // under mutex_
    std::thread thread_;
};

}  // namespace weft::pipeline

#include "pipeline/progress.hpp"

#include "base/log.hpp"
#include "base/text.hpp"

namespace weft::pipeline {

Progress::Progress(std::string phase, std::int64_t total, std::function<std::int64_t()> memory)
    : phase_{std::move(phase)}, total_{total}, memory_{std::move(memory)} {}

void Progress::show(std::int64_t done, std::string_view where) {
    if (!memory_) return;
    const auto now = Clock::now();
    const auto seconds = std::chrono::duration<double>(now - start_).count();
    std::string line = cat(phase_, "  ", where);
    if (done > 0 && done < total_) line += cat(", ", human_seconds(seconds / static_cast<double>(done) * static_cast<double>(total_ - done)), " left");
    line += cat(", ", human_bytes(memory_()), " in use");
    if (log::on_terminal())
        log::progress(done < total_ ? std::string_view{line} : std::string_view{});
    else if (now - last_plain_ >= std::chrono::seconds(10)) {
        last_plain_ = now;
        log::info(line);
    }
}

}  // namespace weft::pipeline

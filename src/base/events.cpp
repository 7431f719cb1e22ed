#include "base/events.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <fstream>
#include <mutex>

namespace weft {

struct Events::Sink {
    std::ofstream out;
    std::mutex mutex;
    std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

Events::Events() = default;
Events::~Events() = default;

Events::Events(const std::filesystem::path& path) : sink_{std::make_unique<Sink>()} {
    sink_->out.open(path, std::ios::app);
    if (!sink_->out) refuse(cat("--events ", path.string(), ": cannot be written; name a file in a folder that exists"));
}

void Events::emit(std::string_view event, std::span<const Field> fields) {
    if (!sink_) return;
    nlohmann::ordered_json line;
    line["event"] = event;
    line["t"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - sink_->start).count();
    for (const auto& field : fields) std::visit([&](const auto& value) { line[std::string(field.name)] = value; }, field.value);
    const std::lock_guard lock(sink_->mutex);
    // A library's text may hold anything: what is not UTF-8 is replaced, or dump() would throw.
    sink_->out << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n' << std::flush;
}

}  // namespace weft

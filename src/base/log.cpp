#include "base/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <memory>

namespace weft::log {

namespace {
spdlog::logger& out() {
    static const auto logger = [] {
        auto made = std::make_shared<spdlog::logger>("out", std::make_shared<spdlog::sinks::stdout_sink_mt>());
        made->set_pattern("%v");
        made->flush_on(spdlog::level::info);
        return made;
    }();
    return *logger;
}

spdlog::logger& err() {
    static const auto logger = [] {
        auto made = std::make_shared<spdlog::logger>("err", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made->set_pattern("%l: %v");
        return made;
    }();
    return *logger;
}

bool progress_shown = false;
std::string prefix;
std::atomic<bool> quiet{false};
std::atomic<bool> plain{false};

void clear_progress() {
    if (!progress_shown) return;
    std::fputs("\r\033[K", stdout);
    std::fflush(stdout);
    progress_shown = false;
}
}  // namespace

void speak_only_of_trouble(const std::string& name) {
    prefix = "[" + name + "] ";
    quiet = true;
}

void never_rewrite_lines() {
    plain = true;
}

bool on_terminal() {
    static const bool terminal = ::isatty(STDOUT_FILENO) == 1;
    return terminal && !quiet && !plain;
}

void info(std::string_view line) {
    if (quiet) return;
    clear_progress();
    out().info("{}", line);
}

void warn(std::string_view line) {
    clear_progress();
    err().warn("{}{}", prefix, line);
}

void error(std::string_view line) {
    clear_progress();
    err().error("{}{}", prefix, line);
}

void progress(std::string_view line) {
    if (!on_terminal()) return;
    clear_progress();
    if (line.empty()) return;
    std::fwrite(line.data(), 1, line.size(), stdout);
    std::fflush(stdout);
    progress_shown = true;
}

}  // namespace weft::log

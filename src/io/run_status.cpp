#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "io/run_file.hpp"

#include <nlohmann/json.hpp>

#include <exception>

namespace weft::io {

std::filesystem::path status_path(const std::filesystem::path& run_file) {
    auto path = run_file;
    if (path.extension() == ".h5") return path.replace_extension(".status");
    return path += ".status";
}

void write_status(const std::filesystem::path& run_file, const RunStatus& status) noexcept {
    try {
        const nlohmann::ordered_json json{
            {"code", status.code}, {"phase", status.phase}, {"step", status.step}, {"text", status.text}, {"culprit", status.culprit}};
        // A library's text may hold anything: what is not UTF-8 is replaced, or dump() would throw.
        write_atomically(status_path(run_file), json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
    } catch (const std::exception& error) {
        try {
            log::warn(cat("the status file could not be written: ", error.what()));
        } catch (...) {  // nothing is left to tell it to
        }
    }
}

}  // namespace weft::io

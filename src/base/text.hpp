#pragma once
#include <cstdint>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

/// The arguments written one behind the other, as `operator<<` writes them.
template <class... Parts>
[[nodiscard]] std::string cat(const Parts&... parts) {
    std::ostringstream out;
    (out << ... << parts);
    return std::move(out).str();
}

/// "a, b, c"
template <class Range>
[[nodiscard]] std::string join(const Range& range, std::string_view separator = ", ") {
    std::ostringstream out;
    bool first = true;
    for (const auto& part : range) {
        if (!first) out << separator;
        out << part;
        first = false;
    }
    return std::move(out).str();
}

/// "5.1 MiB"
[[nodiscard]] std::string human_bytes(std::int64_t bytes);

/// "0.42 s", "3 min 05 s", "2 h 03 min"
[[nodiscard]] std::string human_seconds(double seconds);

/// `value` with `digits` behind the point.
[[nodiscard]] std::string fixed(double value, int digits);

/// The entry of `known` that is spelled most like `word` (least edit distance), or "" when none is close.
[[nodiscard]] std::string nearest(std::string_view word, std::span<const std::string> known);

/// `text` in double quotes, control characters escaped as in TOML and JSON.
[[nodiscard]] std::string in_quotes(std::string_view text);

/// Up to the first end of a line.
[[nodiscard]] std::string first_line(std::string_view text);

[[nodiscard]] std::vector<std::string> split(std::string_view text, char separator);

}  // namespace weft

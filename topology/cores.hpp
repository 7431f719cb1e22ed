#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

/// Lists of logical CPUs, as the system writes them. Of topology/ alone.
namespace weft::topology {

/// "0-3,8" as numbers, in the order given; what is no number is left out.
[[nodiscard]] std::vector<int> parse_cores(std::string_view list);

/// Ascending numbers as "0-3,8".
[[nodiscard]] std::string list_cores(const std::vector<int>& cores);

/// One logical CPU of each physical core, ascending; then the second ones, and so on. `siblings_of(core)`: all logical CPUs of its physical core.
[[nodiscard]] std::vector<int> physical_first(const std::vector<int>& cores, const std::function<std::vector<int>(int)>& siblings_of);

}  // namespace weft::topology

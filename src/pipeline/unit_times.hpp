#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"
#include "plan/shape.hpp"

#include <array>
#include <filesystem>
#include <map>
#include <string>

/// Times of units as `weft bench units` measured them on this machine, for plans to weigh.
namespace weft::pipeline {

/// Seconds of a unit on a whole slice, by branch.
using UnitTimes = std::map<std::string, std::array<double, 2>>;

/// Where the times of this model's units on this kind of device are kept, for slices and videos of this size: below $XDG_CACHE_HOME/weft, or ~/.cache/weft.
[[nodiscard]] std::filesystem::path unit_times_path(const Settings& settings, const ComputeDevice& device);

/// The file's text; "" where there is none.
[[nodiscard]] std::string read_unit_times(const std::filesystem::path& path);

/// JSON: {"units": {"conv_in": [unconditional, conditional], ...}}. Refuses (exit code 2) what is none.
[[nodiscard]] UnitTimes parse_unit_times(const std::string& text);
[[nodiscard]] std::string to_json(const UnitTimes& times, const std::string& what);

/// The shape with these costs; a unit's pieces share its time by their frames. Refuses (exit code 2) times that lack a unit.
[[nodiscard]] plan::PassShape with_unit_times(plan::PassShape shape, const UnitTimes& times);

}  // namespace weft::pipeline

#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"

#include <map>
#include <string>
#include <vector>

namespace weft::pipeline {

/// All that the bits of a result are a function of (design.md section 8), as lines "what = value" and their hash.
struct Numerics {
    std::vector<std::string> facts;
    std::string key;
};
[[nodiscard]] Numerics make_numerics(const Settings& settings, const ComputeDevice& device, const std::map<std::string, std::string>& weights,
                                     const std::string& input_digest);

struct Difference {
    std::string what;
    std::string before;  ///< "nothing" where the fact is on one side only
    std::string now;
};
/// The facts that differ: of another job's run file, or of another rank.
[[nodiscard]] std::vector<Difference> differences(const std::vector<std::string>& before, const std::vector<std::string>& now);

/// Facts as a table at the end of the run file's settings, and back.
[[nodiscard]] std::string facts_toml(const Numerics& numerics);
[[nodiscard]] std::vector<std::string> facts_of(const std::string& settings_text);
/// What stands in front of that table: the settings alone, which `parse_settings` reads.
[[nodiscard]] std::string without_facts(const std::string& settings_text);

}  // namespace weft::pipeline

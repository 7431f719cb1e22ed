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

/// The facts that differ, each as "what: was, is"; for the refusal of another job's run file.
[[nodiscard]] std::vector<std::string> differences(const std::vector<std::string>& before, const std::vector<std::string>& now);

/// Facts as a table at the end of the run file's settings, and back.
[[nodiscard]] std::string facts_toml(const Numerics& numerics);
[[nodiscard]] std::vector<std::string> facts_of(const std::string& settings_text);

}  // namespace weft::pipeline

#pragma once
#include "base/error.hpp"

#include <filesystem>
#include <string>

namespace weft::model {

/// `weft inspect --keys`: every key that the config files of a model folder ask for, as "key TAB shape TAB elements" lines with the file's prefix,
/// and what of it the weight files there lack, misshape or have beyond.
struct KeysReport {
    std::string listing;
    Mistakes mistakes;
};
/// Lists from the config files alone where weight files are absent. Refuses (exit code 2) a folder without usable config files.
[[nodiscard]] KeysReport report_keys(const std::filesystem::path& folder);

}  // namespace weft::model

#include "pipeline/unit_times.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <span>

namespace weft::pipeline {

std::filesystem::path unit_times_path(const Settings& settings, const ComputeDevice& device) {
    const char* const cache = std::getenv("XDG_CACHE_HOME");
    const char* const home = std::getenv("HOME");
    const auto folder = cache != nullptr && *cache != 0 ? std::filesystem::path(cache) : std::filesystem::path(home != nullptr ? home : ".") / ".cache";
    const auto model =
        settings.model.path == "random" ? settings.model.path : std::filesystem::absolute(settings.input_path(settings.model.path)).lexically_normal().string();
    const auto what = cat(model, "\n", device.numerics_class, "\n", static_cast<int>(resolve_dtype(settings.model.dtype, device, "model.dtype")), "\n",
                          settings.device.threads, "\n", settings.video.width, "x", settings.video.height, "x", settings.slices.length);
    return folder / "weft" / "units" / cat(hex_digest(std::as_bytes(std::span(what))), ".json");
}

std::string read_unit_times(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return in ? std::string(std::istreambuf_iterator<char>(in), {}) : std::string();
}

UnitTimes parse_unit_times(const std::string& text) {
    UnitTimes times;
    try {
        const auto json = nlohmann::json::parse(text);
        for (const auto& [name, seconds] : json.at("units").items()) {
            times[name] = seconds.get<std::array<double, 2>>();
            for (const auto one : times[name])
                if (!(one >= 0 && one < 1e6)) refuse(cat("measured times: ", one, " s for unit ", name, "; measure again with weft bench units"));
        }
    } catch (const nlohmann::json::exception& error) {
        refuse(cat("measured times: ", error.what(), "; measure again with weft bench units"));
    }
    return times;
}

std::string to_json(const UnitTimes& times, const std::string& what) {
    nlohmann::ordered_json json{{"what", what}, {"units", nlohmann::ordered_json::object()}};
    for (const auto& [name, seconds] : times) json["units"][name] = seconds;
    return json.dump(1) + "\n";
}

plan::PassShape with_unit_times(plan::PassShape shape, const UnitTimes& times) {
    for (auto& piece : shape.pieces) {
        const auto& name = shape.units.at(static_cast<std::size_t>(piece.unit)).name;
        const auto found = times.find(name);
        if (found == times.end()) refuse(cat("measured times lack unit ", name, "; measure again with weft bench units"));
        const auto share = static_cast<double>(piece.slots.size()) / static_cast<double>(shape.num_slots);
        for (const std::size_t branch : {0U, 1U}) piece.cost[branch] = std::max<std::int64_t>(1, std::llround(found->second[branch] * share * 1e9));
    }
    return shape;
}

}  // namespace weft::pipeline

#pragma once
#include "base/settings.hpp"
#include "pipeline/unit_times.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace weft::pipeline {

/// What `weft bench` measures: the real networks on made-up inputs, without picture, poses or film.
struct BenchRequest {
    Settings settings;                ///< model, video size, slices.length (frames of the pass), decode.chunk, device
    std::vector<std::string> pieces;  ///< of "encode", "pass", "step", "decode"
    int warm_up = 1;
    int repeats = 5;
};

struct BenchRow {
    std::string piece;
    std::int64_t frames = 0;
    std::vector<double> seconds;      ///< wall, one a repeat
    std::vector<double> cpu_seconds;  ///< of the process
    std::int64_t peak_bytes = 0;      ///< tensors, weights included
    std::int64_t weight_bytes = 0;
    std::int64_t resident_anonymous = 0;  ///< RssAnon after the last repeat

    [[nodiscard]] double median() const;
    [[nodiscard]] double median_cpu() const;
};

struct BenchReport {
    std::string device;
    std::string shape;
    std::vector<BenchRow> rows;
};

/// Refuses (exit code 2) unknown pieces and wrong settings.
[[nodiscard]] BenchReport run_bench(const BenchRequest& request);

[[nodiscard]] std::string as_table(const BenchReport& report);
[[nodiscard]] std::string as_json(const BenchReport& report);

/// Times of the denoiser's units on this machine.
struct UnitReport {
    std::string what;            ///< device, type, size
    std::filesystem::path path;  ///< where jobs of this model, size and device look for them
    UnitTimes times;
    plan::PassShape modelled;  ///< to compare with
};

/// Runs whole passes of both branches on a slice of noise: `repeats` after one that does not count; of each unit the least time. Refuses (exit code 2) wrong
/// settings.
[[nodiscard]] UnitReport bench_units(const Settings& settings, int repeats);
[[nodiscard]] std::string as_table(const UnitReport& report);

}  // namespace weft::pipeline

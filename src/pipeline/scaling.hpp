#pragma once
#include "base/settings.hpp"
#include "comm/transport.hpp"
#include "pipeline/trace.hpp"
#include "plan/plan.hpp"
#include "plan/simulate.hpp"

#include <array>
#include <functional>
#include <string>
#include <vector>

/// `weft bench scaling`: real plans, programs, transports, buffers and blending, with units that sleep for the time that the plan says they take.
namespace weft::pipeline {

/// How the clip falls into slices.
enum class Clip {
    frames,  ///< as the settings say: MimicMotion's slices of a clip of so many frames
    chain,   ///< neighbours share frames
    ring,    ///< the last slice shares frames with the first, too
};

enum class Phase { denoise, decode };

struct ScalingRequest {
    Phase phase = Phase::denoise;
    Settings settings;  ///< video size, slices, sampling.steps, guidance, layout
    Clip clip = Clip::frames;
    std::int64_t length = 531;  ///< frames of the clip, with the reference; of a chain or ring its slices
    plan::PassShape shape;      ///< true costs
    std::vector<int> ranks;     ///< each a row; with a launcher's ranks only theirs
    std::function<plan::Links(int num_ranks)> links;
    std::int64_t payload = 64;  ///< hidden states and skips travel with one in so many of their bytes, the rest of their time being waited for
    double time_scale = 0;      ///< seconds slept a second of the plan; 0: so that a step's exchange costs this machine 0.5 % of the step
    bool steps_given = false;   ///< settings.sampling.steps count; else as many as the minutes allow, at least one
    double minutes = 9;         ///< for the table
    int at_once = 3;            ///< rows of the table measured side by side
    Events* events = nullptr;   ///< hears of the last row's trace
};

/// One number of ranks, in seconds of the plan (measured ones divided by the time scale).
struct ScalingRow {
    int ranks = 1;
    std::string layout;
    std::int64_t steps = 0;
    double load_bound = 0;
    double one_rank_s = 0;  ///< sum of all costs
    double seconds = 0;     ///< measured, from the first task to the end of the last rank
    double predicted_s = 0;
    std::array<double, plan::num_idle> idle{};  ///< measured shares
    std::array<double, plan::num_idle> predicted_idle{};
    double other = 0;  ///< share of blending, packing, and late sleeps
    double time_scale = 1;
    double exchange = 0;  ///< a step with nothing slept / the step
    double late_s = 0;    ///< the longest that a rank waited on after what it waited for had come; of this machine

    [[nodiscard]] double efficiency() const { return one_rank_s / (ranks * seconds); }
    [[nodiscard]] double predicted_efficiency() const { return one_rank_s / (ranks * predicted_s); }
};

/// Rows in the order of `request.ranks`, ranks as threads; `told` hears of each row. With `transport` (a launcher's ranks) one row, at rank 0 only.
[[nodiscard]] std::vector<ScalingRow> run_scaling(const ScalingRequest& request, comm::Transport* transport,
                                                  const std::function<void(const ScalingRow&)>& told);

/// Columns of a table for people; shares in %.
[[nodiscard]] std::string table_head();
[[nodiscard]] std::string table_line(const ScalingRow& row);
[[nodiscard]] std::string as_json(const std::vector<ScalingRow>& rows, const std::string& what);
/// Efficiency over ranks: measured, predicted, and what the loads allow. SVG.
[[nodiscard]] std::string as_plot(const std::vector<ScalingRow>& rows, const std::string& what);

/// What tasks, waits and transfers say of a run, as the simulator counts; in seconds as slept, without `steps_s`.
[[nodiscard]] plan::Prediction measured(const std::vector<std::vector<Trace::Entry>>& traces, const std::vector<plan::Program>& programs);

}  // namespace weft::pipeline

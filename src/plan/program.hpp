#pragma once
#include "plan/pass.hpp"
#include "plan/slices.hpp"

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace weft::plan {

struct Plan;

enum class Cargo : int {
    prediction = 0,  ///< a pass's output for frames that another rank owns, [frames, channels, h, w] in the network's type
    latents = 1,     ///< frames after a step, [frames, channels, h, w] fp32, to a rank that runs passes over them
    saved = 2,       ///< the same, to the writer alone, for the run file
};

/// Bytes that travel once from one rank to another.
struct Message {
    std::int64_t number = 0;  ///< unique, ascending in the plan's total order of sends
    Cargo cargo = Cargo::prediction;
    int from = 0;
    int to = 0;
    Pass pass;           ///< of a prediction; otherwise only its step counts: latents with step + 1 steps complete
    FrameRanges frames;  ///< latent frames, ascending
};
[[nodiscard]] std::int64_t bytes_of(const Plan& plan, const Message& message);
[[nodiscard]] std::string describe(const Message& message);

/// Makes room for a message and posts its receive. Stands as early as the rank's work on the same step, so that a send seldom waits.
struct Receive {
    Message message;
    int uses = 1;  ///< a Take, and at the writer a Save, in either order: so often the bytes are asked for
};
/// Waits for a message and puts its frames where they belong.
struct Take {
    Message message;
};
/// Runs a task.
struct Compute {
    Task task;
};
/// The owner of these frames sums their contributions in slice order, guides, and steps them.
struct Advance {
    std::int64_t step = 0;
    FrameRanges frames;
};
/// Packs a message and posts its send; does not wait.
struct Send {
    Message message;
};
/// Writer only: all frames have `steps_done` steps complete, or are on their way here. `own`: frames that the writer advanced itself; `messages`: numbers of
/// those that bring the rest (latents and saved), whose receives were posted before.
struct Save {
    std::int64_t steps_done = 0;
    FrameRanges own;
    std::vector<std::int64_t> messages;
};
using Operation = std::variant<Receive, Take, Compute, Advance, Send, Save>;

/// What one rank does, in order; frozen before the start.
using Program = std::vector<Operation>;

/// Simulates the job with integer costs from `first_step` on and freezes what each rank does, in which order; one program a rank.
[[nodiscard]] std::vector<Program> compile(const Plan& plan, std::int64_t first_step);

[[nodiscard]] std::string describe(const Operation& operation);

}  // namespace weft::plan

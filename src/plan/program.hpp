#pragma once
#include "plan/pass.hpp"
#include "plan/slices.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace weft::plan {

struct Plan;

/// What a message carries. Numbers are the tags' kinds; 3 to 5 are those of other phases (src/pipeline/kinds.hpp).
enum class Cargo : int {
    prediction = 0,  ///< a pass's output for frames that another rank owns, [frames, channels, h, w] in the network's type
    latents = 1,     ///< frames after a step, [frames, channels, h, w] fp32, to a rank that runs passes over them
    saved = 2,       ///< the same, to the writer alone, for the run file
    state = 6,       ///< a part of the hidden state of a pass that goes on at another rank, [slots, height, width, channels] in the network's type
    skip = 7,        ///< some frames of a skip, straight from where it was made to where it is used
    slot = 8,        ///< nothing but the word that a pass has ended and its slot is free
};

/// Bytes that travel once from one rank to another.
struct Message {
    std::int64_t number = 0;  ///< unique, ascending in the plan's total order of sends
    Cargo cargo = Cargo::prediction;
    int from = 0;
    int to = 0;
    Pass pass;              ///< of a prediction, state, skip or slot; otherwise only its step counts: latents with step + 1 steps complete
    FrameRanges frames;     ///< latent frames, ascending; of predictions and latents
    std::int64_t slot = 0;  ///< of the pass's route; of state and skip
    std::size_t room = 0;   ///< which of the route's rooms (plan/rooms.hpp); of state and skip
    std::int64_t bytes = 0;
};
[[nodiscard]] std::string_view name_of(Cargo cargo);
[[nodiscard]] std::string describe(const Message& message);

/// Does it move a pass on from one leg to another: a hidden state or a skip?
[[nodiscard]] constexpr bool between_legs(Cargo cargo) {
    return cargo == Cargo::state || cargo == Cargo::skip;
}

/// May the message travel from GPU to GPU? Words and what the run file takes live in host memory.
[[nodiscard]] bool for_device(const Message& message);

/// Makes room for a message and posts its receive. Stands as early as the room is there, so that a send seldom waits.
struct Receive {
    Message message;
    int uses = 1;  ///< a Take, and at the writer a Save, in either order: so often the bytes are asked for
};
/// Waits for a message and puts its content where it belongs.
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
/// Writer only: sets aside frames that it has just advanced, with `steps_done` steps complete, for the run file.
struct Keep {
    std::int64_t steps_done = 0;
    FrameRanges frames;
};
/// Writer only: what the saver is to gather for `steps_done` complete steps: the frames kept, and `messages`, numbers of those that bring the rest (latents and
/// saved). Their receives were posted before; they come while the writer goes on. Waits until the step two before is gathered.
struct Save {
    std::int64_t steps_done = 0;
    std::vector<std::int64_t> messages;
};
using Operation = std::variant<Receive, Take, Compute, Advance, Send, Keep, Save>;

/// What one rank does, in order; frozen before the start.
using Program = std::vector<Operation>;

/// Simulates the job with integer costs from `first_step` on and freezes what each rank does, in which order; one program a rank.
[[nodiscard]] std::vector<Program> compile(const Plan& plan, std::int64_t first_step);

[[nodiscard]] std::string describe(const Operation& operation);

/// Of a Receive, Take or Send; of others none.
[[nodiscard]] const Message* message_of(const Operation& operation);

/// Messages of a rank's program that may travel from GPU to GPU -> their places among them, by number: the order in which a transport moves them that knows
/// only one queue (compile.cpp says why none blocks).
[[nodiscard]] std::map<std::int64_t, std::int64_t> device_turns(const Program& program);

}  // namespace weft::plan

#pragma once
#include "plan/plan.hpp"
#include "plan/rooms.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <utility>
#include <vector>

namespace weft::plan {

/// An operation with its place in the play; a Receive has none, nor has a Save that was brought forward.
struct Numbered {
    std::int64_t number = -1;
    Operation operation;
};

/// A job played from one of its steps on, with integer costs and link times: what ranks do in it, in that order, are their programs. Internal to plan; the
/// rules of the play, and why programs made so end, stand in compile.cpp.
class Play {
  public:
    Play(const Plan& plan, std::int64_t first_step);

    /// Plays to the end; once.
    void run();

    [[nodiscard]] const std::vector<std::vector<Numbered>>& programs() const { return programs_; }
    [[nodiscard]] const std::vector<Message>& messages() const { return messages_; }
    /// By message: number from which on its room is there.
    [[nodiscard]] std::vector<std::int64_t> room_since() const;
    /// By message: number of its Send.
    [[nodiscard]] const std::vector<std::int64_t>& sent_at() const { return sent_at_; }

  private:
    using Time = std::int64_t;  // nanoseconds since the begin of the play
    using Key = std::array<std::int64_t, 3>;
    struct Leg {
        Key key;
        Pass pass;
        std::size_t leg = 0;
        bool operator<(const Leg& other) const { return key < other.key; }
    };
    /// What a rank is about.
    struct Player {
        std::set<Leg> ready;
        std::optional<Leg> running;
        std::map<std::int64_t, std::vector<std::int64_t>> to_advance;  // step -> frames with all contributions there
        std::map<std::int64_t, std::int64_t> latents;                  // frame -> message not taken yet
        std::map<Pass, std::int64_t> predictions;                      // message not taken yet
        std::vector<std::int64_t> begins;                              // by step: number of the first operation of its work on it
        std::map<std::int64_t, std::vector<std::int64_t>> unsent;      // step -> frames for the run file
        std::int64_t owned = 0;                                        // frames
        std::map<std::int64_t, std::int64_t> advanced;                 // step -> how many of them were advanced by it
        std::set<Leg> to_come;                                         // of the present and the next step, with strict order
    };
    /// A pass on its state.
    struct Flow {
        std::int64_t slot = 0;
        std::int64_t admitted = 0;                    // number
        std::vector<std::int64_t> missing;            // by leg: messages that have not come
        std::vector<std::set<std::int64_t>> to_take;  // by leg
    };
    struct FreeSlot {
        std::int64_t slot = 0;
        std::int64_t word = -1;  // message that brought the word of it, to be taken
    };
    struct RouteState {
        const Route* route = nullptr;
        std::vector<Room> rooms;
        bool needs_words = false;   // the first rank cannot know by itself that a slot is free
        std::int64_t to_admit = 0;  // passes of the whole job that are still to come
        std::int64_t words = 0;     // on their way
        std::deque<FreeSlot> free;
        std::set<std::pair<std::pair<std::int64_t, std::int64_t>, Pass>> waiting;  // ((step, place), pass): with latents, without a slot
        std::set<std::pair<std::pair<std::int64_t, std::int64_t>, Pass>> to_come;  // with strict order: passes to be admitted, in that order
    };
    struct Event {
        Time time = 0;
        std::int64_t order = 0;
        int rank = -1;              // whose leg ends, or
        std::int64_t message = -1;  // what arrives
        bool operator<(const Event& other) const { return std::pair(time, order) > std::pair(other.time, other.order); }
    };

    [[nodiscard]] std::int64_t place(const Pass& pass) const;
    void emit(int rank, Operation operation);
    std::int64_t send(Message message, std::int64_t room_since = std::numeric_limits<std::int64_t>::max());
    void take(int rank, const std::set<std::int64_t>& messages);

    void feed(const Pass& pass);
    void frames_are_there(int rank, std::int64_t steps_done, const std::vector<std::int64_t>& frames);
    bool admit(RouteState& state);
    [[nodiscard]] Leg leg_of(const Pass& pass, std::size_t leg) const;
    void make_ready(const Pass& pass, std::size_t leg);
    /// Strict order: the legs of a step are to come.
    void announce(std::int64_t step);
    [[nodiscard]] bool may_start(int rank) const;
    void contribute(const Pass& pass, const std::vector<std::int64_t>& frames);
    void start(int rank);
    void finish(int rank);
    void arrive(const Message& message);
    [[nodiscard]] bool may_advance(std::int64_t step, int rank) const;
    void advance(std::int64_t step, int rank);
    void send_frames(Cargo cargo, int from, int to, std::int64_t step, std::vector<std::int64_t> frames);
    /// Frames for the run file leave when the rank has what it needs for its next task: until then others may wait for the links. False where there are none.
    bool send_unsent(int rank);
    bool save();
    void settle();

    const Plan& plan_;
    std::int64_t first_step_;
    bool ring_;
    bool has_legs_ = false;                            // are passes run by several ranks?
    std::vector<std::vector<std::int64_t>> covering_;  // frame -> slices
    std::vector<std::vector<int>> readers_;            // frame -> ranks where passes over it begin, ascending
    LinkTimes link_times_;

    std::vector<Player> players_;
    std::vector<RouteState> routes_;
    std::map<Pass, Flow> flows_;
    std::priority_queue<Event> events_;
    std::int64_t next_event_ = 0;
    std::vector<std::int64_t> contributions_left_;                // by frame, for its present step
    std::vector<std::array<std::int64_t, 2>> frames_left_;        // by slice and branch, until its next step may begin
    std::vector<std::int64_t> unsaved_left_;                      // by step: frames not advanced yet
    std::map<std::int64_t, std::int64_t> unsent_;                 // by step: frames for the run file that have not left
    std::map<std::int64_t, std::vector<std::int64_t>> gathered_;  // by step: messages that its Save will name
    std::int64_t complete_;                                       // steps all of whose frames were advanced
    std::int64_t saved_;                                          // steps for which the writer has emitted Save

    Time now_ = 0;
    std::int64_t next_number_ = 0;
    std::vector<std::vector<Numbered>> programs_;
    std::vector<Message> messages_;
    std::vector<std::int64_t> sent_at_;     // by message
    std::vector<std::int64_t> room_since_;  // by message; largest number: with the receiver's work on its step
};

/// What the arguments in compile.cpp and the interpreter rely on. `programs`: of all ranks, with their receives.
void check(const Plan& plan, const std::vector<std::vector<Numbered>>& programs, std::size_t num_messages);

}  // namespace weft::plan

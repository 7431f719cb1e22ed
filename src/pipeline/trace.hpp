#pragma once
#include "base/events.hpp"
#include "comm/transport.hpp"
#include "plan/plan.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

namespace weft::pipeline {

/// What one rank did, and when: each operation of its program that takes time, the units of its tasks, its transfers, weights that were streamed. Written by
/// the compute thread alone.
class Trace {
  public:
    enum class Kind : int { task, unit, advance, wait, send, receive, fetch, stall };

    struct Entry {
        Kind kind = Kind::task;
        std::int64_t operation = 0;  ///< place in the rank's program
        /// Of a unit its piece; of a wait or transfer the message's number; of a fetch of weights, or of a stall for them, the unit.
        std::int64_t item = -1;
        double begin_s = 0;  ///< on this rank's clock
        double end_s = 0;
    };

    explicit Trace(bool on = false) : on_{on} {}
    [[nodiscard]] bool on() const { return on_; }
    /// The clock of entries: seconds that only grow.
    [[nodiscard]] static double now();
    /// All ranks call it together: entries count from here.
    void begin(comm::Transport& transport);
    void add(Kind kind, std::int64_t item, double begin_s, double end_s) {
        if (on_ && end_s >= begin_s_) entries_.push_back({kind, operation_, item, std::max(0.0, begin_s - begin_s_), end_s - begin_s_});
    }
    /// The operation that what follows belongs to.
    void at(std::int64_t operation) { operation_ = operation; }
    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }

  private:
    bool on_;
    double begin_s_ = 0;
    std::int64_t operation_ = 0;
    std::vector<Entry> entries_;
};

[[nodiscard]] std::string_view name_of(Trace::Kind kind);

/// Lamport's clock of every operation, by rank and place: larger than that of the operation before it on its rank, and than that of the Send of what it takes.
/// A leg that begins with a smaller number than another ends with need not wait for it.
struct LogicalTime {
    std::int64_t begin = 0, end = 0;
};
[[nodiscard]] std::vector<std::vector<LogicalTime>> logical_times(const std::vector<plan::Program>& programs);

/// All ranks call it together: at rank 0 everybody's entries, by rank; elsewhere none.
[[nodiscard]] std::vector<std::vector<Trace::Entry>> gather_traces(const Trace& mine, comm::Transport& transport);

/// An event "trace" for every entry of every rank, with what it was about. `programs`: of all ranks.
void emit_traces(const std::vector<std::vector<Trace::Entry>>& traces, const plan::Plan& plan, const std::vector<plan::Program>& programs, Events& events);

}  // namespace weft::pipeline

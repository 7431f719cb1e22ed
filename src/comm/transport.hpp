#pragma once
#include "comm/device_transfers.hpp"
#include "comm/pulse.hpp"
#include "comm/transfer.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

/// Moves bytes between ranks and watches over them. Knows neither what it carries nor why.
namespace weft::comm {

/// The face of all transports: a communication thread over one Link. The compute thread posts transfers and waits on futures; a rank that computes for a
/// minute still moves bytes, beats, and answers.
///
/// Control runs over letters, a star around rank 0: heartbeats, reports of failure, requests to stop, verdicts. A rank that fails, stalls, or falls silent
/// ends the job: the rank that finds out writes the verdict (`Watch::on_verdict`) and aborts the link. Rank 0's silence is found by the others, of whom the
/// lowest one alive speaks.
class Transport {
  public:
    /// `make_link` is called by the communication thread, which owns the link. Throws what it throws.
    Transport(const std::function<std::unique_ptr<Link>()>& make_link, Watch watch);
    /// Without `leave`, as when an exception flies: the job is aborted if other ranks are there.
    ~Transport();
    Transport(const Transport&) = delete;
    Transport& operator=(const Transport&) = delete;

    [[nodiscard]] const Identity& who() const;
    [[nodiscard]] const std::vector<Identity>& everyone() const;
    [[nodiscard]] bool speaks() const { return who().rank == 0; }  ///< only rank 0 talks to the user and writes files

    /// Posts transfers; never blocks. What is posted in one call is one group: its members may cross those of the peers' groups (NCCL wants to know).
    /// Between two ranks, both sides post the transfers of each direction in the same order. Thread-safe.
    std::vector<Future> post(std::vector<Transfer> group);
    Future send(int to, Tag tag, Buffer buffer, std::string what);
    Future receive(int from, Tag tag, Buffer into, std::string what);

    /// Small texts over the same transfers. All ranks call them in the same order, from one thread; they wait.
    [[nodiscard]] std::vector<std::string> gather(const std::string& mine);  ///< at rank 0 all texts by rank; elsewhere none
    [[nodiscard]] std::string broadcast(const std::string& text);            ///< rank 0's text
    void barrier();

    /// Lets buffers in device memory travel between GPUs, if all ranks can; else none does, and the reason says why. All ranks call it together, at most once
    /// and before the first device buffer is posted; it waits for them. Throws (exit code 2) on all where it is `required` and cannot be.
    DeviceTransfers use_device_transfers(const DeviceOffer& mine, DeviceWish wish = DeviceWish::where_possible);
    [[nodiscard]] bool carries_device() const;

    [[nodiscard]] Traffic traffic() const;
    [[nodiscard]] Pulse& pulse();

    /// The watch's stall limit and callback may be set when the settings are known.
    void set_stall_s(double seconds);
    void set_on_verdict(std::function<void(const Verdict&)> on_verdict);

    /// This rank cannot go on: tells rank 0, which ends the job with this rank as the culprit. With peers over MPI it does not return; with ranks as threads,
    /// and alone, it returns when the verdict is told.
    void fail(ExitCode code, const std::string& text);

    /// Orderly end: waits for all ranks (a rank that stops computes its unit to the end first), then closes the link. Every rank calls it, with its own code;
    /// gives rank 0's, which is the job's. `last_word`: called at rank 0 when all ranks have said that they leave and none has left: a launcher ends the rest
    /// of a job as soon as one process has ended with another code than 0.
    int leave(int code, std::function<void()> last_word = {});

  private:
    struct State;
    std::unique_ptr<State> state_;
};

/// A transport for this process: MPI where a launcher started it, solo otherwise. `reason` says which and why, for the user.
[[nodiscard]] std::unique_ptr<Transport> open_transport(Watch watch, std::string& reason);

/// Runs `work` on every rank; if it throws on any, all throw: rank 0 with a text that names ranks where they differ and with the code of the lowest rank that
/// failed, the others quietly (`JobRefused`). For what may be wrong before the job starts.
void together(Transport& transport, const std::function<void()>& work);

/// Every rank has left in good order because of an error that rank 0 tells.
class JobRefused : public Error {
  public:
    JobRefused(ExitCode code, const std::string& text, std::string culprit) : Error(code, text), culprit_{std::move(culprit)} {}
    [[nodiscard]] const std::string& culprit() const noexcept { return culprit_; }  ///< "" where all ranks say the same

  private:
    std::string culprit_;
};

}  // namespace weft::comm

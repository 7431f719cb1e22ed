#pragma once
#include "comm/device_transfers.hpp"
#include "comm/link.hpp"
#include "comm/nccl_calls.hpp"
#include "comm/transfer.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <vector>

/// The NCCL body of the transport. Internal to comm.
namespace weft::comm {

/// A link that carries buffers in device memory over one NCCL communicator for the whole job; all else goes to the link that it is put over, letters of its
/// own included.
///
/// Both sides of a transfer tell each other by letter when its turn has come and its buffer is theirs to use, and only then give it to the GPU. So tags and
/// sizes, which NCCL does not carry, are compared; nothing wrong ever starts; and no kernel sits on the GPU waiting for a rank that still computes (it would
/// take up to a tenth of the multiprocessors, and freeing memory on that GPU would wait for it).
class NcclLink final : public Link {
  public:
    NcclLink(std::unique_ptr<Link> inner, DeviceOffer offer);
    ~NcclLink() override;
    NcclLink(const NcclLink&) = delete;
    NcclLink& operator=(const NcclLink&) = delete;

    /// Is this one of its letters?
    [[nodiscard]] static bool is_own(const std::string& letter);

    /// Starts to agree with the other ranks. `early`: letters of those that asked before this one.
    void ask(const std::vector<Letter>& early);

    /// What the ranks agreed on; nothing while they still talk or make the communicator, which `poll` moves.
    [[nodiscard]] const std::optional<DeviceTransfers>& agreed() const { return agreed_; }

    /// The bytes must stay until the ticket has ended.
    [[nodiscard]] Ticket start_device(const Transfer& transfer);

    /// Operations are on the GPU: they take as long as bytes take, so that it pays to look often.
    [[nodiscard]] bool hurries() const { return submitting_ || !running_.empty(); }

    /// What its first transfer that has not started waits for, for the text of a verdict; "" when there is none.
    [[nodiscard]] std::string stands_at() const;

    const std::vector<Identity>& everyone() const override { return inner_->everyone(); }
    const Identity& who() const override { return inner_->who(); }
    Ticket start_send(int to, Tag tag, std::span<const std::byte> bytes) override { return inner_->start_send(to, tag, bytes); }
    Ticket start_receive(int from, Tag tag, std::span<std::byte> bytes) override { return inner_->start_receive(from, tag, bytes); }
    void poll(std::vector<Ended>& ended) override;
    void post_letter(int to, const std::string& text) override { inner_->post_letter(to, text); }
    std::optional<Letter> next_letter() override;
    void close() override;
    void abort(int code) override;
    std::optional<int> aborted() const override { return inner_->aborted(); }

  private:
    using Clock = std::chrono::steady_clock;
    using Direction = Transfer::Direction;

    /// What the other ranks know of one rank's offer.
    struct Offered {
        std::string why_not;
        std::string gpu;
        bool may_share = false;
        int version = 0;
    };
    struct Waiting {
        Ticket ticket = 0;
        Direction direction = Direction::send;
        int peer = 0;
        int tag = 0;  // packed
        Buffer buffer;
        std::string what;
        bool told = false;  // the peer knows that it may start
    };
    /// That the peer's side of a transfer may start.
    struct Told {
        int tag = 0;
        std::uint64_t bytes = 0;
    };
    struct Group {
        std::vector<Ticket> tickets;
        std::string what;
        std::shared_ptr<void> event;  // behind it on the stream
    };

    void sort_letters();
    void hear(const Letter& letter);
    void tell_all(const std::string& text);

    void open_further();
    void judge_offers();
    [[nodiscard]] std::string against(const std::vector<Offered>& offers) const;
    void make_communicator(const NcclCalls::Id& id);
    void report_made(const std::string& wrong);
    void agree(DeviceTransfers result);

    void move(std::vector<Ended>& ended);
    void submit(std::vector<Ended>& ended);
    void give_to_gpu(const std::vector<Waiting>& operations);
    [[nodiscard]] bool may_start(const Waiting& one) const;
    void tell(Waiting& one, Waiting* crossing);
    [[nodiscard]] std::deque<Told>& told_by_peer(const Waiting& one);
    [[nodiscard]] NcclCalls::Code state_of_communicator() const;

    void end_communicator();
    [[nodiscard]] bool end_in_order();
    void abort_communicator();

    [[nodiscard]] std::string described_side(const Waiting& one) const;
    [[nodiscard]] const std::string& name_of(int rank) const { return names_[static_cast<std::size_t>(rank)]; }

    std::unique_ptr<Link> inner_;
    DeviceOffer offer_;
    std::vector<std::string> names_;
    std::deque<Letter> letters_;  // not its own
    bool failed_ = false;         // an error has been thrown: NCCL is not called any more but to abort

    // Until the ranks have agreed.
    std::vector<std::optional<Offered>> offers_;    // rank 0: by rank
    std::vector<std::optional<std::string>> made_;  // rank 0: by rank, what went wrong with the communicator, or ""
    bool offers_judged_ = false;
    bool making_ = false;
    Clock::time_point making_since_;
    std::optional<DeviceTransfers> agreed_;

    bool has_communicator_ = false;
    Ticket next_ticket_;
    std::int64_t next_turn_ = 0;                         // the first that has not started
    std::map<std::int64_t, Waiting> waiting_;            // by turn
    std::vector<std::array<std::deque<Told>, 2>> told_;  // by peer and this rank's direction
    std::optional<Group> submitting_;                    // NCCL has not taken it in yet
    std::deque<Group> running_;                          // on the stream, in order
    Clock::time_point looked_for_errors_;
};

}  // namespace weft::comm

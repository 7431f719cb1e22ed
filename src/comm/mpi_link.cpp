#include "base/error.hpp"
#include "base/text.hpp"
#include "comm/link.hpp"
#include "comm/tag.hpp"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <deque>
#include <list>
#include <map>
#include <source_location>
#include <thread>
#include <unordered_map>

namespace weft::comm {

namespace {

std::string error_text(int code) {
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) return cat("error ", code);
    return {text.data(), static_cast<std::size_t>(length)};
}

void check(int code, std::string_view doing, const std::source_location& at = std::source_location::current()) {
    if (code == MPI_SUCCESS) return;
    throw Error(ExitCode::rank_failed, cat("MPI failed while ", doing, ": ", error_text(code), " (mpi_link.cpp:", at.line(), ")"));
}

/// Longer messages travel in pieces of so many bytes. Counts are ints in MPI 3, and a large type instead does not help: over TCP, Open MPI 4.1.4 hangs in a
/// message of more than 2 GiB.
constexpr std::size_t piece_bytes = std::size_t{256} << 20;

[[nodiscard]] std::size_t num_pieces(std::size_t bytes) {
    return bytes == 0 ? 1 : (bytes + piece_bytes - 1) / piece_bytes;
}

/// MPI from start to end; a member of MpiLink, so that MPI ends also where the constructor of that throws.
class Session {
  public:
    Session() {
        int provided = 0;
        // The communication thread alone calls MPI, and it is the one that calls this.
        check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "starting");
        running_ = true;
        // The default handler ends the process before anybody could say what was tried.
        check(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "setting the error handler");
        check(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN), "setting the error handler");
        if (provided < MPI_THREAD_FUNNELED)
            refuse(cat("this MPI (", mpi_version(), ") has no support for threads (MPI_THREAD_FUNNELED), which weft needs; build weft against another one"));
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session() {
        if (running_) MPI_Finalize();
    }
    void end() {
        running_ = false;
        check(MPI_Finalize(), "ending");
    }

  private:
    bool running_ = false;
};

class MpiLink final : public Link {
  public:
    MpiLink();

    const std::vector<Identity>& everyone() const override { return all_; }
    const Identity& who() const override { return all_[static_cast<std::size_t>(rank_)]; }
    Ticket start_send(int to, Tag tag, std::span<const std::byte> bytes) override;
    Ticket start_receive(int from, Tag tag, std::span<std::byte> bytes) override;
    void poll(std::vector<Ended>& ended) override;
    void post_letter(int to, const std::string& text) override;
    std::optional<Letter> next_letter() override;
    void close() override;
    void abort(int code) override;
    std::optional<int> aborted() const override { return {}; }  // nobody lives to ask

  private:
    /// A transfer of which MPI has pieces to work on.
    struct Running {
        std::size_t pieces = 0;  ///< not ended
        std::string wrong;       ///< found until now
    };
    /// What MPI works on.
    struct Piece {
        Ticket ticket = 0;
        bool receives = false;
        std::vector<std::byte> unwanted;  ///< bytes of a message that is not the expected one
    };
    /// A receive whose message, or the rest of it, has not come.
    struct Wanted {
        Ticket ticket = 0;
        int tag = 0;  // packed
        std::span<std::byte> rest;
        std::size_t bytes = 0;  ///< of the whole
    };
    struct SentLetter {
        std::string text;
        MPI_Request request = MPI_REQUEST_NULL;
    };
    struct ComingLetter {
        Letter letter;
        MPI_Request request = MPI_REQUEST_NULL;
    };

    void take_messages();
    [[nodiscard]] bool take_one_from(int peer);
    void move_letters();

    // Asked before MPI starts, which sets such variables itself.
    const std::string launcher_ = launcher();
    const int launched_ = launched_ranks();
    Session session_;
    MPI_Comm data_ = MPI_COMM_NULL;  // MPI_Finalize frees them: before, a transfer that was dropped would keep MPI_Comm_free waiting
    MPI_Comm letters_ = MPI_COMM_NULL;
    int rank_ = 0;
    int item_bits_ = max_item_bits;
    std::vector<Identity> all_;
    Ticket next_ticket_ = 1;
    std::unordered_map<Ticket, Running> running_;
    std::vector<MPI_Request> requests_;
    std::vector<Piece> pieces_;                 // by the same index
    std::map<int, std::deque<Wanted>> wanted_;  // by sender, never empty
    std::list<SentLetter> sent_;
    std::list<ComingLetter> coming_;  // MPI writes into them: they stay where they are
};

MpiLink::MpiLink() {
    int size = 0;
    check(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "asking for the rank");
    check(MPI_Comm_size(MPI_COMM_WORLD, &size), "asking for the number of ranks");
    if (size == 1 && launched_ > 1)
        refuse(cat(launcher_, " started ", launched_, " ranks, but MPI (", mpi_version(), ") sees only one: each would run the whole job.\n",
                   "  The launcher is of another MPI than weft was built with, or speaks another protocol: use that MPI's own mpirun, or srun --mpi=pmix."));
    check(MPI_Comm_dup(MPI_COMM_WORLD, &data_), "making a communicator");
    check(MPI_Comm_dup(MPI_COMM_WORLD, &letters_), "making a communicator");

    int* upper = nullptr;
    int found = 0;
    check(MPI_Comm_get_attr(data_, MPI_TAG_UB, static_cast<void*>(&upper), &found), "asking for the largest tag");
    const int largest = found != 0 ? *upper : 32767;  // that much the standard promises
    while (((1LL << (kind_bits + item_bits_)) - 1) > largest) --item_bits_;

    struct Card {
        std::array<char, 256> host;
        int node_rank;
        int node_size;
        int pid;
    };
    Card mine{};
    const auto host = this_host();
    std::memcpy(mine.host.data(), host.data(), std::min(host.size(), mine.host.size() - 1));
    mine.pid = ::getpid();
    MPI_Comm node = MPI_COMM_NULL;
    if (MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node) == MPI_SUCCESS && node != MPI_COMM_NULL) {
        check(MPI_Comm_rank(node, &mine.node_rank), "asking for the rank on this host");
        check(MPI_Comm_size(node, &mine.node_size), "asking for the ranks on this host");
        check(MPI_Comm_free(&node), "freeing a communicator");
    }
    std::vector<Card> cards(static_cast<std::size_t>(size));
    check(MPI_Allgather(&mine, sizeof(Card), MPI_BYTE, cards.data(), sizeof(Card), MPI_BYTE, data_), "asking who is who");
    for (int rank = 0; rank < size; ++rank) {
        const auto& card = cards[static_cast<std::size_t>(rank)];
        all_.push_back({rank, size, card.host.data(), card.node_rank, card.node_size, card.pid});
    }
    if (std::any_of(all_.begin(), all_.end(), [](const Identity& one) { return one.node_size == 0; })) place_on_hosts(all_);
}

// Synchronous sends only: a send ends when its receive was started. So no more than a message's eager part piles up in MPI's own buffers, and a program
// whose order is wrong hangs with small messages as well as with large ones, where tests see it.
Link::Ticket MpiLink::start_send(int to, Tag tag, std::span<const std::byte> bytes) {
    const Ticket ticket = next_ticket_++;
    running_[ticket].pieces = num_pieces(bytes.size());
    do {
        const auto piece = bytes.first(std::min(bytes.size(), piece_bytes));
        bytes = bytes.subspan(piece.size());
        MPI_Request request = MPI_REQUEST_NULL;
        check(MPI_Issend(piece.data(), static_cast<int>(piece.size()), MPI_BYTE, to, packed(tag, item_bits_), data_, &request),
              cat("starting a send to rank ", to));
        requests_.push_back(request);
        pieces_.push_back({ticket, false, {}});
    } while (!bytes.empty());
    return ticket;
}

// Nothing is received before tag and length are known and are the expected ones. A receive posted ahead would let Open MPI write past the end of its buffer
// when the message is longer (seen in 4.1.4: shared memory, single copy, messages that are not sent eagerly).
Link::Ticket MpiLink::start_receive(int from, Tag tag, std::span<std::byte> bytes) {
    const Ticket ticket = next_ticket_++;
    running_[ticket].pieces = num_pieces(bytes.size());
    wanted_[from].push_back({ticket, packed(tag, item_bits_), bytes, bytes.size()});
    return ticket;
}

bool MpiLink::take_one_from(int peer) {
    int found = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status{};
    // Any tag: transfers match in order, and a tag that is not the expected one is to be found, not to be waited for.
    check(MPI_Improbe(peer, MPI_ANY_TAG, data_, &found, &message, &status), cat("looking for messages of rank ", peer));
    if (found == 0) return false;
    int length = 0;
    check(MPI_Get_count(&status, MPI_BYTE, &length), cat("asking for the length of a message of rank ", peer));

    auto& queue = wanted_.at(peer);
    auto& wanted = queue.front();
    const auto into = wanted.rest.first(std::min(wanted.rest.size(), piece_bytes));
    wanted.rest = wanted.rest.subspan(into.size());
    Piece piece{wanted.ticket, true, {}};
    auto* bytes = into.data();
    if (status.MPI_TAG != wanted.tag || static_cast<std::size_t>(length) != into.size()) {
        const auto size = [](std::size_t of_piece, std::size_t of_all) {
            return cat(of_piece, of_all > piece_bytes ? cat(" bytes, as part of ", of_all) : std::string{" bytes"});
        };
        auto& running = running_.at(wanted.ticket);
        running.wrong =
            disagreement(described(status.MPI_TAG, cat(length, " bytes"), item_bits_), described(wanted.tag, size(into.size(), wanted.bytes), item_bits_));
        // This piece is the last: the rest will not come.
        running.pieces =
            1 + static_cast<std::size_t>(std::count_if(pieces_.begin(), pieces_.end(), [&](const Piece& one) { return one.ticket == wanted.ticket; }));
        wanted.rest = {};
        piece.unwanted.resize(static_cast<std::size_t>(length));
        bytes = piece.unwanted.data();
    }
    if (wanted.rest.empty()) queue.pop_front();
    if (queue.empty()) wanted_.erase(peer);
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Imrecv(bytes, length, MPI_BYTE, &message, &request), cat("starting a receive from rank ", peer));
    requests_.push_back(request);
    pieces_.push_back(std::move(piece));
    return true;
}

void MpiLink::take_messages() {
    if (wanted_.empty()) return;
    int found = 0;
    check(MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, data_, &found, MPI_STATUS_IGNORE), "looking for messages");
    if (found == 0) return;  // the usual case, found out with one call
    std::vector<int> peers;
    peers.reserve(wanted_.size());
    for (const auto& [peer, queue] : wanted_) peers.push_back(peer);
    for (const int peer : peers)
        while (wanted_.contains(peer) && take_one_from(peer)) {
        }
}

void MpiLink::poll(std::vector<Ended>& ended) {
    move_letters();
    take_messages();
    if (requests_.empty()) return;
    // Made each time: the vectors are short, and no state is left behind when something throws.
    std::vector<int> which(requests_.size());
    std::vector<MPI_Status> statuses(requests_.size());
    int count = 0;
    const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, which.data(), statuses.data());
    const bool in_status = code == MPI_ERR_IN_STATUS;  // only then do statuses hold errors
    if (!in_status) check(code, "looking after transfers");
    if (count == MPI_UNDEFINED || count == 0) return;
    which.resize(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < which.size(); ++i) {
        const auto running = running_.find(pieces_[static_cast<std::size_t>(which[i])].ticket);
        if (in_status && statuses[i].MPI_ERROR != MPI_SUCCESS) running->second.wrong = cat("MPI failed: ", error_text(statuses[i].MPI_ERROR));
        if (--running->second.pieces > 0) continue;
        ended.push_back({running->first, running->second.wrong});
        running_.erase(running);
    }
    std::sort(which.begin(), which.end(), std::greater<>{});
    for (const int at : which) {
        requests_.erase(requests_.begin() + at);
        pieces_.erase(pieces_.begin() + at);
    }
}

void MpiLink::post_letter(int to, const std::string& text) {
    auto& letter = sent_.emplace_back(SentLetter{text, MPI_REQUEST_NULL});
    check(MPI_Isend(letter.text.data(), static_cast<int>(letter.text.size()), MPI_CHAR, to, 0, letters_, &letter.request),
          cat("sending a letter to rank ", to));
}

void MpiLink::move_letters() {
    for (auto letter = sent_.begin(); letter != sent_.end();) {
        int done = 0;
        check(MPI_Test(&letter->request, &done, MPI_STATUS_IGNORE), "sending letters");
        letter = done != 0 ? sent_.erase(letter) : std::next(letter);
    }
    while (true) {
        int found = 0;
        MPI_Message message = MPI_MESSAGE_NULL;
        MPI_Status status{};
        check(MPI_Improbe(MPI_ANY_SOURCE, 0, letters_, &found, &message, &status), "looking for letters");
        if (found == 0) return;
        int length = 0;
        check(MPI_Get_count(&status, MPI_CHAR, &length), "looking for letters");
        auto& coming = coming_.emplace_back(ComingLetter{{status.MPI_SOURCE, std::string(static_cast<std::size_t>(length), ' ')}, MPI_REQUEST_NULL});
        // Not MPI_Mrecv: a sender that is stopped in the middle of a long letter must not hold this thread.
        check(MPI_Imrecv(coming.letter.text.data(), length, MPI_CHAR, &message, &coming.request), "receiving a letter");
    }
}

std::optional<Letter> MpiLink::next_letter() {
    std::vector<int> held;  // ranks of which an earlier letter is still on its way
    for (auto coming = coming_.begin(); coming != coming_.end(); ++coming) {
        if (std::find(held.begin(), held.end(), coming->letter.from) != held.end()) continue;
        int done = 0;
        check(MPI_Test(&coming->request, &done, MPI_STATUS_IGNORE), "receiving letters");
        if (done == 0) {
            held.push_back(coming->letter.from);
            continue;
        }
        Letter letter = std::move(coming->letter);
        coming_.erase(coming);
        return letter;
    }
    return {};
}

void MpiLink::close() {
    using namespace std::chrono_literals;
    const auto patience = [](auto done) {
        for (int i = 0; i < 1000 && !done(); ++i) std::this_thread::sleep_for(1ms);
    };
    patience([&] {
        move_letters();
        return sent_.empty();
    });
    patience([&] {  // for what is half received
        bool all = true;
        for (std::size_t i = 0; i < requests_.size(); ++i) {
            int done = 1;
            if (pieces_[i].receives && requests_[i] != MPI_REQUEST_NULL) MPI_Test(&requests_[i], &done, MPI_STATUS_IGNORE);
            all = all && done != 0;
        }
        return all;
    });
    // Sends that nobody receives never end: Open MPI cannot cancel them, and its MPI_Finalize does not wait for those that were freed.
    for (auto& request : requests_)
        if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
    requests_.clear();
    session_.end();
}

void MpiLink::abort(int code) {
    // Should the launcher not answer, at least this process ends, and the launcher finds that.
    std::thread([code] {
        std::this_thread::sleep_for(std::chrono::seconds{5});
        ::_exit(code);
    }).detach();
    MPI_Abort(MPI_COMM_WORLD, code);
    ::_exit(code);
}

}  // namespace

std::unique_ptr<Link> make_mpi_link() {
    return std::make_unique<MpiLink>();
}

std::string mpi_version() {
    std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
    int length = 0;
    if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) return "MPI";
    std::string version{text.data(), static_cast<std::size_t>(length)};
    version.resize(std::min(version.size(), version.find_first_of(",\n")));  // "Open MPI v4.1.4, package: Debian OpenMPI, ident: ..."
    std::replace(version.begin(), version.end(), '\t', ' ');
    return version;
}

}  // namespace weft::comm

#include "io/run_file.hpp"

#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/handle.hpp"
#include "base/text.hpp"

#include <hdf5.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <initializer_list>
#include <string_view>

namespace weft::io {
namespace {

static_assert(std::endian::native == std::endian::little, "the run file's datasets are little endian and written as they lie in memory");

constexpr std::int64_t layout_version = 2;
constexpr std::int64_t num_slots = 2;
constexpr std::int64_t num_plan_rooms = 8;
constexpr std::int64_t plan_room_bytes = std::int64_t{256} * 1024;
constexpr std::size_t page_bytes = 4096;
constexpr std::int64_t nothing_committed = -1;
constexpr std::string_view what_to_do = "; name another output.run_file or delete it";

using Path = std::filesystem::path;

/// What a frame's entry in /stamps holds.
struct Stamp {
    std::int64_t step = -1;
    std::uint64_t checksum = 0;
    [[nodiscard]] bool operator==(const Stamp&) const = default;
};
static_assert(sizeof(Stamp) == 16);

// ---------------------------------------------------------------------------------------------------------------- HDF5

template <herr_t (*Close)(hid_t)>
struct Hdf5Traits {
    using Raw = hid_t;
    static Raw null() noexcept { return H5I_INVALID_HID; }
    static void close(Raw raw) noexcept { Close(raw); }
};
using Hdf5File = Handle<Hdf5Traits<H5Fclose>>;
using Hdf5Set = Handle<Hdf5Traits<H5Dclose>>;
using Hdf5Space = Handle<Hdf5Traits<H5Sclose>>;
using Hdf5Type = Handle<Hdf5Traits<H5Tclose>>;
using Hdf5List = Handle<Hdf5Traits<H5Pclose>>;

/// HDF5's error stack, from where the failure arose up to the call that we made.
std::string hdf5_error_text() {
    std::vector<std::string> reasons;
    const auto add = [](unsigned, const H5E_error2_t* entry, void* list) -> herr_t {
        if (entry->desc != nullptr && *entry->desc != '\0') static_cast<std::vector<std::string>*>(list)->emplace_back(entry->desc);
        return 0;
    };
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, add, &reasons);
    reasons.erase(std::unique(reasons.begin(), reasons.end()), reasons.end());
    return reasons.empty() ? "no reason given" : join(reasons, "; ");
}

/// The file that HDF5 works on, and whose fault a failure is: the system's while creating, the file's while reading.
struct Hdf5Job {
    Path path;
    ExitCode blame;

    /// Negative results are HDF5's failures.
    template <std::signed_integral Result>
    Result check(Result result, std::string_view doing) const {
        if (result >= 0) return result;
        const auto text = cat(path.string(), ": HDF5 failed while ", doing, ": ", hdf5_error_text());
        if (blame == ExitCode::user_mistake) refuse(cat(text, ". It is not a weft run file, or damaged", what_to_do));
        throw Error(blame, text);
    }
};

/// How HDF5 opens files here: silent, without locks of its own (ours has a clearer message), raw data on page borders, so that every
/// dataset and above all the commit word has its disk blocks for itself.
Hdf5List file_access(const Hdf5Job& job) {
    job.check(H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr), "turning its printing off");  // counts for the calling thread only
    Hdf5List list{job.check(H5Pcreate(H5P_FILE_ACCESS), "preparing")};
    job.check(H5Pset_file_locking(list.get(), false, true), "turning its file locking off");
    job.check(H5Pset_fclose_degree(list.get(), H5F_CLOSE_STRONG), "preparing");
    job.check(H5Pset_alignment(list.get(), 1, page_bytes), "preparing");
    return list;
}

Hdf5Type text_type(const Hdf5Job& job, std::size_t bytes) {
    Hdf5Type type{job.check(H5Tcopy(H5T_C_S1), "making a type")};
    job.check(H5Tset_size(type.get(), bytes), "making a type");
    job.check(H5Tset_cset(type.get(), H5T_CSET_UTF8), "making a type");
    return type;
}

Hdf5Type stamp_type(const Hdf5Job& job) {
    Hdf5Type type{job.check(H5Tcreate(H5T_COMPOUND, sizeof(Stamp)), "making a type")};
    job.check(H5Tinsert(type.get(), "step", offsetof(Stamp, step), H5T_STD_I64LE), "making a type");
    job.check(H5Tinsert(type.get(), "checksum", offsetof(Stamp, checksum), H5T_STD_U64LE), "making a type");
    return type;
}

/// Makes the file's structure. But for the version, raw data stays unwritten.
void lay_out(const Path& path, const Hdf5Job& job, const RunHeader& header, const std::string& weights) {
    const auto access = file_access(job);
    const Hdf5File file{job.check(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access.get()), "creating the file")};
    const Hdf5List how{job.check(H5Pcreate(H5P_DATASET_CREATE), "preparing")};
    job.check(H5Pset_layout(how.get(), H5D_CONTIGUOUS), "preparing");
    job.check(H5Pset_alloc_time(how.get(), H5D_ALLOC_TIME_EARLY), "preparing");
    job.check(H5Pset_fill_time(how.get(), H5D_FILL_TIME_NEVER), "preparing");
    job.check(H5Pset_obj_track_times(how.get(), false), "preparing");
    const auto add = [&](const char* name, hid_t type, std::initializer_list<hsize_t> dims) {
        const Hdf5Space space{
            job.check(dims.size() == 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(static_cast<int>(dims.size()), std::data(dims), nullptr), "making a shape")};
        const Hdf5Set set{job.check(H5Dcreate2(file.get(), name, type, space.get(), H5P_DEFAULT, how.get(), H5P_DEFAULT), cat("creating ", name))};
    };
    const auto add_text = [&](const char* name, const std::string& text) { add(name, text_type(job, text.size() + 1).get(), {}); };
    const auto count = [](std::int64_t n) { return static_cast<hsize_t>(n); };
    const auto& shape = header.shape;
    for (const char* name : {"/layout_version", "/commit", "/steps", "/clip_frames", "/starts"}) add(name, H5T_STD_I64LE, {});
    add("/phase", text_type(job, 8).get(), {});
    add_text("/numerics_key", header.numerics_key);
    add_text("/input_digest", header.input_digest);
    add_text("/settings", header.settings);
    add_text("/weights", weights);
    add("/plan", text_type(job, plan_room_bytes).get(), {count(num_plan_rooms)});
    add("/stamps", stamp_type(job).get(), {count(num_slots), count(shape.frames)});
    add("/latents", H5T_IEEE_F32LE, {count(num_slots), count(shape.frames), count(shape.channels), count(shape.height), count(shape.width)});
    const Hdf5Set version{job.check(H5Dopen2(file.get(), "/layout_version", H5P_DEFAULT), "opening /layout_version")};
    job.check(H5Dwrite(version.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &layout_version), "writing /layout_version");
    job.check(H5Fflush(file.get(), H5F_SCOPE_GLOBAL), "writing the file's structure");
}

/// Where a dataset's raw bytes lie.
struct Place {
    std::int64_t offset = 0;
    std::int64_t bytes = 0;
};

struct Places {
    Place commit, phase, steps, clip_frames, starts, numerics_key, input_digest, settings, weights, plan, stamps, latents;
    std::int64_t num_plans = 0;
    LatentShape shape;
};

/// Asks HDF5 where everything lies; refuses what is no run file of a layout that this weft reads.
Places survey(int fd, const Hdf5Job& job) {
    const auto access = file_access(job);
    // By the descriptor, since the name may mean another file by now.
    const Hdf5File file{job.check(H5Fopen(cat("/proc/self/fd/", fd).c_str(), H5F_ACC_RDONLY, access.get()), "opening the file")};
    if (job.check(H5Lexists(file.get(), "/layout_version", H5P_DEFAULT), "looking for /layout_version") == 0)
        refuse(cat(job.path.string(), ": is an HDF5 file, but not a weft run file", what_to_do));
    {
        std::int64_t version = 0;
        const Hdf5Set set{job.check(H5Dopen2(file.get(), "/layout_version", H5P_DEFAULT), "opening /layout_version")};
        const Hdf5Space space{job.check(H5Dget_space(set.get()), "reading /layout_version")};
        if (H5Sget_simple_extent_npoints(space.get()) == 1)
            job.check(H5Dread(set.get(), H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, &version), "reading /layout_version");
        if (version != layout_version)
            refuse(cat(job.path.string(), ": has layout version ", version, ", this weft reads version ", layout_version,
                       version > layout_version ? "; use the newer weft that wrote it, or name another output.run_file" : what_to_do));
    }
    struct stat status {};
    if (::fstat(fd, &status) != 0) fail(cat(job.path.string(), ": cannot be examined: ", errno_text(errno)));
    const std::int64_t file_bytes = status.st_size;
    // `type` below zero stands for fixed-size text of any length.
    const auto find = [&](const char* name, hid_t type, int rank, std::array<hsize_t, 5>& dims) -> Place {
        const auto other = [&](std::string_view what) {
            refuse(cat(job.path.string(), ": ", name, " ", what, ": not a weft run file, or damaged", what_to_do));
        };
        const Hdf5Set set{job.check(H5Dopen2(file.get(), name, H5P_DEFAULT), cat("opening ", name))};
        const Hdf5Space space{job.check(H5Dget_space(set.get()), cat("reading the shape of ", name))};
        const Hdf5Type found{job.check(H5Dget_type(set.get()), cat("reading the type of ", name))};
        if (type >= 0 ? H5Tequal(found.get(), type) <= 0 : H5Tget_class(found.get()) != H5T_STRING || H5Tis_variable_str(found.get()) != 0)
            other("has another type");
        if (H5Sget_simple_extent_ndims(space.get()) != rank) other("has another shape");
        job.check(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), cat("reading the shape of ", name));
        const auto offset = H5Dget_offset(set.get());  // undefined unless contiguous and allocated
        const Place place{static_cast<std::int64_t>(offset), static_cast<std::int64_t>(H5Dget_storage_size(set.get()))};
        if (offset == HADDR_UNDEF || place.offset <= 0 || place.bytes <= 0 || place.bytes > file_bytes || place.offset > file_bytes - place.bytes ||
            H5Sget_simple_extent_npoints(space.get()) != static_cast<hssize_t>(place.bytes / static_cast<std::int64_t>(H5Tget_size(found.get()))))
            other("is not stored in one piece");
        return place;
    };
    std::array<hsize_t, 5> dims{};
    constexpr hid_t any_text = -1;
    Places places;
    places.commit = find("/commit", H5T_STD_I64LE, 0, dims);
    places.steps = find("/steps", H5T_STD_I64LE, 0, dims);
    places.clip_frames = find("/clip_frames", H5T_STD_I64LE, 0, dims);
    places.starts = find("/starts", H5T_STD_I64LE, 0, dims);
    places.phase = find("/phase", text_type(job, 8).get(), 0, dims);
    places.numerics_key = find("/numerics_key", any_text, 0, dims);
    places.input_digest = find("/input_digest", any_text, 0, dims);
    places.settings = find("/settings", any_text, 0, dims);
    places.weights = find("/weights", any_text, 0, dims);
    places.plan = find("/plan", text_type(job, plan_room_bytes).get(), 1, dims);
    places.num_plans = static_cast<std::int64_t>(dims[0]);
    places.latents = find("/latents", H5T_IEEE_F32LE, 5, dims);
    places.shape = {static_cast<std::int64_t>(dims[1]), static_cast<std::int64_t>(dims[2]), static_cast<std::int64_t>(dims[3]),
                    static_cast<std::int64_t>(dims[4])};
    const auto slots = static_cast<std::int64_t>(dims[0]);
    places.stamps = find("/stamps", stamp_type(job).get(), 2, dims);
    if (slots != num_slots || dims[0] != hsize_t{num_slots} || dims[1] != static_cast<hsize_t>(places.shape.frames))
        refuse(cat(job.path.string(), ": /latents and /stamps do not fit together: not a weft run file, or damaged", what_to_do));
    return places;
}

// --------------------------------------------------------------------------------------------------- files and raw bytes

Path folder_of(const Path& path) {
    return path.parent_path().empty() ? Path{"."} : path.parent_path();
}

[[noreturn]] void system_failed(const Path& path, std::string_view doing, int number) {
    const auto text = cat(path.string(), ": failed while ", doing, ": ", errno_text(number));
    if (number != ENOSPC && number != EDQUOT) fail(text);
    struct statvfs disk {};
    const bool known = ::statvfs(folder_of(path).c_str(), &disk) == 0;
    fail(cat(text, known ? cat("; ", human_bytes(static_cast<std::int64_t>(disk.f_bavail * disk.f_frsize)), " are free there") : "",
             "; free some, or name another output.run_file"));
}

/// A path that cannot be written is the user's mistake; a failing disk is not.
[[noreturn]] void cannot_open(const Path& path, std::string_view doing, int number) {
    const auto text = cat(path.string(), ": ", doing, ": ", errno_text(number));
    switch (number) {
        case ENOENT:
        case EROFS:
        case EACCES:
        case EPERM:
        case ENOTDIR:
        case EISDIR:
        case ELOOP:
        case ENAMETOOLONG:
        case ETXTBSY: refuse(cat(text, "; name another output.run_file"));
        default: fail(text);
    }
}

void write_at(int fd, const Path& path, std::int64_t offset, std::span<const std::byte> bytes, std::string_view doing) {
    while (!bytes.empty()) {
        const auto written = ::pwrite(fd, bytes.data(), bytes.size(), offset);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) system_failed(path, doing, written < 0 ? errno : EIO);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
        offset += written;
    }
}

/// 0, or the errno value; ENODATA at the end of the file.
[[nodiscard]] int try_read_at(int fd, std::int64_t offset, std::span<std::byte> bytes) noexcept {
    while (!bytes.empty()) {
        const auto got = ::pread(fd, bytes.data(), bytes.size(), offset);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? errno : ENODATA;
        bytes = bytes.subspan(static_cast<std::size_t>(got));
        offset += got;
    }
    return 0;
}

void read_at(int fd, const Path& path, std::int64_t offset, std::span<std::byte> bytes) {
    const int number = try_read_at(fd, offset, bytes);
    if (number == ENODATA) refuse(cat(path.string(), ": ends too early: it was cut", what_to_do));
    if (number != 0) system_failed(path, "reading", number);
}

bool still_names(const Path& path, int fd) {
    struct stat by_name {
    }, by_fd{};
    return ::fstat(fd, &by_fd) == 0 && ::stat(path.c_str(), &by_name) == 0 && by_fd.st_ino == by_name.st_ino && by_fd.st_dev == by_name.st_dev;
}

/// The right to write, which ends with the descriptor or the process. A lock on the open file description rather than flock(2): HDF5's readers take
/// flock by default, so h5dump and h5py go on working beside a job.
void lock_to_write(int fd, const Path& path) {
    struct flock wish {};
    wish.l_type = F_WRLCK;
    wish.l_whence = SEEK_SET;
    if (::fcntl(fd, F_OFD_SETLK, &wish) == 0) return;
    const int number = errno;
    if (number == EAGAIN || number == EACCES)
        refuse(cat(path.string(), ": another weft process has it open for writing; wait for it or stop it, or name another output.run_file"));
    // Some network file systems are mounted without locks; HDF5's own locking is best-effort there, too.
    if (number != ENOLCK && number != ENOSYS && number != EOPNOTSUPP && number != EINVAL) system_failed(path, "locking the file", number);
}

void refuse_unless_regular(int fd, const Path& path) {
    struct stat status {};
    if (::fstat(fd, &status) != 0) fail(cat(path.string(), ": cannot be examined: ", errno_text(errno)));
    if (!S_ISREG(status.st_mode)) refuse(cat(path.string(), ": is not a regular file; name another output.run_file"));
}

/// Opens to write and locks. A name may be renamed over between the two: then the lock is on a file that nobody sees, and it is tried again.
FileDescriptor open_locked(const Path& path, int flags, const Path& named_in_text, std::string_view doing) {
    for (;;) {
        FileDescriptor fd{::open(path.c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK | flags, 0666)};
        if (!fd) cannot_open(named_in_text, doing, errno);
        refuse_unless_regular(fd.get(), named_in_text);
        lock_to_write(fd.get(), named_in_text);
        if (still_names(path, fd.get())) return fd;
    }
}

void sync_folder_of(const Path& path) {
    // Best effort: some file systems refuse it, and the file itself is safe.
    if (const FileDescriptor fd{::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)}; fd) ::fsync(fd.get());
}

/// Removes a half-made file, unless told that it is finished.
struct PartGuard {
    Path part;
    bool finished = false;
    explicit PartGuard(Path path) : part{std::move(path)} {}
    PartGuard(const PartGuard&) = delete;
    PartGuard& operator=(const PartGuard&) = delete;
    ~PartGuard() {
        if (!finished) ::unlink(part.c_str());
    }
};

// ---------------------------------------------------------------------------------------------------------------- texts

constexpr std::array<std::string_view, 3> phase_names{"denoise", "decode", "done"};

std::string weights_text(const std::map<std::string, std::string>& weights) {
    std::string text;
    for (const auto& [name, digest] : weights) text += cat(name, "=", digest, "\n");
    return text;
}

std::map<std::string, std::string> weights_from(const std::string& text) {
    std::map<std::string, std::string> weights;
    for (const auto& line : split(text, '\n'))
        if (const auto sign = line.rfind('='); sign != std::string::npos) weights[line.substr(0, sign)] = line.substr(sign + 1);
    return weights;
}

std::string cut_to_room(const std::string& plan) {
    if (plan.size() < plan_room_bytes) return plan;
    constexpr std::string_view note = "# weft: the rest of the plan did not fit in here\n";
    constexpr auto most = plan_room_bytes - 1 - note.size();
    const auto line_end = plan.rfind('\n', most - 1);
    return plan.substr(0, line_end == std::string::npos ? 0 : line_end + 1) + std::string{note};
}

}  // namespace

// -------------------------------------------------------------------------------------------------------------- RunFile

struct RunFile::State {
    Path path;
    FileDescriptor fd;
    bool writable = false;
    Places places;
    RunHeader header;
    /// What save() must not touch; slot -1: no state is good.
    struct Good {
        int slot = -1;
        std::int64_t step = 0;
    };
    std::optional<Good> good;  // unknown until somebody looked, since that reads the latents

    // ---- raw access

    [[nodiscard]] std::int64_t word(const Place& place) const {
        std::int64_t value = 0;
        read_at(fd.get(), path, place.offset, std::as_writable_bytes(std::span{&value, 1}));
        return value;
    }

    void set_word(const Place& place, std::int64_t value, std::string_view doing) const {
        write_at(fd.get(), path, place.offset, std::as_bytes(std::span{&value, 1}), doing);
    }

    /// Sizes never change, so that the data alone is enough: no journal entry for the time stamp.
    void sync() const {
        while (::fdatasync(fd.get()) != 0)
            if (errno != EINTR) system_failed(path, "flushing to the disk", errno);
    }

    [[nodiscard]] std::string text(std::int64_t offset, std::int64_t bytes) const {
        std::string text(static_cast<std::size_t>(bytes), '\0');
        read_at(fd.get(), path, offset, std::as_writable_bytes(std::span{text}));
        return text.substr(0, text.find('\0'));
    }
    [[nodiscard]] std::string text(const Place& place) const { return text(place.offset, place.bytes); }

    /// `text` and zeros up to `bytes`.
    void set_text(std::int64_t offset, std::int64_t bytes, std::string text, std::string_view doing) const {
        ensure(text.size() < static_cast<std::size_t>(bytes), "the run file's room for a text is large enough");
        text.resize(static_cast<std::size_t>(bytes), '\0');
        write_at(fd.get(), path, offset, std::as_bytes(std::span{text}), doing);
    }
    void set_text(const Place& place, const std::string& text, std::string_view doing) const { set_text(place.offset, place.bytes, text, doing); }

    void set_zeros(const Place& place, std::string_view doing) const {
        static constexpr std::array<std::byte, 1 << 20> zeros{};
        for (std::int64_t done = 0; done < place.bytes;) {
            const auto piece = std::min<std::int64_t>(place.bytes - done, zeros.size());
            write_at(fd.get(), path, place.offset + done, std::span{zeros}.first(static_cast<std::size_t>(piece)), doing);
            done += piece;
        }
    }

    // ---- plans

    [[nodiscard]] std::int64_t plan_offset(std::int64_t start) const { return places.plan.offset + (start - 1) % places.num_plans * plan_room_bytes; }

    // ---- slots

    [[nodiscard]] std::size_t num_elements() const { return static_cast<std::size_t>(places.shape.frames * places.shape.frame_elements()); }
    [[nodiscard]] std::int64_t slot_offset(int slot) const { return places.latents.offset + slot * (places.latents.bytes / num_slots); }
    [[nodiscard]] std::int64_t stamps_offset(int slot) const { return places.stamps.offset + slot * (places.stamps.bytes / num_slots); }

    [[nodiscard]] std::vector<Stamp> stamps(int slot) const {
        std::vector<Stamp> stamps(static_cast<std::size_t>(places.shape.frames));
        read_at(fd.get(), path, stamps_offset(slot), std::as_writable_bytes(std::span{stamps}));
        return stamps;
    }

    /// The step that all of `stamps` name.
    [[nodiscard]] std::optional<std::int64_t> common_step(std::span<const Stamp> stamps) const {
        const auto step = stamps.front().step;
        if (step < 0 || step > header.steps || !std::ranges::all_of(stamps, [&](const Stamp& stamp) { return stamp.step == step; })) return {};
        return step;
    }

    [[nodiscard]] std::vector<Stamp> make_stamps(std::int64_t step, std::span<const float> latents) const {
        const auto size = static_cast<std::size_t>(places.shape.frame_elements());
        std::vector<Stamp> stamps(static_cast<std::size_t>(places.shape.frames));
        for (std::size_t frame = 0; frame < stamps.size(); ++frame) stamps[frame] = {step, checksum64(std::as_bytes(latents.subspan(frame * size, size)))};
        return stamps;
    }

    /// The step that the slot's stamps name (only `wanted`, where that is said), without latents.
    [[nodiscard]] std::optional<Saved> stamped(int slot, std::optional<std::int64_t> wanted) const {
        const auto step = common_step(stamps(slot));
        if (!step || (wanted && *step != *wanted)) return {};
        return Saved{*step, {}};
    }

    /// What the slot holds, if it is one whole state. A disk that cannot read it is damage like any other.
    [[nodiscard]] std::optional<Saved> whole(int slot, std::optional<std::int64_t> wanted) const {
        auto saved = stamped(slot, wanted);
        if (!saved) return {};
        saved->latents.resize(num_elements());
        if (try_read_at(fd.get(), slot_offset(slot), std::as_writable_bytes(std::span{saved->latents})) != 0) return {};
        if (!std::ranges::equal(stamps(slot), make_stamps(saved->step, saved->latents))) return {};
        return saved;
    }

    struct Found {
        int slot = -1;
        std::optional<Saved> saved;
    };

    /// `probe` is `stamped` or `whole`.
    template <class Probe>
    [[nodiscard]] Found find_by(std::int64_t commit_word, Probe probe) const {
        if (commit_word == nothing_committed) return {};
        if (commit_word >= 0 && commit_word / num_slots <= header.steps) {
            const int named = static_cast<int>(commit_word % num_slots);
            if (auto saved = probe(named, commit_word / num_slots)) return {named, std::move(saved)};
            if (auto saved = probe(1 - named, std::nullopt)) return {1 - named, std::move(saved)};
            return {};
        }
        Found best;  // a damaged commit word: the slots speak for themselves
        for (const int slot : {0, 1})
            if (auto saved = probe(slot, std::nullopt); saved && (!best.saved || saved->step > best.saved->step)) best = {slot, std::move(saved)};
        return best;
    }

    template <class Probe>
    [[nodiscard]] Found find_newest(Probe probe) const {
        for (int attempt = 0;; ++attempt) {
            const auto before = word(places.commit);
            auto found = find_by(before, probe);
            // A reader beside a fast writer may find both slots being overwritten; the commit word has moved then.
            if (found.saved || attempt == 20 || word(places.commit) == before) return found;
        }
    }

    [[nodiscard]] Found find_whole() {
        auto found = find_newest([this](int slot, std::optional<std::int64_t> wanted) { return whole(slot, wanted); });
        good = Good{found.slot, found.saved ? found.saved->step : 0};
        return found;
    }

    // ---- making and opening

    void read_header() {
        header.shape = places.shape;
        header.steps = word(places.steps);
        header.clip_frames = word(places.clip_frames);
        header.settings = text(places.settings);
        header.numerics_key = text(places.numerics_key);
        header.input_digest = text(places.input_digest);
        header.weights = weights_from(text(places.weights));
        const auto starts = word(places.starts);
        if (header.steps < 0 || starts < 1 || header.clip_frames < 1 || header.clip_frames > header.shape.frames)
            refuse(cat(path.string(), ": /steps, /starts or /clip_frames is damaged", what_to_do));
        header.plan = text(plan_offset(starts), plan_room_bytes);
    }

    void write_first_content(const RunHeader& first, const std::string& weights) {
        const auto doing = cat("writing its first ", human_bytes(places.latents.bytes + places.plan.bytes));
        for (const auto& place : {places.latents, places.plan}) set_zeros(place, doing);
        const std::vector<Stamp> none(static_cast<std::size_t>(num_slots * places.shape.frames));
        write_at(fd.get(), path, places.stamps.offset, std::as_bytes(std::span{none}), doing);
        set_word(places.commit, nothing_committed, doing);
        set_word(places.steps, first.steps, doing);
        set_word(places.clip_frames, first.clip_frames, doing);
        set_word(places.starts, 1, doing);
        set_text(places.phase, std::string{phase_names[0]}, doing);
        set_text(places.numerics_key, first.numerics_key, doing);
        set_text(places.input_digest, first.input_digest, doing);
        set_text(places.settings, first.settings, doing);
        set_text(places.weights, weights, doing);
        set_text(plan_offset(1), plan_room_bytes, cut_to_room(first.plan), doing);
    }
};

RunFile::RunFile(std::unique_ptr<State> state) : state_{std::move(state)} {}
RunFile::RunFile(RunFile&&) noexcept = default;
RunFile::~RunFile() = default;

RunFile RunFile::create(const std::filesystem::path& path, const RunHeader& header) {
    const auto& shape = header.shape;
    ensure(shape.frames > 0 && shape.channels > 0 && shape.height > 0 && shape.width > 0 && header.steps >= 0, "a run file has a shape and steps");
    ensure(header.clip_frames > 0 && header.clip_frames <= shape.frames, "the clip's frames are among the latents");
    constexpr std::string_view doing = "the run file cannot be written";
    FileDescriptor replaced;  // holds its lock until the rename: nobody may be writing what goes away
    if (std::filesystem::exists(std::filesystem::symlink_status(path))) replaced = open_locked(path, 0, path, doing);

    auto state = std::make_unique<State>();
    state->path = path;
    state->writable = true;
    const Path part = path.string() + ".part";
    state->fd = open_locked(part, O_CREAT, path, doing);
    PartGuard guard{part};

    const auto weights = weights_text(header.weights);
    const auto raw_bytes = num_slots * shape.frames * (shape.frame_elements() * std::int64_t{sizeof(float)} + std::int64_t{sizeof(Stamp)}) +
                           num_plan_rooms * plan_room_bytes + static_cast<std::int64_t>(header.settings.size() + weights.size());
    constexpr std::int64_t structure_bytes = 64 * page_bytes;  // HDF5's own, generously
    const auto all_bytes = raw_bytes + structure_bytes;
    // HDF5 would meet a full disk in the middle of its work, so we ask first. Where this is not supported, the zeros below meet it.
    if (::fallocate(state->fd.get(), 0, 0, all_bytes) != 0 && errno != EOPNOTSUPP && errno != ENOSYS && errno != EINTR)
        system_failed(path, cat("allocating its ", human_bytes(all_bytes), " (", all_bytes, " bytes)"), errno);

    const Hdf5Job job{path, ExitCode::failure};
    lay_out(part, job, header, weights);
    state->places = survey(state->fd.get(), job);
    state->write_first_content(header, weights);
    if (::fsync(state->fd.get()) != 0) system_failed(path, "flushing the new file to the disk", errno);
    state->read_header();
    state->good = State::Good{};
    if (::rename(part.c_str(), path.c_str()) != 0) system_failed(path, "renaming the new file", errno);
    guard.finished = true;
    sync_folder_of(path);
    return RunFile{std::move(state)};
}

RunFile RunFile::open(const std::filesystem::path& path) {
    auto state = std::make_unique<State>();
    state->path = path;
    state->writable = true;
    state->fd = open_locked(path, 0, path, "cannot be opened for writing");
    state->places = survey(state->fd.get(), {path, ExitCode::user_mistake});
    state->read_header();
    return RunFile{std::move(state)};
}

RunFile RunFile::open_readonly(const std::filesystem::path& path) {
    auto state = std::make_unique<State>();
    state->path = path;
    state->fd = FileDescriptor{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
    if (!state->fd) cannot_open(path, "cannot be opened", errno);
    refuse_unless_regular(state->fd.get(), path);
    state->places = survey(state->fd.get(), {path, ExitCode::user_mistake});
    state->read_header();
    return RunFile{std::move(state)};
}

const RunHeader& RunFile::header() const noexcept {
    return state_->header;
}

const std::filesystem::path& RunFile::path() const noexcept {
    return state_->path;
}

void RunFile::set_plan(const std::string& plan) {
    auto& state = *state_;
    ensure(state.writable, "a plan goes to a run file opened for writing");
    const auto start = state.word(state.places.starts) + 1;
    auto text = cut_to_room(plan);
    state.set_text(state.plan_offset(start), plan_room_bytes, text, "saving the plan");
    state.sync();
    state.set_word(state.places.starts, start, "saving the plan");
    state.sync();
    state.header.plan = std::move(text);
}

void RunFile::add_to_plan(const std::string& text) {
    auto& state = *state_;
    ensure(state.writable, "a plan goes to a run file opened for writing");
    state.header.plan = cut_to_room(state.header.plan + text);
    state.set_text(state.plan_offset(state.word(state.places.starts)), plan_room_bytes, state.header.plan, "saving the plan");
    state.sync();
}

void RunFile::save(std::int64_t step, std::span<const float> latents) {
    auto& state = *state_;
    ensure(state.writable, "latents go to a run file opened for writing");
    ensure(step >= 0 && step <= state.header.steps && latents.size() == state.num_elements(), "step and latents fit the run file");
    if (!state.good) (void)state.find_whole();
    const auto before = *state.good;
    const int slot = before.slot == 0 ? 1 : 0;
    try {
        const auto doing = cat("saving the state of step ", step);
        const auto stamps = state.make_stamps(step, latents);
        write_at(state.fd.get(), state.path, state.slot_offset(slot), std::as_bytes(latents), doing);
        write_at(state.fd.get(), state.path, state.stamps_offset(slot), std::as_bytes(std::span{stamps}), doing);
        state.sync();
        state.set_word(state.places.commit, num_slots * step + slot, doing);
        state.good = State::Good{slot, step};  // also if the next line fails: should the old word come back, newest() finds this slot as the other one
        state.sync();
    } catch (const Error& error) {
        throw Error(error.code(),
                    cat(error.what(), before.slot >= 0 ? cat("; the state of step ", before.step, " is still good, and the job can go on from it") : ""));
    }
}

std::optional<RunFile::Saved> RunFile::newest() const {
    return state_->find_whole().saved;
}

std::optional<std::int64_t> RunFile::newest_step() const {
    const auto& state = *state_;
    const auto found = state.find_newest([&](int slot, std::optional<std::int64_t> wanted) { return state.stamped(slot, wanted); });
    if (!found.saved) return {};
    return found.saved->step;
}

void RunFile::set_phase(Phase phase) {
    auto& state = *state_;
    ensure(state.writable, "a phase goes to a run file opened for writing");
    state.set_text(state.places.phase, std::string{phase_names.at(static_cast<std::size_t>(phase))}, "saving the phase");
    state.sync();
}

Phase RunFile::phase() const {
    const auto text = state_->text(state_->places.phase);
    const auto found = std::ranges::find(phase_names, text);
    if (found == phase_names.end()) refuse(cat(path().string(), ": /phase is ", in_quotes(text), ", not one of ", join(phase_names), ": damaged", what_to_do));
    return static_cast<Phase>(found - phase_names.begin());
}

}  // namespace weft::io

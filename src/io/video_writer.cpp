#include "io/video_writer.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "io/libav.hpp"

extern "C" {
#include <libavutil/cpu.h>
}

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace weft::io {

namespace fs = std::filesystem;

struct VideoWriter::State {
    virtual ~State() = default;
    virtual void write(const Picture& frame) = 0;
    virtual void finish() = 0;

    int width = 0;
    int height = 0;
    std::int64_t num_frames = 0;
    bool is_finished = false;
};

namespace {

enum class Kind { mp4, mkv, folder };

constexpr std::string_view kEndings = "a film ends in .mp4 (H.264) or .mkv (lossless FFV1), a folder of numbered PNGs has no ending";

/// `path` without the slash that marks a folder.
fs::path trimmed(const fs::path& path) {
    return path.has_filename() ? path : path.parent_path();
}

Kind kind_of(const fs::path& path) {
    const auto name = trimmed(path).filename().string();
    if (name.empty() || name == "." || name == ".." || name == "/") refuse(cat(in_quotes(path.string()), ": is no name for a film; ", kEndings));
    if (!path.has_filename()) return Kind::folder;
    std::string ending = path.extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char letter) { return char(std::tolower(letter)); });
    if (ending == ".mp4") return Kind::mp4;
    if (ending == ".mkv") return Kind::mkv;
    if (!ending.empty()) refuse(cat(path.string(), ": unknown ending ", in_quotes(path.extension().string()), "; ", kEndings));
    return Kind::folder;
}

fs::path part_of(const fs::path& path) {
    return path.string() + ".part";
}

fs::path folder_of(const fs::path& path) {
    return path.has_parent_path() ? path.parent_path() : fs::path{"."};
}

/// A place that the user named wrongly is his to mend (exit code 2); a disk that is full or fails is not (exit code 1).
[[noreturn]] void cannot_begin(const fs::path& path, int number) {
    const auto text = cat(path.string(), ": cannot be written: ", errno_text(number));
    if (number == ENOSPC || number == EIO || number == EDQUOT || number == ENOMEM || number == EMFILE || number == ENFILE) fail(text);
    refuse(cat(text, "; name a place that can be written"));
}

void check_system(int result, const fs::path& path, std::string_view doing, std::source_location at = std::source_location::current()) {
    if (result != 0) fail(cat(path.string(), ": failed while ", doing, ": ", errno_text(errno)), at);
}

void sync(const fs::path& path) {
    const FileDescriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    check_system(file ? ::fsync(file.get()) : -1, path, "flushing to the disk");
}

bool is_numbered_png(const fs::path& path) {
    const auto name = path.filename().string();
    return name.size() == 9 && name.ends_with(".png") &&
           std::all_of(name.begin(), name.begin() + 5, [](unsigned char letter) { return std::isdigit(letter) != 0; });
}

/// A file that is not one of our numbered PNGs in `folder`, or "".
std::string foreign_file_in(const fs::path& folder) {
    std::error_code error;
    for (fs::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error)) {
        std::error_code ignored;
        if (!is_numbered_png(entry->path()) || !fs::is_regular_file(entry->symlink_status(ignored))) return entry->path().filename().string();
    }
    return error ? error.message() : std::string{};
}

void refuse_foreign_folder(const fs::path& folder) {
    if (const auto name = foreign_file_in(folder); !name.empty())
        refuse(cat(folder.string(), ": exists and holds more than numbered PNGs (", name, "), so it is not replaced; name another folder"));
}

/// Removes a folder of numbered PNGs, and nothing else.
void remove_frames(const fs::path& folder) noexcept {
    std::error_code error;
    std::vector<fs::path> frames;
    for (fs::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error))
        if (is_numbered_png(entry->path())) frames.push_back(entry->path());
    for (const auto& frame : frames) ::unlink(frame.c_str());
    ::rmdir(folder.c_str());
}

void check_options(const fs::path& path, const VideoOptions& options, Kind kind) {
    const auto within = [](int side) { return side >= 1 && side <= libav::kMaxSide; };
    if (!within(options.width) || !within(options.height))
        refuse(cat(path.string(), ": a film of ", options.width, " x ", options.height, " pixels cannot be written; 1 to ", libav::kMaxSide,
                   " a side are allowed"));
    if (kind == Kind::mp4 && (options.width % 2 != 0 || options.height % 2 != 0))
        refuse(cat(path.string(), ": ", options.width, " x ", options.height,
                   " pixels are odd, but H.264 as players read it wants even sides; write .mkv or a folder, or change the size"));
    if (kind == Kind::folder) return;
    if (!(options.fps > 0 && options.fps <= 1000))
        refuse(cat(path.string(), ": ", options.fps, " frames a second cannot be written; more than 0, up to 1000 are allowed"));
    if (kind == Kind::mp4 && (options.quality < 0 || options.quality > 51))
        refuse(cat(path.string(), ": quality ", options.quality, "; 0 (lossless) to 51 (worst) are allowed"));
    ensure(options.threads > 0, "an encoder without threads");
}

void check_place(const fs::path& path, Kind kind) {
    std::error_code error;
    if (!fs::is_directory(folder_of(path), error))
        refuse(cat(path.string(), ": the folder ", folder_of(path).string(), " does not exist; make it first, or name another place"));
    const auto status = fs::status(path, error);
    if (!fs::exists(status)) return;
    if (kind != Kind::folder && !fs::is_regular_file(status)) refuse(cat(path.string(), ": exists and is no file, so it is not replaced; name another place"));
    if (kind != Kind::folder) return;
    if (!fs::is_directory(status)) refuse(cat(path.string(), ": exists and is no folder, so it is not replaced; name another place. ", kEndings));
    refuse_foreign_folder(path);
}

/// The first audio stream of a file, packet by packet, with time 0 where the file's films begin.
class AudioCopy {
  public:
    /// Refuses (exit code 2) when the sound cannot go into a file of `format`.
    AudioCopy(const fs::path& path, const AVOutputFormat& format) : path_{path} {
        std::error_code error;
        if (!fs::is_regular_file(path, error))
            refuse(cat(path.string(), ": cannot be read as sound: ", fs::exists(path, error) ? "is not a file" : "does not exist"));
        libav::listen();
        AVFormatContext* raw = nullptr;
        AVDictionary* options = nullptr;
        av_dict_set(&options, "protocol_whitelist", "file", 0);
        int code = avformat_open_input(&raw, ("file:" + path.string()).c_str(), nullptr, &options);
        av_dict_free(&options);
        if (code >= 0) {
            input_ = libav::Input{raw};
            code = avformat_find_stream_info(raw, nullptr);
        }
        if (code < 0) refuse(cat(path.string(), ": cannot be read as sound: ", libav::reason(code)));
        for (unsigned i = 0; i < raw->nb_streams; ++i) {
            const bool wanted = from_ == nullptr && raw->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO;
            if (wanted)
                from_ = raw->streams[i];
            else
                raw->streams[i]->discard = AVDISCARD_ALL;
        }
        if (from_ == nullptr) refuse(cat(path.string(), ": holds no sound"));
        const auto codec = from_->codecpar->codec_id;
        if (avformat_query_codec(&format, codec, FF_COMPLIANCE_NORMAL) != 1)
            refuse(cat(path.string(), ": its sound (", avcodec_get_name(codec), ") does not fit into ", format.name, "; convert it first, e.g. ffmpeg -i ",
                       path.filename().string(), " -vn -c:a aac sound.m4a, or write the film without sound"));
        if (raw->start_time != AV_NOPTS_VALUE) start_ = av_rescale_q(raw->start_time, AVRational{1, AV_TIME_BASE}, from_->time_base);
    }

    void add_stream(AVFormatContext& film) {
        to_ = avformat_new_stream(&film, nullptr);
        if (to_ == nullptr) fail("out of host memory while adding a stream");
        libav::check(avcodec_parameters_copy(to_->codecpar, from_->codecpar), path_, "copying its sound");
        to_->codecpar->codec_tag = 0;  // the tag belongs to the container it came from
        to_->time_base = from_->time_base;
        // Matroska cannot begin before 0 and would move the pictures instead.
        drops_negative_ = (film.oformat->flags & AVFMT_TS_NEGATIVE) == 0 && std::string_view{film.oformat->name} == "matroska";
    }

    /// Hands over what ends within the first `num_frames` of the film.
    void write_until(AVFormatContext& film, const fs::path& film_path, std::int64_t num_frames, AVRational frame_time) {
        while (have_packet_ || read()) {
            auto& packet = *packet_.get();
            if (av_compare_ts(packet.dts + packet.duration, from_->time_base, num_frames, frame_time) > 0) return;
            have_packet_ = false;
            if (drops_negative_ && packet.pts < 0) continue;
            av_packet_rescale_ts(&packet, from_->time_base, to_->time_base);
            packet.stream_index = to_->index;
            packet.pos = -1;
            libav::check(av_interleaved_write_frame(&film, &packet), film_path, "writing the sound");
        }
    }

  private:
    bool read() {
        auto& packet = *packet_.get();
        while (!at_end_) {
            libav::listen();
            av_packet_unref(&packet);
            const int code = av_read_frame(input_.get(), &packet);
            if (code == AVERROR_EOF) break;
            if (code < 0) refuse(cat(path_.string(), ": its sound is broken: ", libav::reason(code), "; get it anew, or write the film without sound"));
            if (packet.stream_index != from_->index) continue;
            if (packet.dts == AV_NOPTS_VALUE) packet.dts = packet.pts != AV_NOPTS_VALUE ? packet.pts : start_ + (next_ == kNever ? 0 : next_);
            if (packet.pts == AV_NOPTS_VALUE) packet.pts = packet.dts;
            packet.dts -= start_;
            packet.pts -= start_;
            if (packet.dts < next_ && next_ != kNever) continue;  // muxers want times that rise
            next_ = packet.dts + std::max<std::int64_t>(packet.duration, 1);
            have_packet_ = true;
            return true;
        }
        at_end_ = true;
        return false;
    }

    static constexpr std::int64_t kNever = INT64_MIN / 2;

    fs::path path_;
    libav::Input input_;
    libav::Packet packet_ = libav::new_packet();
    AVStream* from_ = nullptr;  // input_'s
    AVStream* to_ = nullptr;    // the film's
    std::int64_t start_ = 0;
    std::int64_t next_ = kNever;
    bool have_packet_ = false;
    bool at_end_ = false;
    bool drops_negative_ = false;
};

const AVOutputFormat& format_of(Kind kind) {
    const char* name = kind == Kind::mp4 ? "mp4" : "matroska";
    const auto* format = av_guess_format(name, nullptr, nullptr);
    if (format == nullptr) fail(cat("the installed FFmpeg cannot write ", name));
    return *format;
}

/// Removes the file unless it was renamed.
class PartFile {
  public:
    explicit PartFile(fs::path path) : path_{std::move(path)} {}
    PartFile(const PartFile&) = delete;
    PartFile& operator=(const PartFile&) = delete;
    ~PartFile() {
        if (!path_.empty()) ::unlink(path_.c_str());
    }
    [[nodiscard]] const fs::path& path() const noexcept { return path_; }

    void become(const fs::path& target) {
        sync(path_);
        check_system(::rename(path_.c_str(), target.c_str()), target, "renaming the finished film");
        path_.clear();
        sync(folder_of(target));
    }

  private:
    fs::path path_;
};

class FilmFile final : public VideoWriter::State {
  public:
    FilmFile(const fs::path& path, const VideoOptions& options, Kind kind) : path_{path}, kind_{kind} {
        libav::listen();
        const auto& format = format_of(kind);
        if (options.audio) audio_.emplace(*options.audio, format);
        open_encoder(options);
        make_part();

        AVFormatContext* raw = nullptr;
        const auto url = "file:" + part_->path().string();
        libav::check(avformat_alloc_output_context2(&raw, &format, nullptr, url.c_str()), path_, "preparing the film");
        output_ = libav::Output{raw};
        raw->flags |= AVFMT_FLAG_BITEXACT;
        raw->max_interleave_delta = 0;  // the sound waits for the pictures however far the encoder looks ahead
        libav::check(avio_open(&raw->pb, url.c_str(), AVIO_FLAG_WRITE), path_, "opening the film");
        stream_ = avformat_new_stream(raw, nullptr);
        if (stream_ == nullptr) fail("out of host memory while adding a stream");
        stream_->time_base = encoder_.get()->time_base;
        stream_->avg_frame_rate = encoder_.get()->framerate;
        libav::check(avcodec_parameters_from_context(stream_->codecpar, encoder_.get()), path_, "preparing the film");
        if (audio_) audio_->add_stream(*raw);
        AVDictionary* settings = nullptr;
        if (kind == Kind::mp4) av_dict_set(&settings, "movflags", "+faststart", 0);
        const int code = avformat_write_header(raw, &settings);
        av_dict_free(&settings);
        libav::check(code, path_, "writing the film's head");
    }

    void write(const Picture& frame) override {
        libav::listen();
        libav::check(av_frame_make_writable(frame_.get()), path_, "preparing a frame");
        kind_ == Kind::mp4 ? fill_yuv(frame) : fill_bgr0(frame);
        frame_.get()->pts = num_frames;
        libav::check(avcodec_send_frame(encoder_.get(), frame_.get()), path_, cat("encoding frame ", num_frames));
        ++num_frames;
        drain();
        if (audio_) audio_->write_until(*output_.get(), path_, num_frames, encoder_.get()->time_base);
    }

    void finish() override {
        libav::listen();
        libav::check(avcodec_send_frame(encoder_.get(), nullptr), path_, "encoding the last frames");
        drain();
        auto& film = *output_.get();
        int code = av_write_trailer(&film);
        if (code >= 0 && film.pb->error < 0) code = film.pb->error;
        const int closed = avio_closep(&film.pb);
        libav::check(code < 0 ? code : closed, path_, "writing the film's end");
        output_ = {};
        part_->become(path_);
    }

  private:
    void open_encoder(const VideoOptions& options) {
        const bool lossy = kind_ == Kind::mp4;
        const auto* codec = lossy ? avcodec_find_encoder_by_name("libx264") : avcodec_find_encoder(AV_CODEC_ID_FFV1);
        if (codec == nullptr)
            fail(cat(path_.string(), ": the installed FFmpeg has no encoder ", lossy ? "libx264" : "ffv1",
                     lossy ? "; write .mkv or a folder" : "; write a folder"));
        encoder_ = libav::Codec{avcodec_alloc_context3(codec)};
        if (!encoder_) fail("out of host memory while making an encoder");
        auto& settings = *encoder_.get();
        settings.width = options.width;
        settings.height = options.height;
        settings.framerate = av_d2q(options.fps, 1001000);  // holds 30000/1001 exactly
        settings.time_base = av_inv_q(settings.framerate);
        settings.sample_aspect_ratio = {1, 1};
        settings.thread_count = options.threads;
        settings.flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
        AVDictionary* extra = nullptr;
        if (lossy) {
            settings.pix_fmt = AV_PIX_FMT_YUV420P;
            settings.color_range = AVCOL_RANGE_MPEG;
            settings.colorspace = AVCOL_SPC_BT709;
            settings.color_primaries = AVCOL_PRI_BT709;
            settings.color_trc = AVCOL_TRC_BT709;
            av_dict_set_int(&extra, "crf", options.quality, 0);
            av_dict_set(&extra, "preset", "medium", 0);  // 30 ms a frame of 576 x 1024 against 20 of "veryfast": both vanish beside making the frame
            // x264 0.164 (r3095) with AVX-512 gives other bytes from run to run: its "mbtree" then depends on what lay in the heap (64 x 48: 5 streams in 60
            // runs; one with AVX2). May go with an x264 whose bytes repeat in Video.EqualFramesGiveEqualBytes without it.
            if ((av_get_cpu_flags() & AV_CPU_FLAG_AVX512) != 0) av_dict_set(&extra, "x264-params", "asm=MMX2,SSE2Fast,SSSE3,SSE4.2,AVX,FMA3,BMI2,AVX2", 0);
        } else {
            settings.pix_fmt = AV_PIX_FMT_0RGB32;
            settings.gop_size = 1;  // any frame can be reached without the ones before
            settings.level = 3;
            settings.slices = 4;
            av_dict_set_int(&extra, "slicecrc", 1, 0);
        }
        const int code = avcodec_open2(&settings, codec, &extra);
        av_dict_free(&extra);
        libav::check(code, path_, cat("opening the encoder ", codec->name));
        frame_ = libav::new_frame(settings.pix_fmt, settings.width, settings.height);
        if (!lossy) return;

        rgb_ = libav::new_frame(AV_PIX_FMT_RGB24, settings.width, settings.height);
        const int flags = SWS_BICUBIC | SWS_ACCURATE_RND | SWS_BITEXACT | SWS_FULL_CHR_H_INT | SWS_FULL_CHR_H_INP;
        scaler_ = libav::Scaler{sws_getContext(settings.width, settings.height, AV_PIX_FMT_RGB24, settings.width, settings.height, settings.pix_fmt, flags,
                                               nullptr, nullptr, nullptr)};
        if (!scaler_) fail(cat(path_.string(), ": frames cannot be converted for the encoder: ", libav::reason(AVERROR(EINVAL))));
        const auto* matrix = sws_getCoefficients(SWS_CS_ITU709);
        sws_setColorspaceDetails(scaler_.get(), matrix, 1, matrix, 0, 0, 1 << 16, 1 << 16);
    }

    void make_part() {
        const auto part = part_of(path_);
        struct stat status {};
        if (::lstat(part.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) refuse(cat(part.string(), ": is in the way of the unfinished film; remove it"));
        const FileDescriptor file{::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
        if (!file) cannot_begin(path_, errno);
        part_.emplace(part);
    }

    void fill_yuv(const Picture& frame) {
        const auto row = std::size_t(frame.width) * 3;
        auto& rgb = *rgb_.get();
        for (int y = 0; y < frame.height; ++y) std::memcpy(rgb.data[0] + std::ptrdiff_t{y} * rgb.linesize[0], frame.rgb.data() + std::size_t(y) * row, row);
        const int rows = sws_scale(scaler_.get(), rgb.data, rgb.linesize, 0, frame.height, frame_.get()->data, frame_.get()->linesize);
        if (rows != frame.height) fail(cat(path_.string(), ": converting frame ", num_frames, " failed: ", libav::reason(rows)));
    }

    void fill_bgr0(const Picture& frame) {
        const auto* in = frame.rgb.data();
        for (int y = 0; y < frame.height; ++y) {
            auto* row = frame_.get()->data[0] + std::ptrdiff_t{y} * frame_.get()->linesize[0];
            for (int x = 0; x < frame.width; ++x, in += 3) {
                const auto pixel = std::uint32_t{in[0]} << 16 | std::uint32_t{in[1]} << 8 | in[2];
                std::memcpy(row + std::ptrdiff_t{x} * 4, &pixel, 4);
            }
        }
    }

    /// Passes on what the encoder has ready.
    void drain() {
        for (;;) {
            const int code = avcodec_receive_packet(encoder_.get(), packet_.get());
            if (code == AVERROR(EAGAIN) || code == AVERROR_EOF) return;
            libav::check(code, path_, "encoding");
            auto& packet = *packet_.get();
            packet.duration = 1;  // libx264 leaves it at 0, and the mp4 would end one frame early
            av_packet_rescale_ts(&packet, encoder_.get()->time_base, stream_->time_base);
            packet.stream_index = stream_->index;
            libav::check(av_interleaved_write_frame(output_.get(), &packet), path_, "writing the film");
        }
    }

    fs::path path_;
    Kind kind_;
    std::optional<PartFile> part_;  // before output_: closed first, then removed
    libav::Output output_;
    std::optional<AudioCopy> audio_;
    AVStream* stream_ = nullptr;  // output_'s
    libav::Codec encoder_;
    libav::Scaler scaler_;
    libav::Frame rgb_;
    libav::Frame frame_;
    libav::Packet packet_ = libav::new_packet();
};

class FrameFolder final : public VideoWriter::State {
  public:
    explicit FrameFolder(const fs::path& path) : path_{path}, part_{part_of(path)} {
        std::error_code error;
        if (const auto status = fs::symlink_status(part_, error); fs::exists(status)) {
            if (!fs::is_directory(status)) refuse(cat(part_.string(), ": is in the way of the unfinished frames; remove it"));
            refuse_foreign_folder(part_);
            remove_frames(part_);
        }
        if (::mkdir(part_.c_str(), 0777) != 0) cannot_begin(path_, errno);
    }
    FrameFolder(const FrameFolder&) = delete;
    FrameFolder& operator=(const FrameFolder&) = delete;
    ~FrameFolder() override {
        if (!is_finished) remove_frames(part_);
    }

    void write(const Picture& frame) override {
        if (num_frames == kMostFrames)
            fail(cat(path_.string(), ": a folder holds at most ", kMostFrames,
                     " frames, so that the order of names is that of the film; write .mkv (lossless too)"));
        char name[16];
        std::snprintf(name, sizeof name, "%05d.png", int(num_frames + 1));
        const auto file = part_ / name;
        const auto png = png_bytes(frame);
        FileDescriptor out{::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
        check_system(out ? 0 : -1, file, "creating the file");
        for (std::string_view rest = png; !rest.empty();) {
            const auto written = ::write(out.get(), rest.data(), rest.size());
            if (written < 0 && errno == EINTR) continue;
            check_system(written < 0 ? -1 : 0, file, "writing");
            rest.remove_prefix(std::size_t(written));
        }
        ++num_frames;
    }

    void finish() override {
        {
            const FileDescriptor folder{::open(part_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
            check_system(folder ? ::syncfs(folder.get()) : -1, part_, "flushing to the disk");
        }
        std::error_code error;
        if (fs::exists(path_, error)) {
            refuse_foreign_folder(path_);  // it may have got one since
            auto aside = path_.string() + ".old-XXXXXX";
            check_system(::mkdtemp(aside.data()) == nullptr ? -1 : 0, path_, "making room for the old frames");
            check_system(::rename(path_.c_str(), aside.c_str()), path_, "putting the old frames aside");
            if (::rename(part_.c_str(), path_.c_str()) != 0) {
                const int number = errno;
                ::rename(aside.c_str(), path_.c_str());
                fail(cat(path_.string(), ": failed while renaming the finished frames: ", errno_text(number)));
            }
            remove_frames(aside);
        } else {
            check_system(::rename(part_.c_str(), path_.c_str()), path_, "renaming the finished frames");
        }
        is_finished = true;
        sync(folder_of(path_));
    }

  private:
    static constexpr std::int64_t kMostFrames = 99999;

    fs::path path_;
    fs::path part_;
};

std::unique_ptr<VideoWriter::State> begin(const fs::path& given, const VideoOptions& options) {
    const auto kind = kind_of(given);
    const auto path = trimmed(given);
    check_options(path, options, kind);
    check_place(path, kind);
    std::unique_ptr<VideoWriter::State> state;
    if (kind == Kind::folder) {
        if (options.audio) refuse(why_no_audio(*options.audio, given));
        state = std::make_unique<FrameFolder>(path);
    } else {
        state = std::make_unique<FilmFile>(path, options, kind);
    }
    state->width = options.width;
    state->height = options.height;
    return state;
}

}  // namespace

std::string why_no_audio(const fs::path& audio, const fs::path& path) {
    const auto kind = kind_of(path);
    if (kind == Kind::folder) return cat(path.string(), ": a folder of pictures holds no sound; write a film (.mp4, .mkv), or switch the sound off");
    try {
        const AudioCopy copy{audio, format_of(kind)};
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        return error.what();
    }
    return {};
}

VideoWriter::VideoWriter(const fs::path& path, const VideoOptions& options) : state_{begin(path, options)} {}
VideoWriter::VideoWriter(VideoWriter&&) noexcept = default;
VideoWriter::~VideoWriter() = default;

void VideoWriter::write(const Picture& frame) {
    ensure(!state_->is_finished, "a frame was written to a finished film");
    ensure(frame.width == state_->width && frame.height == state_->height && frame.rgb.size() == std::size_t(frame.width) * std::size_t(frame.height) * 3,
           "a frame of another size was written to a film");
    state_->write(frame);
}

std::int64_t VideoWriter::finish() {
    ensure(!state_->is_finished, "a film was finished twice");
    ensure(state_->num_frames > 0, "a film without frames was finished");
    state_->finish();
    state_->is_finished = true;
    return state_->num_frames;
}

}  // namespace weft::io

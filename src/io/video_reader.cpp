#include "io/video_reader.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/libav.hpp"

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

namespace weft::io {

namespace fs = std::filesystem;

struct VideoReader::State {
    virtual ~State() = default;
    /// Goes on to the next frame (the first, at the beginning); false at the end.
    virtual bool advance() = 0;
    [[nodiscard]] virtual Picture current() = 0;

    VideoInfo info;
};

namespace {

bool has_picture_ending(const fs::path& path) {
    std::string ending = path.extension().string();
    std::transform(ending.begin(), ending.end(), ending.begin(), [](unsigned char letter) { return char(std::tolower(letter)); });
    return ending == ".png" || ending == ".jpg" || ending == ".jpeg" || ending == ".webp";
}

std::vector<fs::path> pictures_in(const fs::path& folder) {
    std::vector<fs::path> paths;
    std::error_code error;
    for (fs::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error)) {
        std::error_code ignored;  // a dangling link is no picture
        if (!entry->path().filename().string().starts_with('.') && has_picture_ending(entry->path()) && entry->is_regular_file(ignored))
            paths.push_back(entry->path());
    }
    if (error) refuse(cat(folder.string(), ": the folder cannot be read: ", error.message()));
    if (paths.empty())
        refuse(cat(folder.string(), ": the folder holds no pictures; files ending in .png, .jpg, .jpeg or .webp are read, in the order of their names"));
    std::sort(paths.begin(), paths.end(), [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
    return paths;
}

class Pictures final : public VideoReader::State {
  public:
    explicit Pictures(std::vector<fs::path> paths) : paths_{std::move(paths)}, first_{read_picture(paths_.front())} {
        info.width = first_.width;
        info.height = first_.height;
        info.frames_expected = std::int64_t(paths_.size());
    }

    bool advance() override {
        if (num_passed_ == paths_.size()) return false;
        ++num_passed_;
        return true;
    }

    Picture current() override {
        if (num_passed_ == 1) return std::exchange(first_, {});
        const auto& path = paths_[num_passed_ - 1];
        auto picture = read_picture(path);
        if (picture.width != info.width || picture.height != info.height)
            refuse(cat(path.string(), ": has ", picture.width, " x ", picture.height, " pixels, but ", paths_.front().filename().string(), " before it has ",
                       info.width, " x ", info.height, "; the pictures of a folder must be of one size"));
        return picture;
    }

  private:
    std::vector<fs::path> paths_;
    std::size_t num_passed_ = 0;
    Picture first_;
};

/// Demuxers that take a picture file for a film of one frame.
bool is_for_pictures(const AVInputFormat& format) {
    const std::string_view name{format.name};
    return name == "image2" || name.ends_with("_pipe");
}

/// Decoders that draw any text file as a film of a terminal.
bool draws_text(AVCodecID codec) {
    return codec == AV_CODEC_ID_ANSI || codec == AV_CODEC_ID_BINTEXT || codec == AV_CODEC_ID_XBIN || codec == AV_CODEC_ID_IDF;
}

libav::Input open_container(const fs::path& path) {
    libav::listen();
    AVFormatContext* raw = nullptr;
    AVDictionary* options = nullptr;
    av_dict_set(&options, "protocol_whitelist", "file", 0);  // a play list must not reach into the network
    const int code = avformat_open_input(&raw, ("file:" + path.string()).c_str(), nullptr, &options);
    av_dict_free(&options);
    if (code < 0) refuse(cat(path.string(), ": cannot be read as a video: ", libav::reason(code)));
    return libav::Input{raw};
}

class Film final : public VideoReader::State {
  public:
    Film(const fs::path& path, libav::Input container) : path_{path}, container_{std::move(container)} {
        auto& format = *container_.get();
        if (const int code = avformat_find_stream_info(&format, nullptr); code < 0)
            refuse(cat(path_.string(), ": cannot be read as a video: ", libav::reason(code)));
        info.has_audio = av_find_best_stream(&format, AVMEDIA_TYPE_AUDIO, -1, -1, nullptr, 0) >= 0;

        const AVCodec* codec = nullptr;
        stream_ = av_find_best_stream(&format, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
        if (stream_ == AVERROR_DECODER_NOT_FOUND) refuse(cat(path_.string(), ": the installed FFmpeg cannot decode its video; convert it to H.264 first"));
        if (stream_ < 0 || (format.streams[stream_]->disposition & AV_DISPOSITION_ATTACHED_PIC) != 0)
            refuse(cat(path_.string(), ": holds no video", info.has_audio ? ", only sound" : ""));
        if (draws_text(codec->id)) refuse(cat(path_.string(), ": is a text, not a video"));
        for (unsigned i = 0; i < format.nb_streams; ++i)
            if (int(i) != stream_) format.streams[i]->discard = AVDISCARD_ALL;

        auto& stream = *format.streams[stream_];
        decoder_ = libav::open_decoder(*codec, stream.codecpar, path_);
        const auto rate = stream.avg_frame_rate.num > 0 && stream.avg_frame_rate.den > 0 ? stream.avg_frame_rate : stream.r_frame_rate;
        if (rate.num > 0 && rate.den > 0) info.fps = av_q2d(rate);
        info.frames_expected = std::max<std::int64_t>(stream.nb_frames, 0);
        if (const auto* matrix = av_stream_get_side_data(&stream, AV_PKT_DATA_DISPLAYMATRIX, nullptr); matrix != nullptr)
            turn_ = libav::turn_of(reinterpret_cast<const std::int32_t*>(matrix));

        if (!decode()) refuse(cat(path_.string(), ": the video holds no frames"));
        first_is_waiting_ = true;
        coded_width_ = frame_.get()->width;
        coded_height_ = frame_.get()->height;
        if (const auto* data = av_frame_get_side_data(frame_.get(), AV_FRAME_DATA_DISPLAYMATRIX); data != nullptr)
            turn_ = libav::turn_of(reinterpret_cast<const std::int32_t*>(data->data));
        info.width = turn_.swap ? coded_height_ : coded_width_;
        info.height = turn_.swap ? coded_width_ : coded_height_;
    }

    bool advance() override {
        if (std::exchange(first_is_waiting_, false)) return true;
        if (!decode()) return false;
        if (frame_.get()->width != coded_width_ || frame_.get()->height != coded_height_)
            refuse(cat(path_.string(), ": frame ", num_decoded_, " has ", frame_.get()->width, " x ", frame_.get()->height, " pixels, the frames before it ",
                       coded_width_, " x ", coded_height_, "; convert the video to one size first"));
        return true;
    }

    Picture current() override { return libav::turned(converter_.convert(*frame_.get()), turn_); }

  private:
    bool decode() {
        if (at_end_) return false;
        libav::listen();
        for (;;) {
            const int code = avcodec_receive_frame(decoder_.get(), frame_.get());
            if (code == 0) {
                const bool is_wrong_ffv1 = decoder_.get()->codec_id == AV_CODEC_ID_FFV1 && libav::any_complaint();
                if (is_wrong_ffv1 || frame_.get()->decode_error_flags != 0 || (frame_.get()->flags & AV_FRAME_FLAG_CORRUPT) != 0)
                    refuse_broken(AVERROR_INVALIDDATA);
                ++num_decoded_;
                return true;
            }
            if (code == AVERROR_EOF) {
                at_end_ = true;
                return false;
            }
            if (code != AVERROR(EAGAIN)) refuse_broken(code);
            feed();
        }
    }

    /// One more packet of the stream goes to the decoder, or the news that there is none.
    void feed() {
        do {
            av_packet_unref(packet_.get());
            libav::listen();
            const int code = av_read_frame(container_.get(), packet_.get());
            if ((code >= 0 || code == AVERROR_EOF) && libav::any_complaint_of_a_demuxer()) refuse_broken(AVERROR_INVALIDDATA);
            if (code == AVERROR_EOF) {
                if (const auto* file = container_.get()->pb; file != nullptr && file->error < 0 && file->error != AVERROR_EOF) refuse_broken(file->error);
                av_packet_unref(packet_.get());
                break;
            }
            if (code < 0) refuse_broken(code);
        } while (packet_.get()->stream_index != stream_);
        if ((packet_.get()->flags & AV_PKT_FLAG_CORRUPT) != 0) refuse_broken(AVERROR_INVALIDDATA);
        if (const int code = avcodec_send_packet(decoder_.get(), packet_.get()->data != nullptr ? packet_.get() : nullptr); code < 0 && code != AVERROR_EOF)
            refuse_broken(code);
    }

    [[noreturn]] void refuse_broken(int code) const {
        refuse(cat(path_.string(), ": the video is broken at frame ", num_decoded_, " (counted from 0): ", libav::reason(code),
                   "; get it anew, or cut it before that frame"));
    }

    fs::path path_;
    libav::Input container_;
    libav::Codec decoder_;
    libav::Frame frame_ = libav::new_frame();
    libav::Packet packet_ = libav::new_packet();
    libav::RgbConverter converter_;
    libav::Turn turn_;
    int stream_ = -1;
    int coded_width_ = 0;
    int coded_height_ = 0;
    std::int64_t num_decoded_ = 0;
    bool first_is_waiting_ = false;
    bool at_end_ = false;
};

std::unique_ptr<VideoReader::State> open(const fs::path& path) {
    std::error_code error;
    const auto status = fs::status(path, error);
    if (!fs::exists(status)) refuse(cat(path.string(), ": does not exist; a video file or a folder of pictures is wanted"));
    if (fs::is_directory(status)) return std::make_unique<Pictures>(pictures_in(path));
    if (!fs::is_regular_file(status)) refuse(cat(path.string(), ": is neither a file nor a folder"));
    if (fs::file_size(path, error) == 0) refuse(cat(path.string(), ": is empty; a video file or a folder of pictures is wanted"));
    auto container = open_container(path);
    if (is_for_pictures(*container.get()->iformat)) return std::make_unique<Pictures>(std::vector{path});
    return std::make_unique<Film>(path, std::move(container));
}

}  // namespace

VideoReader::VideoReader(const fs::path& path) : state_{open(path)} {}
VideoReader::VideoReader(VideoReader&&) noexcept = default;
VideoReader::~VideoReader() = default;

const VideoInfo& VideoReader::info() const noexcept {
    return state_->info;
}

std::optional<Picture> VideoReader::next() {
    if (!state_->advance()) return std::nullopt;
    return state_->current();
}

bool VideoReader::skip() {
    return state_->advance();
}

}  // namespace weft::io

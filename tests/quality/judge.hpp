#pragma once
#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

/// How near a film comes to a drawn truth whose pixels are labelled with the parts they show.
namespace weft::quality {

/// Interleaved RGB, rows from the top, no padding.
using Pixels = std::span<const std::uint8_t>;
/// One a pixel.
using Labels = std::span<const std::uint8_t>;

struct Part {
    std::string name;
    std::uint8_t label = 0;
    bool figure = false;  ///< else it belongs to the background
};

struct Parts {
    std::vector<Part> parts;
    std::uint8_t mixed = 255;  ///< label of pixels that show two parts: they belong to none
};

inline constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

/// NaN where nothing could be judged. Colours and differences are on a scale of 0 to 1, averaged over the channels.
struct Verdict {
    std::int64_t frames = 0;
    double overlap = kUnknown;            ///< intersection over union of the figure in film and truth: mean over the frames that show it in either
    double overlap_worst = kUnknown;      ///< of the worst frame
    double colour = kUnknown;             ///< how far a part's mean colour is off: mean over the figure's parts
    double colour_worst = kUnknown;       ///< of the worst part
    double colour_background = kUnknown;  ///< mean over the other parts
    std::vector<std::pair<std::string, double>> colour_parts;  ///< of the figure: mean over frames
    double flicker = kUnknown;                                 ///< change of the still background from frame to frame: mean over pairs of frames
    double flicker_worst = kUnknown;                           ///< of the worst pair
    std::vector<double> error_changes;                         ///< from frame to frame: root mean square, 0 to 1, of how film less truth changes
    double psnr = kUnknown;                                    ///< dB, of the mean square error over all pixels and frames; infinite for equal films
};

/// Takes film and truth frame by frame; holds two frames, whatever their number.
class Judge {
  public:
    /// A part is judged in frames that show at least so many pixels of it.
    static constexpr std::int64_t kLeastPixels = 8;
    /// Distance of the still background from the figure, the larger of across and down: pixels nearer than this are not looked at.
    static constexpr int kMargin = 2;

    /// `background`: width * height pixels, the picture without the figure. Refuses parts that cannot be told apart.
    Judge(int width, int height, Pixels background, Parts parts);

    /// The next frame. Refuses a label that no part has.
    void add(Pixels film, Pixels truth, Labels labels);

    [[nodiscard]] Verdict verdict() const;

  private:
    struct Tally {
        std::int64_t count = 0;
        double sum = 0;
        double least = kUnknown;
        double most = kUnknown;

        void add(double value);
        [[nodiscard]] double mean() const;
    };
    using Colour = std::array<double, 3>;

    [[nodiscard]] std::vector<std::uint8_t> still_pixels(Labels labels) const;
    [[nodiscard]] std::vector<Colour> judge_colours(Pixels film, Pixels truth, Labels labels);
    void judge_overlap(Pixels film, Pixels truth, const std::vector<Colour>& figure);
    void judge_flicker(Pixels film, Labels labels);
    void judge_error(Pixels film, Pixels truth);

    int width_;
    int height_;
    std::vector<std::uint8_t> background_;
    Parts parts_;
    std::array<int, 256> part_of_{};  ///< position in parts_, or one of the negative values in judge.cpp

    std::int64_t num_frames_ = 0;
    Tally overlap_;
    std::vector<Tally> colours_;  ///< one a part
    Tally flicker_;
    double square_error_ = 0;
    std::vector<double> error_changes_;
    std::vector<int> error_before_;
    std::vector<std::uint8_t> film_before_;
    std::vector<std::uint8_t> still_before_;
};

struct Limits {
    std::optional<double> min_overlap;
    std::optional<double> max_colour;
    std::optional<double> max_flicker;
    std::optional<double> max_seam;
};

/// How much the film's error changes at slice borders over how much it changes inside slices (plan::measure_seams): movement, which the truth shares, does not
/// count. 1: no seam is measurable. Slices are MimicMotion's, the film's first frame is the clip's frame 1. NaN where the clip is one slice.
/// Needs 1 <= overlap < length.
[[nodiscard]] double seam(const Verdict& verdict, std::int64_t length, std::int64_t overlap);

/// One sentence for each limit that verdict and `seam` break. What could not be judged (NaN) breaks every limit, and a limit that is NaN is broken by all.
[[nodiscard]] std::vector<std::string> broken(const Verdict& verdict, const Limits& limits, double seam = kUnknown);

}  // namespace weft::quality

#include "pose/draw_map.hpp"

#include "base/error.hpp"

#include <opencv2/imgproc.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

namespace weft::pose {

namespace {

struct Edge {
    std::size_t from;
    std::size_t to;
};

constexpr std::array<Edge, 17> limbs{{{neck, right_shoulder},
                                      {neck, left_shoulder},
                                      {right_shoulder, right_elbow},
                                      {right_elbow, right_wrist},
                                      {left_shoulder, left_elbow},
                                      {left_elbow, left_wrist},
                                      {neck, right_hip},
                                      {right_hip, right_knee},
                                      {right_knee, right_ankle},
                                      {neck, left_hip},
                                      {left_hip, left_knee},
                                      {left_knee, left_ankle},
                                      {neck, nose},
                                      {nose, right_eye},
                                      {right_eye, right_ear},
                                      {nose, left_eye},
                                      {left_eye, left_ear}}};

/// (r, g, b) of joint i, and of limb i before it is darkened.
constexpr std::array<std::array<int, 3>, num_body_points> colours{{{0, 0, 255},
                                                                   {0, 85, 255},
                                                                   {0, 170, 255},
                                                                   {0, 255, 255},
                                                                   {0, 255, 170},
                                                                   {0, 255, 85},
                                                                   {0, 255, 0},
                                                                   {85, 255, 0},
                                                                   {170, 255, 0},
                                                                   {255, 255, 0},
                                                                   {255, 170, 0},
                                                                   {255, 85, 0},
                                                                   {255, 0, 0},
                                                                   {255, 0, 85},
                                                                   {255, 0, 170},
                                                                   {255, 0, 255},
                                                                   {170, 0, 255},
                                                                   {85, 0, 255}}};
constexpr std::size_t num_hand_edges = 20;

cv::Scalar colour_of(std::size_t joint) {
    const auto& [r, g, b] = colours[joint];
    return {static_cast<double>(r), static_cast<double>(g), static_cast<double>(b)};
}

/// Hue edge / 20 at full saturation and value, with red and blue exchanged; computed as matplotlib does, since half steps are rounded.
cv::Scalar hand_colour(std::size_t edge) {
    const double turn = static_cast<double>(edge) / static_cast<double>(num_hand_edges) * 6.0;
    const int sixth = static_cast<int>(turn);
    const double rising = 1.0 - (1.0 - (turn - sixth));
    const double falling = 1.0 - (turn - sixth);
    const auto of = [](double r, double g, double b) { return cv::Scalar(b * 255, g * 255, r * 255); };
    switch (sixth) {
        case 0: return of(1, rising, 0);
        case 1: return of(falling, 1, 0);
        case 2: return of(0, 1, rising);
        case 3: return of(0, falling, 1);
        case 4: return of(rising, 0, 1);
        default: return of(1, 0, falling);
    }
}

Edge hand_edge(std::size_t edge) {
    const auto finger = edge / 4, bone = edge % 4;
    const auto tip = 4 * finger + bone + 1;
    return {bone == 0 ? 0 : tip - 1, tip};
}

/// Half a limb's thickness, and a hand edge's whole.
int width_of(double length) {
    constexpr std::array lengths{5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0};
    return static_cast<int>(std::upper_bound(lengths.begin(), lengths.end(), length) - lengths.begin()) + 1;
}

/// Draws one person, in pixels of the canvas.
class Artist {
  public:
    Artist(cv::Mat& canvas, const ImageSize& size) : canvas_{canvas}, size_{size} {}

    void draw_limbs(const BodyPoints& body) {
        for (std::size_t i = 0; i < limbs.size(); ++i)
            if (drawable(body[limbs[i].from]) && drawable(body[limbs[i].to])) draw_limb(at(body[limbs[i].from]), at(body[limbs[i].to]), colour_of(i));
    }

    void darken() {
        for (int y = 0; y < canvas_.rows; ++y) {
            const std::span row{canvas_.ptr(y), static_cast<std::size_t>(canvas_.cols) * 3};
            for (auto& value : row) value = static_cast<std::uint8_t>(value * 0.6);
        }
    }

    void draw_joints(const BodyPoints& body) {
        for (std::size_t i = 0; i < body.size(); ++i)
            if (drawable(body[i])) cv::circle(canvas_, whole(at(body[i])), 4, colour_of(i), cv::FILLED);
    }

    void draw_hand(const HandPoints& hand) {
        for (std::size_t i = 0; i < num_hand_edges; ++i) {
            const auto edge = hand_edge(i);
            if (!inside(hand[edge.from]) || !inside(hand[edge.to])) continue;
            const auto from = whole(at(hand[edge.from])), to = whole(at(hand[edge.to]));
            cv::line(canvas_, from, to, hand_colour(i), width_of(std::hypot(from.x - to.x, from.y - to.y)));
        }
        for (const auto& point : hand)
            if (inside(point)) cv::circle(canvas_, whole(at(point)), 3, cv::Scalar(255, 0, 0), cv::FILLED);
    }

  private:
    [[nodiscard]] cv::Point2d at(const KeyPoint& point) const { return {point.x * size_.width, point.y * size_.height}; }
    static cv::Point whole(const cv::Point2d& place) { return {static_cast<int>(place.x), static_cast<int>(place.y)}; }

    /// Seen, and not so far away that OpenCV's fixed-point numbers end.
    [[nodiscard]] bool drawable(const KeyPoint& point) const {
        const auto place = at(point);
        return point.seen() && std::abs(place.x) < 16384 && std::abs(place.y) < 16384;
    }
    /// The published program takes a hand's points on the first row and column for hidden ones.
    [[nodiscard]] bool inside(const KeyPoint& point) const { return drawable(point) && whole(at(point)).x > 0 && whole(at(point)).y > 0; }

    void draw_limb(const cv::Point2d& from, const cv::Point2d& to, const cv::Scalar& colour) {
        const auto along = from - to;
        const double length = std::sqrt(along.y * along.y + along.x * along.x);
        const double angle = std::atan2(along.y, along.x) * (180.0 / std::numbers::pi);
        const cv::Point2d middle{(from.x + to.x) / 2, (from.y + to.y) / 2};
        std::vector<cv::Point> outline;
        cv::ellipse2Poly(whole(middle), {static_cast<int>(length / 2), width_of(length)}, static_cast<int>(angle), 0, 360, 1, outline);
        cv::fillConvexPoly(canvas_, outline, colour);
    }

    cv::Mat& canvas_;
    ImageSize size_;
};

io::Picture black(const ImageSize& size) {
    return {size.width, size.height, std::vector<std::uint8_t>(static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height) * 3)};
}

/// The picture's own pixels.
cv::Mat view_of(io::Picture& picture) {
    return {picture.height, picture.width, CV_8UC3, picture.rgb.data()};
}

}  // namespace

MapSize map_size(const ImageSize& driver, const ImageSize& reference) {
    ensure(driver.known() && reference.known(), "a pose map of no size");
    return {.canvas = {1024, static_cast<int>(driver.height * 1024.0 / driver.width)},
            .map = {2 * static_cast<int>(768.0 * reference.width / reference.height / 2), 768}};
}

io::Picture draw_canvas(const Person& person, const ImageSize& canvas) {
    auto picture = black(canvas);
    auto pixels = view_of(picture);
    Artist artist{pixels, canvas};
    artist.draw_limbs(person.body);
    artist.darken();
    artist.draw_joints(person.body);
    for (const auto& hand : person.hands) artist.draw_hand(hand);
    return picture;
}

io::Picture draw_map(const std::optional<Person>& person, const MapSize& size) {
    auto map = black(size.map);
    if (!person) return map;
    auto canvas = draw_canvas(*person, size.canvas);
    auto pixels = view_of(map);
    cv::resize(view_of(canvas), pixels, pixels.size(), 0, 0, cv::INTER_LINEAR);
    return map;
}

}  // namespace weft::pose

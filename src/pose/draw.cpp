#include "pose/draw.hpp"

#include "pose/draw_map.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace weft::pose {

namespace {

using Colour = std::array<std::uint8_t, 3>;

Point along(Point from, double angle, double length) {
    return {from.x + length * std::sin(angle), from.y + length * std::cos(angle)};
}

/// A thick line with round ends.
void draw_capsule(io::Picture& picture, Point from, Point to, double radius, Colour colour) {
    const int left = std::max(0, static_cast<int>(std::floor(std::min(from.x, to.x) - radius)));
    const int right = std::min(picture.width - 1, static_cast<int>(std::ceil(std::max(from.x, to.x) + radius)));
    const int top = std::max(0, static_cast<int>(std::floor(std::min(from.y, to.y) - radius)));
    const int bottom = std::min(picture.height - 1, static_cast<int>(std::ceil(std::max(from.y, to.y) + radius)));
    const double dx = to.x - from.x;
    const double dy = to.y - from.y;
    const double square = std::max(dx * dx + dy * dy, 1e-12);
    for (int y = top; y <= bottom; ++y)
        for (int x = left; x <= right; ++x) {
            const double t = std::clamp(((x - from.x) * dx + (y - from.y) * dy) / square, 0.0, 1.0);
            if (std::hypot(x - from.x - t * dx, y - from.y - t * dy) > radius) continue;
            auto* const pixel = picture.rgb.data() + 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) + static_cast<std::size_t>(x));
            std::copy(colour.begin(), colour.end(), pixel);
        }
}

}  // namespace

io::Picture draw_body(const Body& body, int width, int height) {
    Person person;
    for (std::size_t i = 0; i < body.size(); ++i) person.body[i] = {body[i].x / width, body[i].y / height, 1};
    const ImageSize size{width, height};
    return io::scale(draw_canvas(person, map_size(size, size).canvas), width, height);
}

Body example_body(std::int64_t frame, int width, int height) {
    const double t = 2 * std::numbers::pi * static_cast<double>(frame) / 30.0;
    const double size = std::min(width / 0.8, static_cast<double>(height)) * 0.9;  // of the figure from head to foot
    const Point neck{width / 2.0 + 0.02 * size * std::sin(t / 2), height / 2.0 - 0.27 * size + 0.01 * size * std::sin(2 * t)};
    Body body;
    body[1] = neck;
    body[0] = {neck.x + 0.01 * size * std::sin(t), neck.y - 0.12 * size};
    body[14] = {body[0].x - 0.025 * size, body[0].y - 0.025 * size};
    body[15] = {body[0].x + 0.025 * size, body[0].y - 0.025 * size};
    body[16] = {body[0].x - 0.055 * size, body[0].y - 0.01 * size};
    body[17] = {body[0].x + 0.055 * size, body[0].y - 0.01 * size};
    for (const int side : {0, 1}) {  // 0: the figure's right, at the picture's left
        const double sign = side == 0 ? -1 : 1;
        const auto first = static_cast<std::size_t>(side == 0 ? 2 : 5);
        body[first] = {neck.x + sign * 0.1 * size, neck.y + 0.01 * size};
        const double lift = side == 0 ? 2.3 + 0.3 * std::sin(t) : 0.35 + 0.2 * std::sin(t);
        body[first + 1] = along(body[first], sign * lift, 0.15 * size);
        body[first + 2] = along(body[first + 1], sign * (lift + (side == 0 ? 0.6 * std::sin(2 * t) : 0.3)), 0.14 * size);
        const auto hip = static_cast<std::size_t>(side == 0 ? 8 : 11);
        const double swing = 0.12 + 0.1 * std::sin(t + (side == 0 ? 0 : std::numbers::pi));
        body[hip] = {neck.x + sign * 0.06 * size, neck.y + 0.28 * size};
        body[hip + 1] = along(body[hip], sign * swing, 0.22 * size);
        body[hip + 2] = along(body[hip + 1], sign * swing * 0.3, 0.21 * size);
    }
    return body;
}

io::Picture draw_person(const Body& body, int width, int height) {
    io::Picture picture{
        .width = width, .height = height, .rgb = std::vector<std::uint8_t>(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3, 225)};
    const double size = std::min(width / 0.8, static_cast<double>(height)) * 0.9;
    constexpr Colour skin{224, 172, 138}, shirt{200, 60, 50}, trousers{50, 70, 140}, hair{70, 45, 30};
    for (const std::size_t hip : {8U, 11U}) {
        draw_capsule(picture, body[hip], body[hip + 1], 0.045 * size, trousers);
        draw_capsule(picture, body[hip + 1], body[hip + 2], 0.035 * size, trousers);
    }
    for (const double shift : {-0.05, 0.0, 0.05})
        draw_capsule(picture, {body[1].x + shift * size, body[1].y + 0.03 * size}, {body[1].x + shift * size, body[8].y}, 0.055 * size, shirt);
    for (const std::size_t shoulder : {2U, 5U}) {
        draw_capsule(picture, body[shoulder], body[shoulder + 1], 0.035 * size, shirt);
        draw_capsule(picture, body[shoulder + 1], body[shoulder + 2], 0.028 * size, skin);
    }
    draw_capsule(picture, {body[0].x, body[0].y - 0.02 * size}, {body[0].x, body[0].y - 0.02 * size}, 0.075 * size, hair);
    draw_capsule(picture, body[0], {body[0].x, body[0].y + 0.02 * size}, 0.06 * size, skin);
    return picture;
}

}  // namespace weft::pose

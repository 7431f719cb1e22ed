#include "pose/drawn.hpp"

#include "io/media.hpp"

#include <array>

namespace weft::pose {

using io::Picture;
using namespace io::test;

namespace {

/// A thick line from (x0, y0) to (x1, y1), all in shares of the sides.
void line(Picture& picture, double x0, double y0, double x1, double y1, std::array<std::uint8_t, 3> colour) {
    const int half = std::max(1, picture.height / 100);
    for (int step = 0; step <= 400; ++step) {
        const double t = step / 400.0;
        const int x = int((x0 + t * (x1 - x0)) * picture.width), y = int((y0 + t * (y1 - y0)) * picture.height);
        for (int dy = -half; dy <= half; ++dy)
            for (int dx = -half; dx <= half; ++dx)
                if (x + dx >= 0 && x + dx < picture.width && y + dy >= 0 && y + dy < picture.height)
                    std::copy_n(colour.data(), 3, picture.rgb.data() + (std::size_t(y + dy) * std::size_t(picture.width) + std::size_t(x + dx)) * 3);
    }
}

Picture skeleton(int width, int height) {
    auto picture = plain(width, height, 0, 0, 0);
    line(picture, .5, .25, .5, .1, {0, 0, 153});
    line(picture, .5, .25, .3, .27, {153, 0, 0});
    line(picture, .3, .27, .2, .5, {153, 102, 0});
    line(picture, .5, .25, .7, .27, {153, 51, 0});
    line(picture, .7, .27, .85, .4, {102, 153, 0});
    line(picture, .5, .25, .4, .6, {0, 153, 0});
    line(picture, .4, .6, .38, .95, {0, 153, 51});
    line(picture, .5, .25, .6, .6, {0, 153, 153});
    line(picture, .6, .6, .65, .9, {0, 51, 153});
    line(picture, .48, .08, .52, .08, {255, 255, 255});
    return picture;
}

}  // namespace

TEST(Drawn, SkeletonsOnBlackAre) {
    for (const auto& [width, height] : {std::pair{64, 64}, {576, 1024}, {960, 540}}) EXPECT_EQ(why_not_drawn(skeleton(width, height)), "");
}

TEST(Drawn, NobodyInSightIsDrawnToo) {
    EXPECT_EQ(why_not_drawn(plain(64, 64, 0, 0, 0)), "");
    EXPECT_EQ(why_not_drawn(plain(64, 64, 16, 16, 16)), "") << "black of a film with the wrong range";
}

TEST(Drawn, PlainFramesAreNotAndLearnWhatToDo) {
    for (const auto& frame : {drawing(64, 64, 0), noise(64, 64, 1), plain(64, 64, 255, 255, 255), plain(64, 64, 68, 1, 84)}) {
        const auto text = why_not_drawn(frame);
        EXPECT_NE(text.find("black"), std::string::npos) << text;
        EXPECT_NE(text.find("DWPose"), std::string::npos) << text;
    }
}

TEST(Drawn, APersonBeforeBlackIsNotDrawn) {
    auto stage = plain(100, 100, 2, 2, 3);
    for (int y = 20; y < 80; ++y)
        for (int x = 35; x < 65; ++x) {
            auto* pixel = stage.rgb.data() + (y * 100 + x) * 3;
            pixel[0] = std::uint8_t(120 + y);
            pixel[1] = std::uint8_t(85 + y);
            pixel[2] = std::uint8_t(70 + y);
        }
    EXPECT_NE(why_not_drawn(stage).find("neither a strong colour nor white"), std::string::npos);
}

}  // namespace weft::pose

#include "pose/drawn.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <cmath>

namespace weft::pose {

namespace {

// Measured, smallest to largest over every 7th frame of each clip:
//                                                                      black         pale
//   drawn: MimicMotion, Moore, Wan, 512x768 to 960x540              0.949 - 0.992  0.001 - 0.095
//   drawn, small or shrunk: 64x64 to 192x128, real and synthetic    0.897 - 0.995  0.000 - 0.228 (where 2 % or more is lit)
//   plain videos and photographs, 16 of them                        0.000 - 0.179  0.040 - 0.883
//   DensePose (coloured bodies on violet)                           0.000          0.005
// So blackness alone parts them. Paleness is for people filmed before black, whose skin and clothes are seldom as saturated as drawn limbs.
constexpr int kBlack = 32;  // video black after lossy coding, or with the wrong range (16)
constexpr int kLit = 64;
constexpr double kLeastBlack = 0.7;
constexpr double kLitToJudge = 0.02;
constexpr double kMostPale = 0.35;

/// Neither a strong colour, as limbs are, nor white, as faces are.
bool is_pale(int largest, int smallest) {
    return 2 * (largest - smallest) < largest && smallest < 176;
}

std::string percent(double share) {
    return cat(std::lround(share * 100), " %");
}

constexpr std::string_view kAdvice =
    "turn a plain video into drawn poses first, e.g. with DWPose as MimicMotion publishes it, or find key points and draw them with weft pose for MusePose";

}  // namespace

std::string why_not_drawn(const io::Picture& frame) {
    const auto num_pixels = frame.rgb.size() / 3;
    ensure(num_pixels > 0, "a pose map without pixels");
    std::size_t num_black = 0;
    std::size_t num_lit = 0;
    std::size_t num_pale = 0;
    for (std::size_t i = 0; i < num_pixels * 3; i += 3) {
        const auto [smallest, largest] = std::minmax({int{frame.rgb[i]}, int{frame.rgb[i + 1]}, int{frame.rgb[i + 2]}});
        if (largest <= kBlack) ++num_black;
        if (largest <= kLit) continue;
        ++num_lit;
        if (is_pale(largest, smallest)) ++num_pale;
    }
    const double all = double(num_pixels);
    if (const double black = double(num_black) / all; black < kLeastBlack)
        return cat("it is no drawn pose: ", percent(black), " of it is black, where lines on black leave ", percent(kLeastBlack), " or more; ", kAdvice);
    if (const double pale = num_lit > 0 ? double(num_pale) / double(num_lit) : 0; pale > kMostPale && double(num_lit) >= kLitToJudge * all)
        return cat("it is no drawn pose: on black, but ", percent(pale), " of what is lit is neither a strong colour nor white (drawn poses: at most ",
                   percent(kMostPale), "); ", kAdvice);
    return {};
}

}  // namespace weft::pose

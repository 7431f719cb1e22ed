#pragma once
#include "pose/person.hpp"

#include <array>
#include <span>
#include <string>
#include <string_view>

namespace weft::pose {

/// The nine lengths by which a driver's body is brought to the reference's (models/musepose.md section 9.2).
enum class Factor : std::size_t { neck, face, shoulder, arm_upper, arm_lower, hand, body_len, leg_upper, leg_lower };
inline constexpr std::size_t num_factors = 9;
[[nodiscard]] std::string_view name_of(Factor factor);

struct ScaleFactor {
    double value = 1;       ///< reference / driver; finite and above 0
    bool measured = false;  ///< else the mean of those that are, or 1 where none is
    std::string from;       ///< the joints that it was measured between, or why not
};

/// How a driver's clip is brought to a reference's body and place. Lengths count in heights of the own picture.
struct Alignment {
    std::array<ScaleFactor, num_factors> factors;
    double dx = 0;  ///< of the neck, from the driver's to the reference's
    double dy = 0;
    double driver_aspect = 1;  ///< width / height
    double reference_aspect = 1;

    [[nodiscard]] double operator[](Factor factor) const { return factors[static_cast<std::size_t>(factor)].value; }
};

/// Can a driver's frame be measured: are neck and shoulders seen?
[[nodiscard]] bool is_measurable(const Person& person);

/// Measures the reference against one frame of the driver. Only joints seen in both count: of a limb with two sides the side that is seen, of one with none the
/// mean of all factors that could be measured. Both must see the neck. Where everything is seen it is the published program's result.
[[nodiscard]] Alignment measure(const Person& reference, double reference_aspect, const Person& driver, double driver_aspect);

/// One frame of the driver with the reference's lengths, before it is moved to the reference's place; x and y in heights of the driver's picture. `neck` stands
/// still, wherever it is where it isn't seen (`necks_of`). A joint hangs on the nearest seen one before it, and what is not seen stays so.
[[nodiscard]] Person scaled(const Person& person, const KeyPoint& neck, const Alignment& alignment);

/// The same in the reference's place, in shares of the reference's picture.
[[nodiscard]] Person aligned(const Person& person, const KeyPoint& neck, const Alignment& alignment);

/// Share of the seen body and hand points that lie outside the picture.
[[nodiscard]] double share_outside(std::span<const Person> people);

}  // namespace weft::pose

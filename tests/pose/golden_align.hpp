#pragma once
#include "io/weight_file.hpp"
#include "pose/key_points.hpp"

#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

/// The golden case "align": what the published pose_align.py made of a stand-in detector's points (tests/golden/README.md). Read without Torch.
namespace weft::pose::golden {

inline constexpr std::size_t num_frames = 5;

/// One scenario; tensors by name without the scenario's.
class Scenario {
  public:
    explicit Scenario(const std::string& name);

    ImageSize reference_size;
    ImageSize video_size;
    Person reference;                          ///< mapped by weft from the 133 points
    std::vector<std::optional<Person>> drive;  ///< likewise

    /// All of a recorded tensor; it then counts as compared.
    [[nodiscard]] std::span<const double> operator[](const std::string& name) const;
    /// Part `index` of `parts` equal ones.
    [[nodiscard]] std::span<const double> part(const std::string& name, std::size_t index, std::size_t parts = num_frames) const;

    /// Recorded tensors that nobody asked for.
    [[nodiscard]] std::set<std::string> unused() const;

    /// The recorded picture of frame 2: "canvas" or "map".
    [[nodiscard]] std::filesystem::path picture(const std::string& kind) const;

  private:
    std::string name_;
    std::map<std::string, std::vector<double>> tensors_;
    mutable std::set<std::string> used_;
};

/// x, y of points one behind the other.
[[nodiscard]] std::vector<double> places(std::span<const KeyPoint> points);

}  // namespace weft::pose::golden

#pragma once
#include "base/error.hpp"
#include "pose/key_points.hpp"
#include "pose/person.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// The forms that key points come in: what their readers share, and each one's reader, in form_*.cpp. Points are read as they are written there, in pixels or
/// in shares. `place` says in messages where in the file something stands. Internal to pose.
namespace weft::pose::forms {

using nlohmann::json;
using Points = std::vector<KeyPoint>;

inline constexpr std::size_t num_coco_points = 17;
inline constexpr std::size_t num_whole_body_points = 133;
inline constexpr std::size_t num_body_25_points = 25;

inline constexpr std::string_view kForms =
    "key points come as JSON of OpenPose (\"people\"), DWPose (\"bodies\"), mmpose (\"instance_info\", or plain [133][3]) or COCO (\"annotations\"); "
    "a picture or a video needs a detector of key points first, e.g. DWPose";

/// Notes what is wrong with one input, the first few in full and the rest as a number: a clip has thousands of places for the same mistake.
class Trouble {
  public:
    Trouble(std::string_view key, const std::string& file, Mistakes& mistakes) : key_{key}, mistakes_{mistakes} { of(file); }
    Trouble(const Trouble&) = delete;
    Trouble& operator=(const Trouble&) = delete;
    ~Trouble();

    /// What is added from now on is about this file.
    void of(const std::string& file);

    void add(const std::string& text);
    void add(const std::string& place, const json& value, std::string_view allowed);
    [[nodiscard]] bool any() const { return count_ > 0; }

  private:
    static constexpr std::size_t most_told = 8;
    std::string key_;
    std::string begin_;
    Mistakes& mistakes_;
    std::size_t count_ = 0;
};

// ---- members and numbers ----

/// The member, unless it is missing or null: editors write null for hands that nobody drew.
[[nodiscard]] const json* member(const json& object, const char* name);

[[nodiscard]] bool is_finite(const json& value);

/// The first pair of `names`, of width and height, that says both.
[[nodiscard]] ImageSize size_of(const json& object, std::initializer_list<std::pair<const char*, const char*>> names, const std::string& place,
                                Trouble& trouble);

// ---- points ----

/// Rows of x, y and perhaps a score; without one they count as seen. Nothing where some are none.
[[nodiscard]] std::optional<Points> rows(const json& value, const std::string& place, Trouble& trouble);

/// Numbers one behind the other: x, y, score.
[[nodiscard]] std::optional<Points> triples(const json& value, const std::string& place, std::string_view allowed, std::initializer_list<std::size_t> sizes,
                                            Trouble& trouble);

[[nodiscard]] std::optional<std::vector<double>> scores(const json& value, std::size_t size, const std::string& place, Trouble& trouble);

// ---- the forms ----

/// Of a frame with "people".
[[nodiscard]] std::vector<Person> people_of_openpose(const json& frame, const std::string& place, Trouble& trouble);

/// Of a frame with "bodies".
[[nodiscard]] std::vector<Person> people_of_dwpose(const json& frame, const std::string& place, Trouble& trouble);

/// Of a frame's array of objects with "keypoints", as mmpose writes it.
[[nodiscard]] std::vector<Person> people_of_instances(const json& instances, const std::string& place, Trouble& trouble);

/// Arrays inside each other, counted along the first of each, to 5: plain arrays of mmpose's points have 2 (points [133][3]), 3 (frames of them) or 4 (people
/// in frames).
[[nodiscard]] std::size_t depth_of(const json& root);
[[nodiscard]] std::vector<KeyPointFrame> frames_of_plain(const json& root, std::size_t depth, const std::string& name, Trouble& trouble);

/// Of an object with "annotations": a frame for each picture. `name` is for those that say none.
[[nodiscard]] std::vector<KeyPointFrame> frames_of_coco(const json& root, const std::string& name, Trouble& trouble);

}  // namespace weft::pose::forms

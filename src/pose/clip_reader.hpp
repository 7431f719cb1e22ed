#pragma once
#include "pose/key_points.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

/// Which form a file has, and which frames are in it. Internal to pose.
namespace weft::pose {

namespace forms {
class Trouble;
}

/// Reads files' JSON into a clip's frames, one file behind the other; points stay as they are written there.
class ClipReader {
  public:
    ClipReader(KeyPointClip& clip, forms::Trouble& trouble) : clip_{clip}, trouble_{trouble} {}

    /// `name`: the file's, for its frames.
    void read(const nlohmann::json& root, const std::string& name);

  private:
    using json = nlohmann::json;

    // ---- what kind of file ----

    void read_object(const json& root);
    void read_array(const json& root);
    void read_frames(const json& frames, const std::string& place, const ImageSize& size);
    /// [133][3], an array of those (frames), or of arrays of those (people of frames).
    void read_plain(const json& root);
    void set_form(KeyPointForm form);

    // ---- frames ----

    KeyPointFrame& add_empty_frame();
    void append(std::vector<KeyPointFrame> frames);
    /// An object of one frame; null: nobody.
    void add_frame(const json& object, const std::string& place, const ImageSize& clip_size);
    /// A frame with a number; those that are missing in between showed nobody.
    void add_numbered(const json& object, const std::string& place);

    KeyPointClip& clip_;
    forms::Trouble& trouble_;
    std::string name_;
    std::optional<KeyPointForm> form_;
    std::optional<std::int64_t> last_id_;
};

}  // namespace weft::pose

#pragma once
#include "quality/judge.hpp"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

/// Films and cases as files.
namespace weft::quality {

/// parts.json: {"parts": [{"name": "wall", "label": 0, "figure": false}, ...], "mixed": 255}. Refuses all else; `name` says whose mistake it is.
[[nodiscard]] Parts parse_parts(std::string_view text, const std::string& name);

/// Judges a film (a video, or a folder of pictures) by a case: a folder with truth/ and parts/ (pictures in the order of their names), parts.json and
/// background.png. `frames`: of the beginning; 0: all, and film, truth and parts must be equally many. Refuses, in words, what does not fit together.
[[nodiscard]] Verdict judge(const std::filesystem::path& film, const std::filesystem::path& folder, std::int64_t frames = 0);

enum class Layout { one_line, indented };

/// What could not be judged is null; the PSNR of equal films is 999. `seam`: left out where it was not asked for.
[[nodiscard]] std::string to_json(const Verdict& verdict, Layout layout, std::optional<double> seam = {});

}  // namespace weft::quality

#pragma once
#include "app/pose_inputs.hpp"
#include "pose/align.hpp"
#include "pose/draw_map.hpp"
#include "pose/follow.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>

/// What `weft pose` says on the way: lines of a label and a text, and warnings.
namespace weft::app {

void tell_pose(const char* label, const std::string& text);

void tell_inputs(const PoseArguments& arguments, const PoseInputs& inputs);

/// Who is followed, and which frames lack what. `filled`: frames without anybody that were filled in between.
void tell_track(const pose::Track& track, const pose::FrameNumbers& filled);

void tell_alignment(const pose::Alignment& alignment);

/// How much of the frames [begin, end) leaves the picture.
void tell_outside(std::span<const std::optional<pose::Person>> poses, std::int64_t begin, std::int64_t end);

/// The sizes and the command that make a film of the maps.
void tell_next(const PoseArguments& arguments, const pose::MapSize& size);

}  // namespace weft::app

#pragma once
#include "base/settings.hpp"
#include "device/device.hpp"
#include "model/model.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace weft::pipeline {

/// A model on a device, set up for a clip of one slice of made-up frames: what benchmarks of the real networks share.
struct Workbench {
    ComputeDevice device;
    std::unique_ptr<model::Model> model;
    plan::Plan plan;
    std::unique_ptr<model::Family> family;
};

/// Refuses (exit code 2) wrong settings, together with `mistakes`, which are there already. `command` stands in the message.
[[nodiscard]] Workbench open_workbench(Settings settings, Mistakes& mistakes, const std::string& command);

/// Of a clip of one slice, settings.slices.length frames, on one rank.
[[nodiscard]] plan::Plan plan_one_slice(const model::Model& model, const Settings& settings, c10::DeviceType kind, const plan::MemoryChoice& choice = {});

/// [frames, height, width, 3] uint8: grey with a slow gradient. No convolution is faster on it, and no file is needed.
[[nodiscard]] at::Tensor made_up(std::int64_t frames, std::int64_t height, std::int64_t width);

/// 0 to count - 1.
[[nodiscard]] std::vector<std::int64_t> clip_frames(std::int64_t count);

}  // namespace weft::pipeline

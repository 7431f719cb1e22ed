#pragma once
#include "app/trace_file.hpp"

#include <string>

namespace weft::app {

/// SVG: a lane a rank over time, a bar a task, coloured by step. What is narrower than a pixel is merged with its neighbour or left out.
[[nodiscard]] std::string as_picture(const RecordedTrace& trace, const Window& window);

}  // namespace weft::app

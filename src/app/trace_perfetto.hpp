#pragma once
#include "app/trace_file.hpp"

#include <string>

namespace weft::app {

/// Chrome's trace event format, which ui.perfetto.dev opens: a process a rank; tracks for tasks and advances, units, waits, sends and receives; an arrow a
/// message.
[[nodiscard]] std::string as_perfetto(const RecordedTrace& trace, const Window& window);

}  // namespace weft::app

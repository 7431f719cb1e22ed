#pragma once
#include <functional>

namespace CLI {
class App;
}

namespace weft::app {

/// `weft bench units`, below `weft bench`. What is returned runs it, or gives -1 where it was not asked for.
[[nodiscard]] std::function<int()> add_bench_units(CLI::App& bench);

}  // namespace weft::app

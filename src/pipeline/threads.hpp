#pragma once
#include "topology/placement.hpp"

#include <thread>
#include <utility>
#include <vector>

namespace weft::pipeline {

/// A thread beside the compute thread, free to run on all cores that the process has: a pinned thread's children would share its core.
template <class Work>
[[nodiscard]] std::thread helper_thread(Work work) {
    return std::thread([work = std::move(work)]() mutable {
        topology::release_this_thread(topology::process_cores());
        work();
    });
}

}  // namespace weft::pipeline

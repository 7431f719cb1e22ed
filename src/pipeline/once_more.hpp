#pragma once
#include "base/log.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"

#include <exception>
#include <string>

namespace weft::pipeline {

/// Does `work` a second time when memory ran out, behind `relieve`, which gives back what can be without changing a bit. `work` must not have changed what it
/// begins with.
template <class Relieve, class Work>
auto once_more(const std::string& what, const Relieve& relieve, const Work& work) {
    try {
        return work();
    } catch (const std::exception& error) {
        if (!is_out_of_memory(error)) throw;
        log::warn(cat("out of memory ", what, ": ", first_line(error.what()), "; once more, with as little as keeps the bits"));
    }
    relieve();
    return work();
}

}  // namespace weft::pipeline

#include "pipeline/phases.hpp"

#include "base/log.hpp"
#include "base/text.hpp"
#include "device/meter.hpp"

namespace weft::pipeline {

void Phases::begin(const std::string& name) {
    {
        const std::lock_guard lock(mutex_);
        name_ = name;
    }
    meter::begin_phase(name);
    events_.emit("phase", {{"name", name}});
    const auto phases = meter::phases();
    if (phases.size() < 2) return;
    const auto& ended = phases[phases.size() - 2];
    log::info(
        cat(ended.name, std::string(10 - ended.name.size(), ' '), human_seconds(ended.seconds), ended.peak > 0 ? cat(", peak ", human_bytes(ended.peak)) : ""));
    events_.emit("phase_end", {{"name", ended.name}, {"seconds", ended.seconds}, {"cpu_seconds", ended.cpu_seconds}, {"peak_bytes", ended.peak}});
    for (std::size_t i = 0; i < num_owners; ++i)
        if (ended.owner_peak[i] > 0)
            events_.emit("memory", {{"phase", ended.name}, {"owner", std::string(owner_name(static_cast<Owner>(i)))}, {"peak_bytes", ended.owner_peak[i]}});
}

std::string Phases::name() const {
    const std::lock_guard lock(mutex_);
    return name_;
}

Progress Phases::progress(std::int64_t total) const {
    return {name(), total, [] { return meter::current(); }};
}

}  // namespace weft::pipeline

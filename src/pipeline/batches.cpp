#include "pipeline/batches.hpp"

#include "base/text.hpp"
#include "device/cuda.hpp"
#include "device/device.hpp"
#include "plan/memory.hpp"

#include <algorithm>
#include <utility>

namespace weft::pipeline {

namespace {
constexpr double reserve = 0.05;  // of what is free
}

BatchBytes batch_bytes(const plan::Plan& plan, int rank, std::int64_t budget) {
    return {.first = plan::rank_memory(plan, rank).activations,
            .more = plan.shape.more_bytes,
            .limit = plan::tensors_within(budget, plan),
            .slack = plan::device_table(plan.on_gpu).slack,
            .most_slack = plan::device_table(plan.on_gpu).most_slack_bytes};
}

Batches::Batches(const BatchBytes& bytes, std::function<std::int64_t()> free, std::function<void(const std::string&)> record)
    : bytes_{bytes}, free_{std::move(free)}, record_{std::move(record)} {}

std::int64_t Batches::fitting(std::int64_t wanted, std::int64_t held, std::int64_t step) {
    const auto free = (1 - reserve) * static_cast<double>(free_());
    const auto for_tensors = std::max(free / (1 + bytes_.slack), free - static_cast<double>(bytes_.most_slack));
    const auto room = std::min(bytes_.limit - held, static_cast<std::int64_t>(for_tensors));
    const auto beside = bytes_.more > 0 && room > bytes_.first ? (room - bytes_.first) / bytes_.more : 0;
    const auto fit = std::min(1 + beside, most_);
    if (step != step_ && fitted_ != no_limit && (fit >= wanted || fit >= fitted_ + (fitted_ + 1) / 2)) {  // what only flutters is left as it is
        fitted_ = fit >= wanted ? no_limit : fit;
        tell(std::min(fit, wanted), step, cat(human_bytes(room), " are free"));
    }
    step_ = step;
    if (fit < std::min(wanted, fitted_)) {
        fitted_ = fit;
        tell(fit, step, cat(human_bytes(room), " are free"));
    }
    return std::clamp<std::int64_t>(std::min(fit, fitted_), 1, wanted);
}

void Batches::ran_out(std::int64_t passes, std::int64_t step) {
    fitted_ = most_ = std::max<std::int64_t>(1, passes / 2);
    step_ = step;
    tell(most_, step, "memory ran out");
}

void Batches::tell(std::int64_t passes, std::int64_t step, const std::string& why) {
    record_(cat("from step ", step + 1, " on ", passes, passes == 1 ? " pass" : " passes", " side by side: ", why));
}

void Batches::note(const std::string& what, std::int64_t step) {
    record_(cat("from step ", step + 1, " on ", what, ": memory ran out"));
}

std::int64_t free_bytes_now(c10::Device device) {
    if (device.is_cuda()) return cuda::facts(device.index()).free_bytes + cuda::reserved_bytes() - cuda::bytes_now();
    return host_memory().available;
}

}  // namespace weft::pipeline

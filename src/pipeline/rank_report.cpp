#include "pipeline/rank_report.hpp"

#include "base/text.hpp"
#include "device/device.hpp"
#include "device/meter.hpp"
#include "pipeline/kinds.hpp"
#include "plan/memory.hpp"

#include <sstream>

namespace weft::pipeline {

namespace {
struct Count {
    const char* name;
    std::int64_t RankReport::*value;
};
constexpr Count counts[] = {
    {"peak_bytes", &RankReport::peak_bytes},
    {"peak_resident_bytes", &RankReport::peak_resident_bytes},
    {"sent_prediction_bytes", &RankReport::prediction_bytes},
    {"sent_latent_bytes", &RankReport::latent_bytes},
    {"sent_saved_bytes", &RankReport::saved_bytes},
    {"sent_resumed_bytes", &RankReport::resumed_bytes},
    {"sent_decode_bytes", &RankReport::decode_bytes},
    {"sent_frame_bytes", &RankReport::frame_bytes},
    {"sent_state_bytes", &RankReport::state_bytes},
    {"sent_skip_bytes", &RankReport::skip_bytes},
    {"denoise_weight_bytes", &RankReport::denoise_weight_bytes},
    {"slot_bytes", &RankReport::slot_bytes},
    {"planned_weight_bytes", &RankReport::planned_weight_bytes},
    {"planned_slot_bytes", &RankReport::planned_slot_bytes},
    {"encode_peak_bytes", &RankReport::encode_peak_bytes},
    {"denoise_peak_bytes", &RankReport::denoise_peak_bytes},
    {"decode_peak_bytes", &RankReport::decode_peak_bytes},
    {"planned_encode_peak_bytes", &RankReport::planned_encode_peak_bytes},
    {"planned_denoise_peak_bytes", &RankReport::planned_denoise_peak_bytes},
    {"planned_decode_peak_bytes", &RankReport::planned_decode_peak_bytes},
};
struct Time {
    const char* name;
    double RankReport::*value;
};
constexpr Time times[] = {
    {"denoise_seconds", &RankReport::denoise_seconds},
    {"denoise_cpu_seconds", &RankReport::denoise_cpu_seconds},
    {"decode_cpu_seconds", &RankReport::decode_cpu_seconds},
};

std::string to_line(const RankReport& report) {
    std::ostringstream line;
    for (const auto& count : counts) line << report.*count.value << " ";
    for (const auto& time : times) line << report.*time.value << " ";
    return std::move(line).str();
}

RankReport from_line(const std::string& line) {
    RankReport report;
    std::istringstream words(line);
    for (const auto& count : counts) words >> report.*count.value;
    for (const auto& time : times) words >> report.*time.value;
    return report;
}
RankReport report_of(const plan::Plan& plan, const Held& held, const comm::Transport& transport) {
    const auto traffic = transport.traffic();
    const auto sent = [&](Kind kind) { return traffic.of_kind(static_cast<int>(kind)).bytes; };
    const auto planned = plan::rank_bytes(plan, transport.who().rank);
    RankReport report;
    report.peak_bytes = meter::peak();
    report.peak_resident_bytes = host_memory().peak_resident;
    report.prediction_bytes = sent(Kind::prediction);
    report.latent_bytes = sent(Kind::latents);
    report.saved_bytes = sent(Kind::saved);
    report.resumed_bytes = sent(Kind::resumed);
    report.decode_bytes = sent(Kind::decode_latents);
    report.frame_bytes = sent(Kind::frames);
    report.state_bytes = sent(Kind::state);
    report.skip_bytes = sent(Kind::skip);
    report.denoise_weight_bytes = held.weights;
    report.slot_bytes = held.slots;
    report.planned_weight_bytes = planned.weights;
    report.planned_slot_bytes = planned.slots;
    const auto memory = plan::rank_memory(plan, transport.who().rank);
    report.planned_encode_peak_bytes = memory.encode.tensors;
    report.planned_denoise_peak_bytes = memory.denoise.tensors;
    report.planned_decode_peak_bytes = memory.decode.tensors;
    for (const auto& phase : meter::phases()) {
        if (phase.name == "encode") report.encode_peak_bytes = phase.peak;
        if (phase.name == "denoise") report.denoise_peak_bytes = phase.peak;
        if (phase.name == "decode") report.decode_peak_bytes = phase.peak;
        if (phase.name == "denoise") {
            report.denoise_seconds = phase.seconds;
            report.denoise_cpu_seconds = phase.cpu_seconds;
        }
        if (phase.name == "decode") report.decode_cpu_seconds = phase.cpu_seconds;
    }
    return report;
}
}  // namespace

std::vector<RankReport> gather_reports(const plan::Plan& plan, const Held& held, comm::Transport& transport, Events& events) {
    std::vector<RankReport> reports;
    for (const auto& line : transport.gather(to_line(report_of(plan, held, transport)))) {
        const auto& r = reports.emplace_back(from_line(line));
        const auto& who = transport.everyone()[reports.size() - 1];
        std::vector<Events::Field> fields{{"rank", std::int64_t{who.rank}}, {"host", who.host}};
        for (const auto& count : counts) fields.push_back({count.name, r.*count.value});
        for (const auto& time : times) fields.push_back({time.name, r.*time.value});
        events.emit("rank", fields);
    }
    return reports;
}

}  // namespace weft::pipeline

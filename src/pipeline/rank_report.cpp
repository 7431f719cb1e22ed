#include "pipeline/rank_report.hpp"

#include "base/text.hpp"
#include "device/device.hpp"
#include "device/meter.hpp"
#include "pipeline/film.hpp"

#include <sstream>

namespace weft::pipeline {

namespace {
std::string to_line(const RankReport& r) {
    return cat(r.peak_bytes, " ", r.peak_resident_bytes, " ", r.prediction_bytes, " ", r.latent_bytes, " ", r.saved_bytes, " ", r.decode_bytes, " ",
               r.denoise_seconds, " ", r.denoise_cpu_seconds, " ", r.decode_cpu_seconds);
}

RankReport from_line(const std::string& line) {
    RankReport r;
    std::istringstream(line) >> r.peak_bytes >> r.peak_resident_bytes >> r.prediction_bytes >> r.latent_bytes >> r.saved_bytes >> r.decode_bytes >>
        r.denoise_seconds >> r.denoise_cpu_seconds >> r.decode_cpu_seconds;
    return r;
}
}  // namespace

RankReport report_of(const comm::Transport& transport) {
    const auto traffic = transport.traffic();
    const auto sent = [&](auto cargo) { return traffic.of_kind(static_cast<int>(cargo)).bytes; };
    RankReport report;
    report.peak_bytes = meter::peak();
    report.peak_resident_bytes = host_memory().peak_resident;
    report.prediction_bytes = sent(plan::Cargo::prediction);
    report.latent_bytes = sent(plan::Cargo::latents);
    report.saved_bytes = sent(plan::Cargo::saved);
    report.decode_bytes = sent(DecodeCargo::latents) + sent(DecodeCargo::frames);
    for (const auto& phase : meter::phases()) {
        if (phase.name == "denoise") {
            report.denoise_seconds = phase.seconds;
            report.denoise_cpu_seconds = phase.cpu_seconds;
        }
        if (phase.name == "decode") report.decode_cpu_seconds = phase.cpu_seconds;
    }
    return report;
}

std::vector<RankReport> gather_reports(comm::Transport& transport, Events& events) {
    std::vector<RankReport> reports;
    for (const auto& line : transport.gather(to_line(report_of(transport)))) {
        const auto& r = reports.emplace_back(from_line(line));
        const auto& who = transport.everyone()[reports.size() - 1];
        events.emit("rank", {{"rank", std::int64_t{who.rank}},
                             {"host", who.host},
                             {"peak_bytes", r.peak_bytes},
                             {"peak_resident_bytes", r.peak_resident_bytes},
                             {"sent_prediction_bytes", r.prediction_bytes},
                             {"sent_latent_bytes", r.latent_bytes},
                             {"sent_saved_bytes", r.saved_bytes},
                             {"sent_decode_bytes", r.decode_bytes},
                             {"denoise_seconds", r.denoise_seconds},
                             {"denoise_cpu_seconds", r.denoise_cpu_seconds},
                             {"decode_cpu_seconds", r.decode_cpu_seconds}});
    }
    return reports;
}

}  // namespace weft::pipeline

#include "pipeline/agreement.hpp"

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace weft::pipeline {

namespace {
constexpr char separator = '\x1f';  // in no setting and no digest

/// Of the running executable: equal sources built twice may round differently.
std::string program_digest() {
    return hex_digest(MappedFile("/proc/self/exe").bytes());
}
}  // namespace

std::vector<std::string> facts_of_rank(const Settings& settings, const Numerics& numerics) {
    std::vector<std::string> facts{cat("the program (hash of the executable) = ", program_digest())};
    for (auto& line : setting_lines(settings)) facts.push_back(std::move(line));
    for (const auto& fact : numerics.facts)
        if (std::find(facts.begin(), facts.end(), fact) == facts.end()) facts.push_back(fact);
    return facts;
}

void agree(comm::Transport& transport, const std::vector<std::string>& facts) {
    const auto all = transport.gather(join(facts, std::string(1, separator)));
    std::string culprit;
    std::vector<std::string> lines;
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
        if (all[rank] == all[0]) continue;
        const auto name = transport.everyone()[rank].name();
        if (culprit.empty()) culprit = name;
        for (const auto& [what, here, there] : differences(split(all[0], separator), split(all[rank], separator)))
            lines.push_back(cat(name, ": ", what, " is ", there, " there, ", here, " on rank 0"));
    }
    std::string verdict;
    if (!lines.empty())
        verdict =
            cat(culprit, separator, "the ranks are not of one job:\n  ", join(lines, "\n  "), "\nStart all ranks with the same program, settings and files.");
    verdict = transport.broadcast(verdict);
    if (verdict.empty()) return;
    const auto end = verdict.find(separator);
    throw comm::JobRefused(ExitCode::user_mistake, verdict.substr(end + 1), verdict.substr(0, end));
}

}  // namespace weft::pipeline

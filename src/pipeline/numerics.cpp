#include "pipeline/numerics.hpp"

#include "base/build.hpp"
#include "base/digest.hpp"
#include "base/text.hpp"

#include <algorithm>

namespace weft::pipeline {

namespace {
constexpr std::string_view table = "\n[numerics]  # what the bits of the result are a function of\n";

std::string what(const std::string& fact) {
    return fact.substr(0, fact.find(" = "));
}
std::string value(const std::string& fact) {
    return fact.substr(fact.find(" = ") + 3);
}
}  // namespace

Numerics make_numerics(const Settings& settings, const ComputeDevice& device, const std::map<std::string, std::string>& weights,
                       const std::string& input_digest) {
    Settings resolved = settings;  // "auto" means what it means on this device
    const auto as_dtype = [&](Dtype asked) { return asked == Dtype::automatic ? (device.is_cuda() ? Dtype::fp16 : Dtype::fp32) : asked; };
    resolved.model.dtype = as_dtype(settings.model.dtype);
    resolved.decode.dtype = as_dtype(settings.decode.dtype);
    resolved.device.kind = device.is_cuda() ? DeviceKind::cuda : DeviceKind::cpu;

    Numerics numerics;
    numerics.facts = numerics_lines(resolved);
    numerics.facts.push_back(cat("build = weft ", build::version, ", ", build::compiler, " ", build::kind, ", libtorch ", torch_version()));
    numerics.facts.push_back(cat("device class = ", device.numerics_class));
    for (const auto& [name, digest] : weights) numerics.facts.push_back(cat("weights ", name, " = ", digest));
    numerics.facts.push_back(cat("picture and poses = ", input_digest));

    Digest digest;
    for (const auto& fact : numerics.facts) digest.add(fact);
    numerics.key = digest.hex();
    return numerics;
}

std::vector<Difference> differences(const std::vector<std::string>& before, const std::vector<std::string>& now) {
    std::vector<Difference> found;
    const auto find = [](const std::vector<std::string>& facts, const std::string& name) -> std::string {
        const auto fact = std::find_if(facts.begin(), facts.end(), [&](const auto& one) { return what(one) == name; });
        return fact == facts.end() ? "nothing" : value(*fact);
    };
    for (const auto& fact : now)
        if (auto old = find(before, what(fact)); old != value(fact)) found.push_back({what(fact), std::move(old), value(fact)});
    for (const auto& fact : before)
        if (find(now, what(fact)) == "nothing") found.push_back({what(fact), value(fact), "nothing"});
    return found;
}

std::string facts_toml(const Numerics& numerics) {
    std::string text{table};
    for (const auto& fact : numerics.facts) text += cat(in_quotes(what(fact)), " = '", value(fact), "'\n");
    return text;
}

std::vector<std::string> facts_of(const std::string& settings_text) {
    std::vector<std::string> facts;
    const auto at = settings_text.find(table);
    if (at == std::string::npos) return facts;
    for (const auto& line : split(std::string_view(settings_text).substr(at + table.size()), '\n')) {
        const auto middle = line.find("\" = '");
        if (middle == std::string::npos || line.size() < middle + 6) continue;
        facts.push_back(cat(line.substr(1, middle - 1), " = ", line.substr(middle + 5, line.size() - middle - 6)));
    }
    return facts;
}

std::string without_facts(const std::string& settings_text) {
    return settings_text.substr(0, settings_text.find(table));
}

}  // namespace weft::pipeline

#include "app/links.hpp"

#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <charconv>
#include <optional>

namespace weft::app {

namespace {

/// "300GB/s", "1Gbit/s", "800MB/s" in bytes a second.
std::optional<double> parse_rate(std::string_view text) {
    double number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || !(number > 0)) return std::nullopt;
    const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    for (const auto& [name, bytes] : {std::pair{"GB/s", 1e9}, {"MB/s", 1e6}, {"Gbit/s", 1e9 / 8}, {"Mbit/s", 1e6 / 8}})
        if (unit == name) return number * bytes;
    return std::nullopt;
}

}  // namespace

void add_link_options(CLI::App& command, LinkArguments& arguments) {
    command.add_option("--hosts", arguments.hosts, "number of hosts that the ranks are on, as many on each");
    command.add_option("--local-link", arguments.local, "rate between two ranks of a host, as 300GB/s");
    command.add_option("--remote-link", arguments.remote, "rate into and out of a host, as 1Gbit/s");
}

plan::Links links_from(const LinkArguments& arguments, int num_ranks, Mistakes& mistakes) {
    plan::Links links;
    const auto read = [&](const char* key, const std::string& text, double& rate) {
        if (text.empty()) return;
        if (const auto value = parse_rate(text))
            rate = *value;
        else
            mistakes.add(key, text, "must be a rate in GB/s, MB/s, Gbit/s or Mbit/s", "for example 300GB/s or 1Gbit/s");
    };
    read("--local-link", arguments.local, links.local_bytes_s);
    read("--remote-link", arguments.remote, links.remote_bytes_s);
    if (arguments.hosts < 1 || arguments.hosts > num_ranks)
        mistakes.add("--hosts", cat(arguments.hosts), cat("must be from 1 to the number of ranks, ", num_ranks), "try 1");
    else
        for (int rank = 0; rank < num_ranks; ++rank) links.host.push_back(static_cast<int>(std::int64_t{rank} * arguments.hosts / num_ranks));
    return links;
}

}  // namespace weft::app

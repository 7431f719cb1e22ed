#include "app/command.hpp"
#include "app/links.hpp"
#include "base/error.hpp"
#include "base/settings.hpp"
#include "base/text.hpp"
#include "pipeline/preview.hpp"

#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>
#include <optional>
#include <vector>

namespace weft::app {

namespace {

constexpr int most_ranks = 4096;

struct Arguments {
    std::string config;
    std::vector<std::string> overrides;
    int ranks = 1;
    std::string memory;
    std::vector<std::int64_t> cards;
    std::int64_t poses = 0;
    LinkArguments links;
    std::string costs;
};

int run(const Arguments& arguments) {
    Mistakes mistakes;
    const auto settings = read_settings(arguments.config, arguments.overrides, mistakes);
    check_settings(settings, mistakes);
    if (arguments.ranks < 1 || arguments.ranks > most_ranks)
        mistakes.add("--ranks", cat(arguments.ranks), cat("must be from 1 to ", most_ranks), arguments.ranks < 1 ? "try 1" : cat("try ", most_ranks));
    const auto memory = arguments.memory.empty() ? std::nullopt : parse_bytes(arguments.memory);
    if (!arguments.memory.empty() && !memory) mistakes.add("--memory", arguments.memory, "must be a number of bytes with a unit", "for example 24GiB");
    const auto links = links_from(arguments.links, arguments.ranks, mistakes);
    mistakes.throw_if_any("weft plan cannot go on:");
    const pipeline::PreviewRequest request{.settings = settings,
                                           .num_ranks = arguments.ranks,
                                           .links = told(arguments.links) ? std::optional(links) : std::nullopt,
                                           .memory = memory,
                                           .poses = arguments.poses > 0 ? std::optional(arguments.poses) : std::nullopt,
                                           .costs = arguments.costs};
    std::cout << (arguments.cards.empty() ? pipeline::preview(request) : pipeline::card_table(request, arguments.cards));
    return 0;
}

}  // namespace

void add_plan(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("plan", "who does what, and how large it is, without weights or a GPU");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("CONFIG", arguments->config, "settings, TOML")->required();
    command->add_option("--set", arguments->overrides, "table.key=value, in place of the file's; may be repeated");
    command->add_option("--ranks", arguments->ranks, "number of ranks, 1 to 4096");
    command->add_option("--memory", arguments->memory, "size of a card, as 24GiB");
    command->add_option("--cards", arguments->cards, "instead of a plan: what each card of so many GB would do, as 8,24,80")
        ->delimiter(',')
        ->check(CLI::PositiveNumber)
        ->excludes("--memory");
    command->add_option("--poses", arguments->poses, "pose frames, in place of those of input.pose")->check(CLI::PositiveNumber);
    add_link_options(*command, arguments->links);
    command->add_option("--costs", arguments->costs, "times of units, as weft bench units writes them");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

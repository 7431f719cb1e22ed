#include "app/run.hpp"

#include "base/build.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <exception>
#include <string_view>

namespace weft::app {

namespace {
/// CLI11 would say only that a command is wanted.
void refuse_unknown_command(const CLI::App& root, int argc, char** argv) {
    if (argc < 2 || std::string_view(argv[1]).starts_with('-')) return;
    std::vector<std::string> known;
    for (const auto* const command : root.get_subcommands([](const CLI::App*) { return true; })) known.push_back(command->get_name());
    if (std::find(known.begin(), known.end(), argv[1]) != known.end()) return;
    const auto close = nearest(argv[1], known);
    refuse(cat("weft ", argv[1], ": unknown command; ", close.empty() ? cat("there are ", join(known)) : cat("did you mean ", close, "?")));
}
}  // namespace

int run_program(int argc, char** argv, const std::vector<AddCommand>& commands) {
    CLI::App root{"weft: long pose-guided videos with diffusion models", "weft"};
    root.set_version_flag("--version", cat("weft ", build::version));
    root.require_subcommand(1);
    Actions actions;
    for (const auto add : commands) add(root, actions);
    try {
        refuse_unknown_command(root, argc, argv);
        root.parse(argc, argv);
        const auto* command = root.get_subcommands().front();
        while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
        return actions.at(command)();
    } catch (const CLI::ParseError& error) {
        return root.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::user_mistake);
    } catch (const std::exception& error) {
        log::error(text_of(error));
        return static_cast<int>(exit_code_of(error));
    }
}

}  // namespace weft::app

#include "app/run.hpp"

#include "base/build.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <exception>
#include <new>

namespace weft::app {

int run_program(int argc, char** argv, const std::vector<AddCommand>& commands) {
    const auto failed = [](ExitCode code, const char* text) {
        log::error(text);
        return static_cast<int>(code);
    };
    CLI::App root{"weft: long pose-guided videos with diffusion models", "weft"};
    root.set_version_flag("--version", cat("weft ", build::version));
    root.require_subcommand(1);
    Actions actions;
    for (const auto add : commands) add(root, actions);
    try {
        root.parse(argc, argv);
        return actions.at(root.get_subcommands().front())();
    } catch (const CLI::ParseError& error) {
        return root.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::user_mistake);
    } catch (const Error& error) {
        return failed(error.code(), error.what());
    } catch (const std::bad_alloc&) {
        return failed(ExitCode::does_not_fit, "out of memory");
    } catch (const std::exception& error) {
        return failed(ExitCode::failure, error.what());
    }
}

}  // namespace weft::app

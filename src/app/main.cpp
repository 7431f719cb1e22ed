#include "app/command.hpp"
#include "base/build.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <exception>
#include <new>

int main(int argc, char** argv) {
    using weft::ExitCode;
    CLI::App root{"weft: long pose-guided videos with diffusion models", "weft"};
    root.set_version_flag("--version", weft::cat("weft ", weft::build::version));
    root.require_subcommand(1);
    weft::app::Actions actions;
    weft::app::add_generate(root, actions);
    weft::app::add_plan(root, actions);
    weft::app::add_inspect(root, actions);
    weft::app::add_bench(root, actions);
    weft::app::add_doctor(root, actions);
    weft::app::add_make_model(root, actions);
    weft::app::add_later(root, actions);
    try {
        root.parse(argc, argv);
        return actions.at(root.get_subcommands().front())();
    } catch (const CLI::ParseError& error) {
        return root.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::user_mistake);
    } catch (const weft::Error& error) {
        weft::log::error(error.what());
        return static_cast<int>(error.code());
    } catch (const std::bad_alloc&) {
        weft::log::error("out of memory");
        return static_cast<int>(ExitCode::does_not_fit);
    } catch (const std::exception& error) {
        weft::log::error(error.what());
        return static_cast<int>(ExitCode::failure);
    }
}

#include "app/command.hpp"
#include "base/error.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

namespace weft::app {

void add_later(CLI::App& root, Actions& actions) {
    auto* const pose = root.add_subcommand("pose", "alignment and drawing from key points (not offered by this build)");
    pose->allow_extras();
    actions[pose] = []() -> int {
        refuse("weft pose: not offered by this build; draw the poses with DWPose as MimicMotion publishes it, and name them in input.pose");
    };
}

}  // namespace weft::app

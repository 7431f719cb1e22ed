#include "model/make_model.hpp"
#include "app/command.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "pose/draw.hpp"

#include <CLI/CLI.hpp>

#include <filesystem>
#include <memory>

namespace weft::app {

namespace {

struct Arguments {
    std::string folder;
    bool tiny = false;
    std::string family = "mimicmotion";
};

/// A picture, a pose clip and settings that fit the tiny model, so that `weft generate FOLDER/example/config.toml` works at once.
void write_example(const std::filesystem::path& folder, bool musepose) {
    constexpr int side = 128;
    constexpr std::int64_t poses = 39;
    std::filesystem::create_directories(folder / "pose");
    io::write_png(folder / "person.png", pose::draw_person(pose::example_body(0, side, side), side, side));
    for (std::int64_t frame = 0; frame < poses; ++frame)
        io::write_png(folder / "pose" / cat(frame < 9 ? "0000" : "000", frame + 1, ".png"), pose::draw_body(pose::example_body(frame, side, side), side, side));
    write_atomically(folder / "config.toml", "# An example for the tiny model: its weights are random, so the video is noise that moves.\n" +
                                                 std::string(musepose ? "[model]\nfamily = \"musepose\"\n" : "[model]\n") +
                                                 "path = \"..\"\n\n[input]\nimage = \"person.png\"\npose = \"pose\"\n\n[video]\nwidth = 128\nheight = 128\n\n"
                                                 "[sampling]\nsteps = 10\n\n[slices]\nlength = 16\noverlap = " +
                                                 (musepose ? "4\n" : "6\n"));
}

int run(const Arguments& arguments) {
    Mistakes mistakes;
    if (!arguments.tiny) mistakes.add("weft make-model: say --tiny; it is the only kind that can be made");
    const bool musepose = arguments.family == "musepose";
    if (!musepose && arguments.family != "mimicmotion") mistakes.add("--family", arguments.family, "must be mimicmotion or musepose");
    mistakes.throw_if_any("no model was made:");
    const std::filesystem::path folder{arguments.folder};
    musepose ? model::make_tiny_musepose(folder) : model::make_tiny_model(folder);
    write_example(folder / "example", musepose);
    log::info(cat("model     ", folder.string(), ": small, with random weights, in the published layout"));
    log::info(cat("example   weft generate ", (folder / "example" / "config.toml").string()));
    return 0;
}

}  // namespace

void add_make_model(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("make-model", "a small model with seeded random weights in the published layout, with an example that uses it");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("FOLDER", arguments->folder, "where to put it; made if needed")->required();
    command->add_flag("--tiny", arguments->tiny, "a few megabytes");
    command->add_option("--family", arguments->family, "mimicmotion or musepose");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

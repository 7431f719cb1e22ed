#include "pipeline/bench.hpp"
#include "app/command.hpp"
#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>

namespace weft::app {

namespace {

struct Arguments {
    std::vector<std::string> pieces{"encode", "pass", "step", "decode"};
    std::string model = "random";
    std::int64_t frames = 16;
    std::string size = "576x1024";
    std::vector<std::string> overrides;
    int warm_up = 1;
    int repeats = 5;
    std::string json;
};

int run(const Arguments& arguments) {
    Mistakes mistakes;
    for (const auto& piece : arguments.pieces)
        if (piece == "transport") mistakes.add("weft bench", piece, "is not offered by this build", "use encode, pass, step or decode");
    const auto sides = split(arguments.size, 'x');
    if (sides.size() != 2) mistakes.add("--size", arguments.size, "must be WIDTHxHEIGHT in pixels", "for example 576x1024");
    mistakes.throw_if_any("weft bench cannot go on:");
    std::vector<std::string> overrides{cat("model.path=", in_quotes(arguments.model)), cat("video.width=", sides[0]), cat("video.height=", sides[1]),
                                       cat("slices.length=", arguments.frames),
                                       cat("slices.overlap=", std::min<std::int64_t>(6, std::max<std::int64_t>(1, arguments.frames - 1)))};
    overrides.insert(overrides.end(), arguments.overrides.begin(), arguments.overrides.end());
    const auto settings = parse_settings("", "weft bench", overrides, mistakes);
    mistakes.throw_if_any("weft bench cannot go on:");
    const auto report = pipeline::run_bench({.settings = settings, .pieces = arguments.pieces, .warm_up = arguments.warm_up, .repeats = arguments.repeats});
    std::cout << pipeline::as_table(report);
    if (!arguments.json.empty()) write_atomically(arguments.json, pipeline::as_json(report));
    return 0;
}

}  // namespace

void add_bench(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("bench", "seconds and bytes of encode, pass, step and decode, on made-up inputs of any shape");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("PIECES", arguments->pieces, "of encode, pass, step, decode; all of them by default");
    command->add_option("--model", arguments->model, "a model folder, or \"random\": the published architecture filled with noise");
    command->add_option("--frames", arguments->frames, "frames of a pass");
    command->add_option("--size", arguments->size, "WIDTHxHEIGHT in pixels");
    command->add_option("--set", arguments->overrides, "table.key=value of the settings, for example device.kind=cpu, model.dtype=bf16");
    command->add_option("--warm-up", arguments->warm_up, "runs that are not counted");
    command->add_option("--repeats", arguments->repeats, "runs that are");
    command->add_option("--json", arguments->json, "also write every figure to this file");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

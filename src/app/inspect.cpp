#include "app/command.hpp"
#include "app/seams.hpp"
#include "base/digest.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/text.hpp"
#include "io/run_file.hpp"
#include "io/video_reader.hpp"
#include "io/weight_file.hpp"
#include "model/keys_report.hpp"

#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>
#include <optional>

namespace weft::app {

namespace {

struct Arguments {
    std::string target;
    std::string export_file;
    bool hash = false;
    bool keys = false;
    bool seams = false;
    std::optional<std::string> slices;
    std::string family = "mimicmotion";
};

std::string phase_name(io::Phase phase) {
    switch (phase) {
        case io::Phase::denoise: return "denoise";
        case io::Phase::decode: return "decode";
        case io::Phase::done: return "done";
    }
    return "?";
}

io::RunFile::Saved newest_of(const io::RunFile& file) {
    auto saved = file.newest();
    if (!saved) refuse(cat(file.path().string(), ": holds no complete step yet"));
    return *std::move(saved);
}

void export_latents(const io::RunFile& file, const std::string& to) {
    const auto saved = newest_of(file);
    const auto& shape = file.header().shape;
    // Private anchors stand behind MimicMotion's clip and are nobody's frames; repeats behind MusePose's are some of the published program's latents.
    const auto frames = settings_of(file).model.family == FamilyName::musepose ? shape.frames : file.header().clip_frames;
    const auto shown = std::span(saved.latents).first(static_cast<std::size_t>(frames * shape.frame_elements()));
    const io::TensorToWrite tensor{"latents", io::ElementType::f32, {frames, shape.channels, shape.height, shape.width}, std::as_bytes(shown)};
    io::write_safetensors(to, std::span(&tensor, 1));
    log::info(cat(to, ": latents ", io::shape_text(tensor.shape), " after step ", saved.step));
}

void describe(const io::RunFile& file) {
    const auto& header = file.header();
    log::info(cat("phase     ", phase_name(file.phase())));
    log::info(cat("steps     ", file.newest_step().value_or(0), " of ", header.steps));
    log::info(cat("latents   ", io::shape_text(std::vector{header.shape.frames, header.shape.channels, header.shape.height, header.shape.width}), " fp32",
                  header.shape.frames > header.clip_frames ? cat(", ", header.shape.frames - header.clip_frames, " of them behind the clip's end") : ""));
    log::info(cat("numerics  ", header.numerics_key));
    std::cout << "\n" << header.settings << "\n" << header.plan;
}

/// uint8 RGB frames of a video in order, decoded again: equal for lossless films of equal frames.
std::string video_hash(const std::string& path) {
    io::VideoReader reader(path);
    Digest digest;
    while (const auto frame = reader.next()) digest.add(std::as_bytes(std::span(frame->rgb)));
    return digest.hex();
}

int run(const Arguments& arguments) {
    if (arguments.keys) {
        const auto report = model::report_keys(arguments.target);
        std::cout << report.listing;
        report.mistakes.throw_if_any(cat(arguments.target, ": keys and config files do not agree:"));
        return 0;
    }
    const bool run_file = arguments.target.ends_with(".h5");
    if (arguments.seams && !run_file) {
        tell_seams_of_film(arguments.target, arguments.slices, arguments.family == "musepose" ? FamilyName::musepose : FamilyName::mimicmotion);
        return 0;
    }
    if (arguments.hash && !run_file) {
        std::cout << video_hash(arguments.target) << "  " << arguments.target << "\n";
        return 0;
    }
    if (arguments.slices) refuse(cat("--slices = ", *arguments.slices, ": is for films, and ", arguments.target, " says its slices itself; leave it out"));
    const auto file = io::RunFile::open_readonly(arguments.target);
    if (arguments.seams) {
        tell_seams_of_run(file, newest_of(file));
    } else if (arguments.hash) {
        const auto saved = newest_of(file);
        std::cout << hex_digest(std::as_bytes(std::span(saved.latents))) << "  " << arguments.target << " step " << saved.step << "\n";
    } else if (!arguments.export_file.empty())
        export_latents(file, arguments.export_file);
    else
        describe(file);
    return 0;
}

}  // namespace

void add_inspect(CLI::App& root, Actions& actions) {
    auto* const command = root.add_subcommand("inspect", "what a run file, a video or a model folder holds");
    const auto arguments = std::make_shared<Arguments>();
    command
        ->add_option("TARGET", arguments->target, "a run file (.h5); with --hash and --seams also a video or a folder of pictures; with --keys a model folder")
        ->required();
    auto* const keys = command->add_flag("--keys", arguments->keys,
                                         "expected keys and shapes of a model folder against its files; from the config files alone where weights are missing");
    auto* const hash = command->add_flag("--hash", arguments->hash, "hash of the newest latents, or of a video's RGB frames in order");
    auto* const out = command->add_option("--export", arguments->export_file, "write the newest complete latents to this safetensors file");
    auto* const seams = command->add_flag(
        "--seams", arguments->seams, "change between neighbouring frames at slice borders over the change inside slices, in latents and pixels; 1: no seam");
    command->add_option("--slices", arguments->slices, "LENGTH,OVERLAP of the slices that a video was made with; a run file knows its own")->needs(seams);
    command->add_option("--family", arguments->family, "whose slices those are: mimicmotion or musepose")
        ->needs(seams)
        ->check(CLI::IsMember({"mimicmotion", "musepose"}));
    keys->excludes(hash)->excludes(out)->excludes(seams);
    hash->excludes(out)->excludes(seams);
    out->excludes(seams);
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

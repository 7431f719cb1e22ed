#include "app/command.hpp"
#include "app/links.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "device/device.hpp"
#include "model/open_model.hpp"
#include "pipeline/scaling.hpp"
#include "pipeline/stand_in.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <iostream>
#include <memory>
#include <optional>

namespace weft::app {

namespace {

struct Arguments {
    std::string costs = "mimicmotion";
    std::string clip = "frames";
    std::string phase = "denoise";
    std::int64_t length = 0;
    std::string ranks = "1-8";
    std::vector<std::string> overrides;
    LinkArguments links;
    std::int64_t payload = 64;
    double time_scale = 0;
    double minutes = 9;
    int at_once = 3;
    std::string json;
    std::string plot;
    std::string events;
};

/// "2-5, 8"
std::vector<int> parse_ranks(const std::string& text, Mistakes& mistakes) {
    std::vector<int> ranks;
    for (const auto& word : split(text, ',')) {
        int first = 0, last = 0;
        const auto* const end = word.data() + word.size();
        auto read = std::from_chars(word.data(), end, first);
        last = first;
        if (read.ec == std::errc{} && read.ptr != end && *read.ptr == '-') read = std::from_chars(read.ptr + 1, end, last);
        if (read.ec != std::errc{} || read.ptr != end || first < 1 || last < first || last > 256) {
            mistakes.add("--ranks", in_quotes(text), "must be numbers from 1 to 256 and ranges of them", "for example 2-16 or 1,2,4,8");
            return {};
        }
        for (; first <= last; ++first) ranks.push_back(first);
    }
    return ranks;
}

/// Stages that are alike: one unit each, handing on as much as MimicMotion's middle does.
plan::PassShape equal_shape(std::int64_t num_stages, std::int64_t num_slots) {
    plan::PassShape shape;
    shape.num_slots = num_slots;
    for (std::int64_t stage = 0; stage < num_stages; ++stage) {
        shape.units.push_back({cat("stage ", stage), 0});
        shape.pieces.push_back({stage, {0, num_slots}, {100'000'000, 100'000'000}, {}});
        if (stage > 0) shape.pieces.back().state.push_back({0, {0, num_slots}, 1 << 20});
    }
    return shape;
}

plan::PassShape shape_of(const Arguments& arguments, const Settings& settings, Mistakes& mistakes) {
    const auto slots = arguments.clip == "frames" ? plan::slots_of(settings, arguments.length - 1) : settings.slices.length;
    if (arguments.costs.starts_with("equal:")) {
        std::int64_t stages = 0;
        const auto* const begin = arguments.costs.data() + 6;
        const auto* const end = arguments.costs.data() + arguments.costs.size();
        if (const auto read = std::from_chars(begin, end, stages); read.ec == std::errc{} && read.ptr == end && stages >= 1 && stages <= 256)
            return equal_shape(stages, slots);
    }
    if (arguments.costs == "mimicmotion" || arguments.costs == "musepose") return model::pass_shape_of(settings, slots, c10::kCUDA, c10::kHalf, 0, mistakes);
    mistakes.add("--costs", arguments.costs, "must be mimicmotion, musepose, or equal:STAGES, STAGES from 1 to 256", "for example equal:8");
    return {};
}

int run(Arguments arguments) {
    Mistakes mistakes;
    const bool musepose = arguments.costs == "musepose";
    std::vector<std::string> overrides{"model.path=\"random\"", cat("model.family=", in_quotes(musepose ? "musepose" : "mimicmotion"))};
    if (musepose) overrides.insert(overrides.end(), {"video.width=768", "video.height=768", "slices.length=48", "slices.overlap=4", "sampling.steps=20"});
    overrides.insert(overrides.end(), arguments.overrides.begin(), arguments.overrides.end());
    const auto settings = parse_settings("", "weft bench scaling", overrides, mistakes);
    pipeline::ScalingRequest request{
        .settings = settings, .payload = arguments.payload, .time_scale = arguments.time_scale, .minutes = arguments.minutes, .at_once = arguments.at_once};
    request.ranks = parse_ranks(arguments.ranks, mistakes);
    if (arguments.phase == "decode")
        request.phase = pipeline::Phase::decode;
    else if (arguments.phase != "denoise")
        mistakes.add("--phase", arguments.phase, "must be denoise or decode", "denoise is usual");
    if (arguments.clip == "chain")
        request.clip = pipeline::Clip::chain;
    else if (arguments.clip == "ring")
        request.clip = pipeline::Clip::ring;
    else if (arguments.clip != "frames")
        mistakes.add("--clip", arguments.clip, "must be frames, chain or ring", "frames are MimicMotion's slices");
    if (arguments.length == 0) arguments.length = request.clip == pipeline::Clip::frames ? 531 : 23;
    if (arguments.length < 2) mistakes.add("--length", cat(arguments.length), "must be at least 2", "531 frames or 23 slices are usual");
    if (arguments.payload < 1) mistakes.add("--payload", cat(arguments.payload), "must be at least 1", "64 is usual");
    if (arguments.time_scale < 0) mistakes.add("--time-scale", cat(arguments.time_scale), "must not be negative", "0 chooses");
    if (!(arguments.minutes > 0)) mistakes.add("--minutes", cat(arguments.minutes), "must be more than 0", "9 is usual");
    const bool launched = !comm::launcher().empty();
    if (launched) {
        request.ranks = {comm::launched_ranks()};
        if (!(arguments.time_scale > 0))
            mistakes.add("--time-scale", "0", "must be given on ranks of a launcher", "what the same command chooses for ranks as threads");
        if (request.phase == pipeline::Phase::decode) mistakes.add("--phase", "decode", "needs ranks as threads", "start it without a launcher");
    }
    if (arguments.at_once < 1 || arguments.at_once > 64) mistakes.add("--at-once", cat(arguments.at_once), "must be from 1 to 64", "3 is usual");
    mistakes.throw_if_any("weft bench scaling cannot go on:");
    request.length = arguments.length;
    request.shape = shape_of(arguments, settings, mistakes);
    for (const auto& word : arguments.overrides) request.steps_given = request.steps_given || word.starts_with("sampling.steps=");
    for (const int ranks : request.ranks) static_cast<void>(links_from(arguments.links, std::max(ranks, arguments.links.hosts), mistakes));
    mistakes.throw_if_any("weft bench scaling cannot go on:");
    static_cast<void>(open_device({.kind = DeviceKind::cpu}, 0));  // a thread a rank: blending must not take the cores of others

    std::unique_ptr<comm::Transport> transport;
    request.links = [&](int num_ranks) {
        Mistakes none;
        auto asked = arguments.links;
        asked.hosts = std::min(asked.hosts, num_ranks);
        return links_from(asked, num_ranks, none);
    };
    if (launched) {
        const auto links = request.links(request.ranks.front());
        transport = std::make_unique<comm::Transport>(
            [&] { return pipeline::make_late_link(comm::make_mpi_link(), links, {.time = arguments.time_scale, .payload = arguments.payload}); },
            comm::Watch{.stall_s = 1e6});
    }
    const bool speaks = !transport || transport->speaks();
    std::optional<Events> events;
    if (speaks && !arguments.events.empty()) request.events = &events.emplace(arguments.events);
    const auto what = cat(arguments.costs, ", ", arguments.clip, " ", arguments.length, ", ", settings.video.width, "x", settings.video.height, ", slices of ",
                          settings.slices.length, ", links ", plan::describe(request.links(request.ranks.back())), ", payload 1/", arguments.payload);
    if (speaks) std::cout << what << "\nshares in %\n" << pipeline::table_head() << std::flush;
    const auto rows =
        pipeline::run_scaling(request, transport.get(), [](const pipeline::ScalingRow& row) { std::cout << pipeline::table_line(row) << std::flush; });
    if (transport) transport->leave(0);
    if (!speaks) return 0;
    if (!arguments.json.empty()) write_atomically(arguments.json, pipeline::as_json(rows, what));
    if (!arguments.plot.empty()) write_atomically(arguments.plot, pipeline::as_plot(rows, what));
    return 0;
}

}  // namespace

void add_bench_scaling(CLI::App& root, Actions& actions) {
    auto* const command =
        root.get_subcommand("bench")->add_subcommand("scaling", "efficiency on many ranks: real plans, transports, buffers and blending, units that sleep");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("--costs", arguments->costs, "true costs of a family at 576x1024x72 or 768x768x48: mimicmotion, musepose; or equal:STAGES");
    command->add_option("--clip", arguments->clip, "frames: MimicMotion's slices; chain, ring: of slices that share frames with their neighbours");
    command->add_option("--phase", arguments->phase, "denoise or decode");
    command->add_option("--length", arguments->length, "frames of the clip (531), or slices of the chain or ring (23)");
    command->add_option("--ranks", arguments->ranks, "as 2-16 or 1,2,4,8: threads of this process; under a launcher its ranks count");
    command->add_option("--set", arguments->overrides, "table.key=value of the settings, for example layout.kind=stages, sampling.steps=20");
    add_link_options(*command, arguments->links);
    command->add_option("--payload", arguments->payload, "hidden states and skips travel with one in so many bytes; the rest of their time is waited for");
    command->add_option("--time-scale", arguments->time_scale, "seconds slept a second; 0: so that exchange costs this machine 0.5 % of a step");
    command->add_option("--minutes", arguments->minutes, "for the table");
    command->add_option("--at-once", arguments->at_once, "rows of the table that are measured side by side; most of their time they sleep");
    command->add_option("--json", arguments->json, "also write every figure to this file");
    command->add_option("--events", arguments->events, "append the trace of the last row to this file, for weft trace");
    command->add_option("--plot", arguments->plot, "also draw efficiency over ranks to this SVG file");
    actions[command] = [arguments] { return run(*arguments); };
}

}  // namespace weft::app

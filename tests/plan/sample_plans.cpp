#include "plan/sample_plans.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <random>

namespace weft::plan {

std::ostream& operator<<(std::ostream& out, const Sample& sample) {
    static constexpr std::array<const char*, 4> kinds{"auto", "whole", "cut", "stages"};
    return out << sample.slices << " slices, " << sample.ranks << " ranks, " << (sample.guided ? "guided" : "unguided") << ", "
               << (sample.anchor == Anchor::blended ? "blended" : "private") << (sample.last == LastSlice::tiles ? "" : ", last slice moved back") << ", costs "
               << sample.cost[0] << ":" << sample.cost[1] << ", layout " << kinds.at(static_cast<std::size_t>(sample.layout.kind)) << " "
               << sample.layout.stages << " " << sample.layout.map;
}

PassShape small_unet(std::int64_t num_slots, BranchCost cost) {
    constexpr int hidden = 0, partial = 1, residual = 2;
    const auto half = num_slots / 2;
    const FrameRange all{0, num_slots}, front{0, half}, back{half, num_slots};
    PassShape shape;
    shape.num_slots = num_slots;
    shape.shared_weight_bytes = 7;
    const auto unit = [&](const char* name, std::int64_t weight) { shape.units.push_back({name, weight}); };
    const auto piece = [&](FrameRange slots, std::int64_t thousands, std::vector<Part> state) {
        const auto last = static_cast<std::int64_t>(shape.units.size()) - 1;
        shape.pieces.push_back({last, slots, {1000 * thousands * cost[0], 1000 * thousands * cost[1]}, std::move(state)});
    };
    const auto whole = [&](const char* name, std::int64_t thousands, std::vector<Part> state) {
        unit(name, 10 * thousands);
        piece(all, thousands, std::move(state));
    };
    const auto halves = [&](const char* name, std::int64_t thousands, std::vector<Part> state, std::vector<Part> between) {
        unit(name, 10 * thousands);
        piece(front, thousands, std::move(state));
        piece(back, thousands, std::move(between));
    };
    whole("conv_in", 1, {});                                                                                // piece 0
    halves("d0.spatial", 3, {{hidden, all, 8}}, {{hidden, back, 8}, {partial, front, 8}});                  // 1, 2
    whole("d0.temporal", 4, {{hidden, all, 8}});                                                            // 3
    whole("down", 1, {{hidden, all, 8}});                                                                   // 4
    halves("mid.attention", 4, {{hidden, all, 4}}, {{hidden, front, 4}, {residual, all, 4}});               // 5, 6
    halves("mid.feed", 2, {{hidden, all, 4}, {residual, all, 4}}, {{hidden, all, 4}, {residual, all, 4}});  // 7, 8
    whole("mid.temporal", 4, {{hidden, all, 4}, {residual, all, 4}});                                       // 9
    halves("u0.spatial", 3, {{hidden, all, 4}}, {{hidden, back, 4}, {partial, front, 4}});                  // 10, 11
    halves("up", 2, {{hidden, all, 4}}, {{hidden, back, 4}, {partial, front, 8}});                          // 12, 13
    halves("u1.spatial", 4, {{hidden, all, 8}}, {{hidden, back, 8}, {partial, front, 8}});                  // 14, 15
    halves("u2.spatial", 4, {{hidden, all, 8}}, {{hidden, back, 8}, {partial, front, 8}});                  // 16, 17
    halves("conv_out", 1, {{hidden, all, 8}}, {{hidden, back, 8}, {partial, front, 1}});                    // 18, 19
    shape.skips = {{0, {16, 18}, 8}, {3, {14, 16}, 8}, {4, {10, 12}, 4}};
    return shape;
}

std::string random_map(const PassShape& shape, int num_stages, unsigned seed) {
    std::mt19937 random(seed);
    const auto any = [&](std::int64_t below) { return std::uniform_int_distribution<std::int64_t>(0, below - 1)(random); };
    std::vector<std::int64_t> borders;
    const auto num_legs = num_stages + any(std::min<std::int64_t>(4, shape.num_pieces() - num_stages) + 1);
    while (static_cast<std::int64_t>(borders.size()) + 1 < num_legs) {
        const auto border = 1 + any(shape.num_pieces() - 1);
        if (std::find(borders.begin(), borders.end(), border) == borders.end()) borders.push_back(border);
    }
    std::sort(borders.begin(), borders.end());
    borders.insert(borders.begin(), 0);
    std::vector<int> stages;
    for (std::int64_t leg = 0; leg < num_legs; ++leg) stages.push_back(static_cast<int>(leg < num_stages ? leg : any(num_stages)));
    std::shuffle(stages.begin(), stages.end(), random);
    std::vector<std::string> words;
    for (std::size_t leg = 0; leg < borders.size(); ++leg) words.push_back(cat(stages[leg], "@", borders[leg]));
    return join(words);
}

Plan make_plan(const Sample& sample) {
    constexpr std::int64_t length = 7, overlap = 3, stride = length - overlap;
    Settings settings;
    settings.video = {.width = 64, .height = 128};
    settings.sampling.steps = sample.steps;
    if (!sample.guided) settings.sampling.guidance = {1.0, 1.0};
    settings.slices = {.length = length, .overlap = overlap, .anchor = sample.anchor};
    settings.layout = sample.layout;
    const auto frames = length + (sample.slices - 1) * stride - (sample.last == LastSlice::moved_back && sample.slices > 1 ? stride - 1 : 0);
    return make_plan(settings, frames - 1, {.latent_channels = 4, .prediction_bytes = 2, .pass = small_unet(length, sample.cost)}, sample.ranks);
}

std::vector<Pass> Made::passes_of(std::int64_t step) const {
    std::vector<Pass> passes;
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan.slices.size()); ++slice) {
        if (plan.guided) passes.push_back({step, slice, Branch::unconditional});
        passes.push_back({step, slice, Branch::conditional});
    }
    return passes;
}

std::vector<Message> Made::messages() const {
    std::vector<Message> messages;
    for (const auto& program : programs)
        for (const auto& operation : program)
            if (const auto* send = std::get_if<Send>(&operation)) messages.push_back(send->message);
    return messages;
}

Made make(const Sample& sample, std::int64_t first_step) {
    auto plan = make_plan(sample);
    auto programs = compile(plan, first_step);
    return {sample, std::move(plan), first_step, std::move(programs)};
}

namespace {

/// What is tried on so many ranks, besides whole passes.
std::vector<LayoutSettings> layouts_for(int ranks) {
    std::vector<LayoutSettings> layouts{{.kind = LayoutKind::cut}};
    if (ranks > 1 && ranks <= 12) layouts.push_back({.kind = LayoutKind::stages, .stages = ranks, .map = "straight"});
    if (ranks > 1 && ranks <= 4) layouts.push_back({.kind = LayoutKind::stages, .stages = ranks, .map = "folded"});
    for (const int stages : {2, 3})
        if (ranks > stages && ranks % stages == 0)
            layouts.push_back({.kind = LayoutKind::stages, .stages = stages, .map = ranks % 4 == 0 ? "folded" : "straight"});
    if (ranks > 1 && ranks <= 8)
        layouts.push_back({.kind = LayoutKind::stages, .stages = ranks, .map = random_map(small_unet(7, {1, 1}), ranks, static_cast<unsigned>(ranks))});
    return layouts;
}

}  // namespace

const std::vector<Made>& all_layouts() {
    static const auto all = [] {
        std::vector<Made> made;
        for (int ranks = 1; ranks <= 64; ++ranks)
            for (const std::int64_t slices : {8, 35})
                for (const bool guided : {true, false})
                    for (const auto anchor : {Anchor::blended, Anchor::private_}) {
                        const bool odd = ranks % 2 == 1;
                        Sample sample{.ranks = ranks,
                                      .slices = slices,
                                      .guided = guided,
                                      .anchor = anchor,
                                      .cost = odd ? BranchCost{1, 1} : BranchCost{100, 122},
                                      .steps = slices == 8 ? 3 : 2};
                        const std::int64_t first_step = slices == 8 && ranks % 3 == 0 ? 1 : 0;
                        for (const auto last : {LastSlice::tiles, LastSlice::moved_back}) {
                            sample.last = last;
                            made.push_back(make(sample, first_step));
                        }
                        sample.last = odd ? LastSlice::tiles : LastSlice::moved_back;
                        for (const auto& layout : layouts_for(ranks)) {
                            sample.layout = layout;
                            made.push_back(make(sample, first_step));
                        }
                    }
        return made;
    }();
    return all;
}

bool contains(const FrameRanges& ranges, std::int64_t frame) {
    for (const auto& range : ranges)
        if (range.begin <= frame && frame < range.end) return true;
    return false;
}

}  // namespace weft::plan

#include "plan/sample_plans.hpp"

namespace weft::plan {

std::ostream& operator<<(std::ostream& out, const Sample& sample) {
    return out << sample.slices << " slices, " << sample.ranks << " ranks, " << (sample.guided ? "guided" : "unguided") << ", "
               << (sample.anchor == Anchor::blended ? "blended" : "private") << (sample.last == LastSlice::tiles ? "" : ", last slice moved back") << ", costs "
               << sample.cost[0] << ":" << sample.cost[1];
}

Plan make_plan(const Sample& sample) {
    constexpr std::int64_t length = 7, overlap = 3, stride = length - overlap;
    Settings settings;
    settings.video = {.width = 64, .height = 128};
    settings.sampling.steps = sample.steps;
    if (!sample.guided) settings.sampling.guidance = {1.0, 1.0};
    settings.slices = {.length = length, .overlap = overlap, .anchor = sample.anchor};
    const auto frames = length + (sample.slices - 1) * stride - (sample.last == LastSlice::moved_back && sample.slices > 1 ? stride - 1 : 0);
    return make_plan(settings, frames - 1, {.latent_channels = 4, .num_units = 7, .pass_cost = sample.cost, .prediction_bytes = 2}, sample.ranks);
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

const std::vector<Made>& all_layouts() {
    static const auto all = [] {
        std::vector<Made> made;
        for (int ranks = 1; ranks <= 64; ++ranks)
            for (const std::int64_t slices : {8, 35})
                for (const bool guided : {true, false})
                    for (const auto anchor : {Anchor::blended, Anchor::private_})
                        for (const auto last : {LastSlice::tiles, LastSlice::moved_back}) {
                            const bool odd = ranks % 2 == 1;
                            made.push_back(make({.ranks = ranks,
                                                 .slices = slices,
                                                 .guided = guided,
                                                 .anchor = anchor,
                                                 .last = last,
                                                 .cost = odd ? BranchCost{1, 1} : BranchCost{100, 122},
                                                 .steps = slices == 8 ? 3 : 2},
                                                slices == 8 && ranks % 3 == 0 ? 1 : 0));
                        }
        return made;
    }();
    return all;
}

std::vector<std::int64_t> frames_in(const FrameRanges& ranges) {
    std::vector<std::int64_t> frames;
    for (const auto& range : ranges)
        for (auto frame = range.begin; frame < range.end; ++frame) frames.push_back(frame);
    return frames;
}

bool contains(const FrameRanges& ranges, std::int64_t frame) {
    for (const auto& range : ranges)
        if (range.begin <= frame && frame < range.end) return true;
    return false;
}

}  // namespace weft::plan

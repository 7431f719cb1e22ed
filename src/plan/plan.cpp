#include "plan/plan.hpp"

#include "base/error.hpp"

#include <algorithm>

namespace weft::plan {

namespace {
bool covers(const Slice& slice, std::int64_t latent) {
    return std::find(slice.frames.begin(), slice.frames.end(), latent) != slice.frames.end();
}
}  // namespace

Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape, int num_ranks) {
    Plan plan;
    plan.num_frames = num_poses + 1;
    plan.latent_channels = shape.latent_channels;
    plan.latent_height = settings.video.height / 8;
    plan.latent_width = settings.video.width / 8;
    plan.prediction_bytes = shape.prediction_bytes;
    plan.slices = make_slices(plan.num_frames, settings.slices.length, settings.slices.overlap);
    plan.num_latents = plan.num_frames;
    if (settings.slices.anchor == Anchor::private_) {
        plan.slices = with_private_anchors(std::move(plan.slices), plan.num_frames);
        plan.num_latents += static_cast<std::int64_t>(plan.slices.size()) - 1;
    }
    plan.guided = std::max(settings.sampling.guidance[0], settings.sampling.guidance[1]) > 1.0;
    plan.steps = settings.sampling.steps;
    plan.num_units = shape.num_units;
    plan.pass_cost = shape.pass_cost;
    const auto num_slices = static_cast<std::int64_t>(plan.slices.size());
    plan.deal = deal_whole_passes(num_slices, plan.guided, plan.pass_cost, num_ranks);

    plan.owner.assign(static_cast<std::size_t>(plan.num_latents), -1);
    for (std::int64_t slice = 0; slice < num_slices; ++slice)
        for (const auto frame : plan.slices[static_cast<std::size_t>(slice)].frames)
            if (auto& owner = plan.owner[static_cast<std::size_t>(frame)]; owner < 0) owner = plan.deal.rank(slice, Branch::conditional);
    ensure(std::find(plan.owner.begin(), plan.owner.end(), -1) == plan.owner.end(), "slices cover every latent frame");

    plan.decode = decode_chunks(plan.num_frames, settings.decode.chunk);
    for (std::size_t chunk = 0; chunk < plan.decode.size(); ++chunk) plan.decoder.push_back(static_cast<int>(chunk % static_cast<std::size_t>(num_ranks)));
    return plan;
}

FrameRanges Plan::kept(int rank) const {
    std::vector<std::int64_t> frames;
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(slices.size()); ++slice) {
        if (deal.rank(slice, Branch::conditional) != rank && !(guided && deal.rank(slice, Branch::unconditional) == rank)) continue;
        const auto& more = slices[static_cast<std::size_t>(slice)].frames;
        frames.insert(frames.end(), more.begin(), more.end());
    }
    std::sort(frames.begin(), frames.end());
    frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
    return ranges_of(std::move(frames));
}

std::vector<std::int64_t> Plan::covering(std::int64_t latent) const {
    std::vector<std::int64_t> found;
    for (std::size_t slice = 0; slice < slices.size(); ++slice)
        if (covers(slices[slice], latent)) found.push_back(static_cast<std::int64_t>(slice));
    return found;
}

std::int64_t bytes_of(const Plan& plan, const Message& message) {
    return count(message.frames) * plan.frame_elements() * (message.cargo == Cargo::prediction ? plan.prediction_bytes : 4);
}

std::map<std::pair<int, int>, LinkBytes> link_bytes(const Plan& plan) {
    std::map<std::pair<int, int>, LinkBytes> links;
    const auto latent = plan.frame_elements() * 4;
    std::vector<std::vector<int>> readers(static_cast<std::size_t>(plan.num_latents));  // ranks that run a pass over each frame
    for (std::int64_t slice = 0; slice < static_cast<std::int64_t>(plan.slices.size()); ++slice)
        for (const auto branch : {Branch::unconditional, Branch::conditional}) {
            if (!plan.guided && branch == Branch::unconditional) continue;
            const auto rank = plan.deal.rank(slice, branch);
            for (const auto frame : plan.slices[static_cast<std::size_t>(slice)].frames) {
                const auto f = static_cast<std::size_t>(frame);
                if (plan.owner[f] != rank) links[{rank, plan.owner[f]}].predictions += plan.frame_elements() * plan.prediction_bytes;
                if (std::find(readers[f].begin(), readers[f].end(), rank) == readers[f].end()) readers[f].push_back(rank);
            }
        }
    for (std::size_t f = 0; f < readers.size(); ++f) {
        for (const auto reader : readers[f])
            if (reader != plan.owner[f]) links[{plan.owner[f], reader}].latents += latent;
        if (std::find(readers[f].begin(), readers[f].end(), writer) == readers[f].end()) links[{plan.owner[f], writer}].saved += latent;
    }
    return links;
}

}  // namespace weft::plan

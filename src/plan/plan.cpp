#include "plan/plan.hpp"

#include "base/error.hpp"
#include "plan/layout.hpp"
#include "plan/rooms.hpp"

#include <algorithm>
#include <set>

namespace weft::plan {

namespace {
bool covers(const Slice& slice, std::int64_t latent) {
    return std::find(slice.frames.begin(), slice.frames.end(), latent) != slice.frames.end();
}
}  // namespace

std::int64_t frames_of(const Settings& settings, std::int64_t num_poses) {
    return settings.model.family == FamilyName::mimicmotion ? num_poses + 1 : num_poses;
}

std::int64_t slots_of(const Settings& settings, std::int64_t num_poses) {
    const auto& s = settings.slices;
    if (settings.model.family == FamilyName::mimicmotion) return std::min(s.length, num_poses + 1);
    return std::min(s.length, s.pad ? padded_frames(num_poses, s.length, s.overlap) : num_poses);
}

Plan make_plan(const Settings& settings, std::int64_t num_poses, const ModelShape& shape, int num_ranks, const Links& links,
               std::optional<std::int64_t> budget) {
    const auto& s = settings.slices;
    if (settings.model.family == FamilyName::musepose) {
        const auto num_latents = s.pad ? padded_frames(num_poses, s.length, s.overlap) : num_poses;
        return make_plan(settings, make_windows(num_latents, s.length, s.overlap), num_poses, num_latents, shape, num_ranks, links, budget);
    }
    const auto num_frames = num_poses + 1;
    auto num_latents = num_frames;
    auto slices = make_slices(num_frames, s.length, s.overlap);
    if (s.anchor == Anchor::private_) {
        slices = with_private_anchors(std::move(slices), num_frames);
        num_latents += static_cast<std::int64_t>(slices.size()) - 1;
    }
    return make_plan(settings, std::move(slices), num_frames, num_latents, shape, num_ranks, links, budget);
}

Plan make_plan(const Settings& settings, Slices slices, std::int64_t num_frames, std::int64_t num_latents, const ModelShape& shape, int num_ranks,
               const Links& links, std::optional<std::int64_t> budget) {
    const bool mimicmotion = settings.model.family == FamilyName::mimicmotion;
    Plan plan;
    plan.num_frames = num_frames;
    plan.hidden_frames = mimicmotion ? 1 : 0;
    plan.num_latents = num_latents;
    plan.latent_channels = shape.latent_channels;
    plan.latent_height = settings.video.height / 8;
    plan.latent_width = settings.video.width / 8;
    plan.prediction_bytes = shape.prediction_bytes;
    plan.slices = std::move(slices);
    const auto slots = plan.slices.front().frames.size();
    plan.slot_weights = mimicmotion ? slot_weights(static_cast<std::int64_t>(slots)) : std::vector<float>(slots, 1.0F);
    plan.guided = std::max(settings.sampling.guidance[0], settings.sampling.guidance[1]) > 1.0;
    plan.steps = settings.sampling.steps;
    plan.shape = shape.pass;
    plan.memory = shape.memory;
    plan.encode = shape.encode;
    plan.decode_chunk = shape.decode;
    plan.decode_last = shape.decode_last;
    plan.on_gpu = shape.on_gpu;
    plan.latents_on_device = shape.on_gpu && num_ranks > 1 && links.gpu_to_gpu;
    plan.links = links;
    lay_out(plan, settings, num_ranks, budget);
    plan.decode = decode_chunks(plan.num_frames, settings.decode.chunk);
    for (std::size_t chunk = 0; chunk < plan.decode.size(); ++chunk) plan.decoder.push_back(static_cast<int>(chunk % static_cast<std::size_t>(num_ranks)));
    return plan;
}

void take_deal(Plan& plan, Deal deal) {
    plan.deal = std::move(deal);
    plan.owner.assign(static_cast<std::size_t>(plan.num_latents), -1);
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto frame : plan.slices[static_cast<std::size_t>(slice)].frames)
            if (auto& owner = plan.owner[static_cast<std::size_t>(frame)]; owner < 0) owner = plan.deal.route(slice, Branch::conditional).last_rank();
    ensure(std::find(plan.owner.begin(), plan.owner.end(), -1) == plan.owner.end(), "slices cover every latent frame");
}

namespace {
FrameRanges as_ranges(std::vector<std::int64_t> frames) {
    std::sort(frames.begin(), frames.end());
    frames.erase(std::unique(frames.begin(), frames.end()), frames.end());
    return ranges_of(std::move(frames));
}

std::vector<std::int64_t> frames_read(const Plan& plan, int rank) {
    std::vector<std::int64_t> frames;
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            if (plan.deal.route(slice, branch).first_rank() != rank) continue;
            const auto& more = plan.slices[static_cast<std::size_t>(slice)].frames;
            frames.insert(frames.end(), more.begin(), more.end());
        }
    return frames;
}
}  // namespace

FrameRanges Plan::read(int rank) const {
    return as_ranges(frames_read(*this, rank));
}

FrameRanges Plan::kept(int rank) const {
    auto frames = frames_read(*this, rank);
    for (std::int64_t frame = 0; frame < num_latents; ++frame)
        if (owner[static_cast<std::size_t>(frame)] == rank) frames.push_back(frame);
    return as_ranges(std::move(frames));
}

std::vector<std::int64_t> Plan::covering(std::int64_t latent) const {
    std::vector<std::int64_t> found;
    for (std::size_t slice = 0; slice < slices.size(); ++slice)
        if (covers(slices[slice], latent)) found.push_back(static_cast<std::int64_t>(slice));
    return found;
}

RankBytes rank_bytes(const Plan& plan, int rank) {
    return {.weights = plan.shape.weight_bytes(plan.deal.pieces_of(rank)),
            .slots = slot_bytes(plan.shape, plan.deal, rank),
            .latents = count(plan.kept(rank)) * plan.frame_elements() * 4};
}

std::map<std::pair<int, int>, LinkBytes> link_bytes(const Plan& plan) {
    std::map<std::pair<int, int>, LinkBytes> links;
    const auto latent = plan.frame_elements() * 4;
    std::vector<std::set<int>> readers(static_cast<std::size_t>(plan.num_latents));  // ranks where a pass over each frame begins
    for (std::int64_t slice = 0; slice < plan.num_slices(); ++slice)
        for (const auto branch : plan.deal.branches()) {
            const auto& route = plan.deal.route(slice, branch);
            for (const auto& room : rooms_of(plan.shape, route))
                if (room.from != room.to)
                    (room.content == Room::Content::state ? links[{room.from, room.to}].states : links[{room.from, room.to}].skips) += room.bytes;
            for (const auto frame : plan.slices[static_cast<std::size_t>(slice)].frames) {
                const auto f = static_cast<std::size_t>(frame);
                if (plan.owner[f] != route.last_rank()) links[{route.last_rank(), plan.owner[f]}].predictions += plan.frame_elements() * plan.prediction_bytes;
                readers[f].insert(route.first_rank());
            }
        }
    for (std::size_t f = 0; f < readers.size(); ++f) {
        for (const auto reader : readers[f])
            if (reader != plan.owner[f]) links[{plan.owner[f], reader}].latents += latent;
        if (plan.owner[f] != writer && !readers[f].contains(writer)) links[{plan.owner[f], writer}].saved += latent;
    }
    return links;
}

}  // namespace weft::plan

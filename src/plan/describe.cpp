#include "base/text.hpp"
#include "plan/layout.hpp"
#include "plan/simulate.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>

namespace weft::plan {

std::string describe(const Pass& pass) {
    return cat("step ", pass.step + 1, ", slice ", pass.slice + 1, pass.branch == Branch::conditional ? ", conditional" : ", unconditional");
}

namespace {

std::string frames_text(std::int64_t frames) {
    return cat(frames, frames == 1 ? " frame" : " frames");
}

struct Teller {
    std::string operator()(const Receive& o) const { return cat("making room for ", describe(o.message)); }
    std::string operator()(const Take& o) const { return cat("waiting for ", describe(o.message)); }
    std::string operator()(const Compute& o) const {
        return cat("computing ", describe(o.task.pass), ", pieces ", o.task.pieces.begin, " to ", o.task.pieces.end - 1);
    }
    std::string operator()(const Advance& o) const { return cat("stepping ", frames_text(count(o.frames)), ", step ", o.step + 1); }
    std::string operator()(const Send& o) const { return cat("sending ", describe(o.message)); }
    std::string operator()(const Keep& o) const { return cat("keeping ", frames_text(count(o.frames)), " of step ", o.steps_done); }
    std::string operator()(const Save& o) const { return cat("saving step ", o.steps_done); }
};

}  // namespace

std::string describe(const Message& message) {
    const auto ways = cat("rank ", message.from, " to rank ", message.to);
    switch (message.cargo) {
        case Cargo::prediction: return cat("the prediction of ", describe(message.pass), " (", frames_text(count(message.frames)), ", ", ways, ")");
        case Cargo::latents: return cat("latents of step ", message.pass.step + 1, " (", frames_text(count(message.frames)), ", ", ways, ")");
        case Cargo::saved: return cat("latents of step ", message.pass.step + 1, " for the run file (", frames_text(count(message.frames)), ", ", ways, ")");
        case Cargo::state: return cat("the hidden state of ", describe(message.pass), " (", ways, ")");
        case Cargo::skip: return cat("a skip of ", describe(message.pass), " (", ways, ")");
        case Cargo::slot: break;
    }
    return cat("the word that ", describe(message.pass), " has ended (", ways, ")");
}

std::string describe(const Operation& operation) {
    return std::visit(Teller{}, operation);
}

namespace {

/// "7" or "3-7"
std::string span_text(std::int64_t first, std::int64_t last) {
    return first == last ? cat(first) : cat(first, "-", last);
}

/// Its frames in slot order: "0, 67-137", "44-91", "15-18, 0-2".
std::string slice_text(const Slice& slice) {
    std::vector<std::string> runs;
    for (auto first = slice.frames.begin(); first != slice.frames.end();) {
        const auto last = std::adjacent_find(first, slice.frames.end(), [](auto frame, auto next) { return next != frame + 1; });
        const auto end = last == slice.frames.end() ? last : last + 1;
        runs.push_back(span_text(*first, *(end - 1)));
        first = end;
    }
    return join(runs);
}

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
}

/// What stands before a line of the text: ten columns.
std::string label(const std::string& name) {
    return padded(name, 10);
}

/// Costs in passes where both branches cost the same, else in conditional passes.
std::string cost_text(const Plan& plan, std::int64_t cost) {
    const auto pass = plan.shape.cost();
    if (cost % pass[1] == 0 && (!plan.guided || pass[0] == pass[1])) return cat(cost / pass[1]);
    return fixed(static_cast<double>(cost) / static_cast<double>(pass[1]), 2);
}

struct Share {
    std::string slices;  ///< "slices 1-2, 3u"
    std::int64_t passes = 0;
};

/// Passes of which a rank runs a leg for which `counts` holds.
template <class Counts>
Share share_of(const Plan& plan, Counts counts) {
    const auto num_slices = plan.num_slices();
    /// What of a slice counts: nothing, "c", "u", or "cu"; without guidance there is only all or nothing.
    const auto share = [&](std::int64_t slice) {
        std::string branches = counts(plan.deal.route(slice, Branch::conditional)) ? "c" : "";
        if (plan.guided && counts(plan.deal.route(slice, Branch::unconditional))) branches += "u";
        return branches;
    };
    std::vector<std::string> items;
    Share part;
    std::int64_t slices = 0;
    for (std::int64_t first = 0, last = 0; first < num_slices; first = ++last) {
        const auto branches = share(first);
        while (last + 1 < num_slices && share(last + 1) == branches) ++last;
        if (branches.empty()) continue;
        items.push_back(cat(span_text(first + 1, last + 1), plan.guided && branches.size() == 1 ? branches : ""));
        slices += last + 1 - first;
        part.passes += (last + 1 - first) * static_cast<std::int64_t>(branches.size());
    }
    part.slices = cat(slices == 1 ? "slice " : "slices ", join(items));
    return part;
}

/// "slices 1-2, tail of 3c behind unit up_blocks.1.resnets.0", or the pieces of a stage.
std::string share_text(const Plan& plan, int rank) {
    const auto whole = share_of(plan, [rank](const Route& route) { return route.legs.size() == 1 && route.first_rank() == rank; });
    std::vector<std::string> items;
    if (whole.passes > 0) items.push_back(whole.slices);
    for (const auto& route : plan.deal.routes()) {
        if (route.legs.size() == 1) continue;
        std::vector<std::string> ranges;
        for (const auto& leg : route.legs) {
            if (leg.rank != rank) continue;
            const auto unit = [&](std::int64_t piece) {
                return plan.shape.units[static_cast<std::size_t>(plan.shape.pieces[static_cast<std::size_t>(piece)].unit)].name;
            };
            ranges.push_back(cat("pieces ", span_text(leg.pieces.begin, leg.pieces.end - 1), " (", unit(leg.pieces.begin), " on)"));
        }
        if (ranges.empty()) continue;
        const auto here = share_of(plan, [&route](const Route& other) { return other == route; });
        items.push_back(cat(join(ranges, " and "), " of ", here.slices));
    }
    return join(items, "; ");
}

std::string ranks_text(const Plan& plan) {
    const auto num_ranks = plan.num_ranks();
    const auto loads = plan.deal.loads(plan.shape);
    const auto busiest = *std::max_element(loads.begin(), loads.end());
    const auto sum = std::accumulate(loads.begin(), loads.end(), std::int64_t{0});
    std::string text = cat(label("layout"), layout_text(plan), "\n", label("ranks"), num_ranks, ", load bound ",
                           fixed(100 * plan.deal.load_bound(plan.shape), 1), " % (", cost_text(plan, sum), " of ", cost_text(plan, busiest * num_ranks), ")");
    std::int64_t split = 0;
    for (std::int64_t slice = 0; plan.guided && slice < plan.num_slices(); ++slice)
        split += plan.deal.route(slice, Branch::conditional).first_rank() != plan.deal.route(slice, Branch::unconditional).first_rank() ? 1 : 0;
    if (split > 0 && plan.layout.kind == LayoutKind::whole) text += cat(", ", split, " of ", plan.num_slices(), " slices on two ranks (u, c: one branch)");

    std::vector<std::int64_t> chunks(static_cast<std::size_t>(num_ranks), 0), owned(chunks);
    for (const auto rank : plan.decoder) ++chunks[static_cast<std::size_t>(rank)];
    for (const auto rank : plan.owner) ++owned[static_cast<std::size_t>(rank)];
    std::vector<std::string> shares;
    std::size_t width = 0;
    for (int rank = 0; rank < num_ranks && loads[static_cast<std::size_t>(rank)] > 0; ++rank) {
        shares.push_back(share_text(plan, rank));
        width = std::max(width, shares.back().size());
    }
    for (std::size_t r = 0; r < shares.size(); ++r) {
        const auto bytes = rank_bytes(plan, static_cast<int>(r));
        text += cat("\n", label(cat("rank ", r)), padded(shares[r], width), "  load ", cost_text(plan, loads[r]), " of ", cost_text(plan, busiest), ", owns ",
                    frames_text(owned[r]), ", decodes ", chunks[r], chunks[r] == 1 ? " chunk" : " chunks", ", holds ", human_bytes(bytes.sum()));
        if (bytes.slots > 0) text += cat(" (slots ", human_bytes(bytes.slots), ")");
    }
    const auto busy = static_cast<std::int64_t>(shares.size());
    if (busy == num_ranks) return text + "\n";
    const auto idle = num_ranks - busy;
    text += cat("\n", label("idle"), "rank", idle > 1 ? "s " : " ", span_text(busy, num_ranks - 1), " (", idle, "): ");
    if (num_ranks > plan.passes_a_step())
        text += cat("more ranks than passes a step (", plan.passes_a_step(), ") cannot speed up denoising; ");
    else
        text += cat(layout_name(plan.layout), " leave no more to do than for ", busy, " ranks; ");
    const auto [least, most] = std::minmax_element(chunks.begin() + busy, chunks.end());
    return text +
           cat(idle > 1 ? "they decode only, " : "it decodes only, ", span_text(*least, *most), *most == 1 ? " chunk" : " chunks", idle > 1 ? " each\n" : "\n");
}

std::string times_text(const Plan& plan) {
    const auto prediction = simulate(plan, compile(plan, 0), 0);
    double busy = 0;
    for (const auto& rank : prediction.ranks) busy += rank.busy_s;
    auto text = cat(label("denoise"), human_seconds(prediction.seconds), " predicted, ", human_seconds(busy), " on one rank; efficiency ",
                    fixed(100 * prediction.efficiency(), 1), " %, idle ", fixed(100 * prediction.idle_share(), 1), " %");
    std::vector<std::string> causes;
    for (std::size_t idle = 0; idle < num_idle; ++idle)
        causes.push_back(cat(name_of(static_cast<Idle>(idle)), " ", fixed(100 * prediction.idle_share(static_cast<Idle>(idle)), 1)));
    return cat(text, ": ", join(causes), "; links ", describe(plan.links), "\n");
}

std::string links_text(const Plan& plan) {
    const auto links = link_bytes(plan);
    if (links.empty()) return cat(label("links"), "nothing travels while denoising\n");
    LinkBytes sum;
    std::map<int, std::vector<std::pair<int, std::int64_t>>> sends;  // rank -> (to, bytes)
    for (const auto& [ends, bytes] : links) {
        sum.predictions += bytes.predictions;
        sum.latents += bytes.latents;
        sum.saved += bytes.saved;
        sum.states += bytes.states;
        sum.skips += bytes.skips;
        sends[ends.first].emplace_back(ends.second, bytes.sum());
    }
    std::string text = cat(label("links"), "a step, ", links.size(), " of them: predictions ", human_bytes(sum.predictions), " (", plan.prediction_bytes,
                           " bytes an element), latents for passes ", human_bytes(sum.latents), " and for the run file alone ", human_bytes(sum.saved),
                           " (4 bytes)", sum.states > 0 ? cat(", hidden states ", human_bytes(sum.states), ", skips ", human_bytes(sum.skips)) : "", "\n");
    for (const auto& [rank, targets] : sends) {
        std::vector<std::string> items;
        for (std::size_t first = 0, last = 0; first < targets.size(); first = ++last) {
            while (last + 1 < targets.size() && targets[last + 1].first == targets[last].first + 1 && targets[last + 1].second == targets[first].second) ++last;
            items.push_back(
                cat("to ", span_text(targets[first].first, targets[last].first), " ", human_bytes(targets[first].second), first < last ? " each" : ""));
        }
        text += cat(label(cat("rank ", rank)), "sends ", join(items), "\n");
    }
    return text;
}

}  // namespace

std::string layout_text(const Plan& plan) {
    return plan.layout.reason.empty() ? layout_name(plan.layout) : cat(layout_name(plan.layout), " (", plan.layout.reason, ")");
}

std::string describe(const Plan& plan) {
    std::string text =
        cat(label("clip"), plan.num_frames, plan.hidden_frames > 0 ? cat(" frames (the reference and ", plan.num_poses(), " poses)") : " frames", ", latents ",
            plan.latent_channels, " x ", plan.latent_height, " x ", plan.latent_width, ", ", human_bytes(plan.latent_bytes()), "\n");
    text += cat(label("slices"), plan.slices.size(), " of ", plan.slices.front().frames.size(), " frames:");
    for (std::size_t i = 0; i < plan.slices.size(); ++i) {
        if (plan.slices.size() > 8 && i >= 6 && i + 2 < plan.slices.size()) {
            if (i == 6) text += " ...";
            continue;
        }
        text += cat(" [", slice_text(plan.slices[i]), "]");
    }
    if (const auto more = plan.num_latents - plan.num_frames; more > 0)
        text += plan.hidden_frames > 0 ? ", each with a frame 0 of its own" : cat(", the last frame ", more, " times more");
    text += cat("\n", label("passes"), plan.passes_a_step(), " a step (", plan.guided ? "two branches a slice" : "conditional branch only", "), ", plan.steps,
                " steps, ", plan.passes_a_step() * plan.steps, " in all, ", plan.shape.units.size(), " units each, in ", plan.shape.num_pieces(), " pieces\n");
    text += cat(label("decode"), plan.decode.size(), " chunks of at most ", plan.decode.front().size(), " frames\n");
    if (plan.num_ranks() > 1) text += ranks_text(plan) + times_text(plan) + links_text(plan);
    return text;
}

std::string to_toml(const Plan& plan) {
    const auto truth = [](bool value) { return value ? "true" : "false"; };
    static constexpr std::array<std::string_view, 4> kinds{"auto", "whole", "cut", "stages"};
    std::string text =
        cat("[plan]\nranks = ", plan.num_ranks(), "\nlayout = \"", kinds.at(static_cast<std::size_t>(plan.layout.kind)), "\"\nnum_frames = ", plan.num_frames,
            "\nsteps = ", plan.steps, "\npasses_a_step = ", plan.passes_a_step(), "\nunits = ", plan.shape.units.size(), "\npieces = ", plan.shape.num_pieces(),
            "\ndecode_chunks = ", plan.decode.size(), "\nkeep_pose_features = ", truth(plan.memory.keep_pose_features),
            "\nremake_first_skip = ", truth(plan.memory.remake_first_skip), "\nremake_in_decoder = ", truth(plan.memory.remake_in_decoder),
            "\nstream_window = ", plan.memory.stream_window, "  # bytes; 0: all weights stay; 1: as few as can be\nchunk_divisor = ", plan.memory.chunk_divisor,
            "\nroutes = [  # \"RANK@PIECE\": from this piece on");
    for (const auto& route : plan.deal.routes()) {
        std::vector<std::string> legs;
        for (const auto& leg : route.legs) legs.push_back(cat(leg.rank, "@", leg.pieces.begin));
        text += cat("\n  \"", join(legs), "\",");
    }
    text += "\n]";
    const auto routes_by_slice = [&](Branch branch) {
        std::vector<std::size_t> routes;
        for (std::int64_t slice = 0; slice < plan.deal.num_slices(); ++slice) routes.push_back(plan.deal.route_index(slice, branch));
        return join(routes);
    };
    if (plan.guided) text += cat("\nunconditional = [", routes_by_slice(Branch::unconditional), "]  # slice -> route");
    text += cat("\nconditional = [", routes_by_slice(Branch::conditional), "]\nslices = [");
    for (const auto& slice : plan.slices) text += cat("\n  [", join(slice.frames), "],");
    return text + "\n]\n";
}

}  // namespace weft::plan

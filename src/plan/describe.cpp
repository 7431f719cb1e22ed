#include "base/text.hpp"
#include "plan/plan.hpp"

#include <algorithm>
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
    std::string operator()(const Compute& o) const { return cat("computing ", describe(o.task.pass)); }
    std::string operator()(const Advance& o) const { return cat("stepping ", frames_text(count(o.frames)), ", step ", o.step + 1); }
    std::string operator()(const Send& o) const { return cat("sending ", describe(o.message)); }
    std::string operator()(const Save& o) const { return cat("saving step ", o.steps_done); }
};

}  // namespace

std::string describe(const Message& message) {
    const auto what = message.cargo == Cargo::prediction ? cat("the prediction of ", describe(message.pass))
                      : message.cargo == Cargo::latents  ? cat("latents of step ", message.pass.step + 1)
                                                         : cat("latents of step ", message.pass.step + 1, " for the run file");
    return cat(what, " (", frames_text(count(message.frames)), ", rank ", message.from, " to rank ", message.to, ")");
}

std::string describe(const Operation& operation) {
    return std::visit(Teller{}, operation);
}

namespace {

std::string slice_text(const Slice& slice) {
    if (slice.frames.size() < 2) return "0";
    return cat("0, ", slice.frames[1], "-", slice.frames.back());
}

std::string padded(std::string text, std::size_t width) {
    text.resize(std::max(width, text.size()), ' ');
    return text;
}

/// What stands before a line of the text: ten columns.
std::string label(const std::string& name) {
    return padded(name, 10);
}

/// "7" or "3-7"
std::string span_text(std::int64_t first, std::int64_t last) {
    return first == last ? cat(first) : cat(first, "-", last);
}

/// Costs in passes where both branches cost the same, else in conditional passes.
std::string cost_text(const Plan& plan, std::int64_t cost) {
    if (!plan.guided || plan.pass_cost[0] == plan.pass_cost[1]) return cat(cost / plan.pass_cost[1]);
    return fixed(static_cast<double>(cost) / static_cast<double>(plan.pass_cost[1]), 2);
}

struct Part {
    std::string slices;  ///< "slices 1-2, 3u"
    std::int64_t passes = 0;
};

Part part_of(const Plan& plan, int rank) {
    const auto num_slices = plan.deal.num_slices();
    /// What the rank has of a slice: nothing, "c", "u", or "cu"; without guidance there is only all or nothing.
    const auto share = [&](std::int64_t slice) {
        std::string branches = plan.deal.rank(slice, Branch::conditional) == rank ? "c" : "";
        if (plan.guided && plan.deal.rank(slice, Branch::unconditional) == rank) branches += "u";
        return branches;
    };
    std::vector<std::string> items;
    Part part;
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

std::string ranks_text(const Plan& plan) {
    const auto num_ranks = plan.num_ranks();
    const auto loads = plan.deal.loads(plan.pass_cost);
    const auto busiest = *std::max_element(loads.begin(), loads.end());
    const auto sum = std::accumulate(loads.begin(), loads.end(), std::int64_t{0});
    std::string text = cat(label("ranks"), num_ranks, ", load bound ", fixed(100 * plan.deal.load_bound(plan.pass_cost), 1), " % (", cost_text(plan, sum),
                           " of ", cost_text(plan, busiest * num_ranks), ")");
    if (const auto split = plan.deal.num_split(); split > 0) text += cat(", ", split, " of ", plan.slices.size(), " slices on two ranks (u, c: one branch)");

    std::vector<std::int64_t> chunks(static_cast<std::size_t>(num_ranks), 0), owned(chunks);
    for (const auto rank : plan.decoder) ++chunks[static_cast<std::size_t>(rank)];
    for (const auto rank : plan.owner) ++owned[static_cast<std::size_t>(rank)];
    std::vector<Part> parts;
    std::size_t width = 0;
    for (int rank = 0; rank < num_ranks && loads[static_cast<std::size_t>(rank)] > 0; ++rank) {
        parts.push_back(part_of(plan, rank));
        width = std::max(width, parts.back().slices.size());
    }
    for (std::size_t r = 0; r < parts.size(); ++r)
        text += cat("\n", label(cat("rank ", r)), padded(parts[r].slices, width), "  ", parts[r].passes, parts[r].passes == 1 ? " pass,   " : " passes, ",
                    "load ", cost_text(plan, loads[r]), " of ", cost_text(plan, busiest), ", owns ", frames_text(owned[r]), ", decodes ", chunks[r],
                    chunks[r] == 1 ? " chunk" : " chunks");
    const auto busy = static_cast<std::int64_t>(parts.size());
    if (busy == num_ranks) return text + "\n";
    const auto idle = num_ranks - busy;
    text += cat("\n", label("idle"), "rank", idle > 1 ? "s " : " ", span_text(busy, num_ranks - 1), " (", idle, "): ");
    if (num_ranks > plan.passes_a_step())
        text += cat("more ranks than passes a step (", plan.passes_a_step(), ") cannot speed up denoising; ");
    else
        text += cat("whole passes take no less time on more than ", busy, " ranks; ");
    const auto [least, most] = std::minmax_element(chunks.begin() + busy, chunks.end());
    return text +
           cat(idle > 1 ? "they decode only, " : "it decodes only, ", span_text(*least, *most), *most == 1 ? " chunk" : " chunks", idle > 1 ? " each\n" : "\n");
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
        sends[ends.first].emplace_back(ends.second, bytes.predictions + bytes.latents + bytes.saved);
    }
    std::string text =
        cat(label("links"), "a step, ", links.size(), " of them: predictions ", human_bytes(sum.predictions), " (", plan.prediction_bytes,
            " bytes an element), latents for passes ", human_bytes(sum.latents), " and for the run file alone ", human_bytes(sum.saved), " (4 bytes)\n");
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

std::string describe(const Plan& plan) {
    std::string text = cat(label("clip"), plan.num_frames, " frames (the reference and ", plan.num_frames - 1, " poses), latents ", plan.latent_channels, " x ",
                           plan.latent_height, " x ", plan.latent_width, ", ", human_bytes(plan.latent_bytes()), "\n");
    text += cat(label("slices"), plan.slices.size(), " of ", plan.slices.front().frames.size(), " frames:");
    for (std::size_t i = 0; i < plan.slices.size(); ++i) {
        if (plan.slices.size() > 8 && i >= 6 && i + 2 < plan.slices.size()) {
            if (i == 6) text += " ...";
            continue;
        }
        text += cat(" [", slice_text(plan.slices[i]), "]");
    }
    if (plan.num_latents > plan.num_frames) text += ", each with a frame 0 of its own";
    text += cat("\n", label("passes"), plan.passes_a_step(), " a step (", plan.guided ? "two branches a slice" : "conditional branch only", "), ", plan.steps,
                " steps, ", plan.passes_a_step() * plan.steps, " in all, ", plan.num_units, " units each\n");
    text += cat(label("decode"), plan.decode.size(), " chunks of at most ", plan.decode.front().size(), " frames\n");
    if (plan.num_ranks() > 1) text += ranks_text(plan) + links_text(plan);
    return text;
}

std::string to_toml(const Plan& plan) {
    std::string text = cat("[plan]\nranks = ", plan.num_ranks(), "\nlayout = \"whole\"\nnum_frames = ", plan.num_frames, "\nsteps = ", plan.steps,
                           "\npasses_a_step = ", plan.passes_a_step(), "\nunits = ", plan.num_units, "\ndecode_chunks = ", plan.decode.size());
    const auto ranks_by_slice = [&](Branch branch) {
        std::vector<int> ranks;
        for (std::int64_t slice = 0; slice < plan.deal.num_slices(); ++slice) ranks.push_back(plan.deal.rank(slice, branch));
        return join(ranks);
    };
    if (plan.guided) text += cat("\nunconditional = [", ranks_by_slice(Branch::unconditional), "]  # slice -> rank");
    text += cat("\nconditional = [", ranks_by_slice(Branch::conditional), "]\nslices = [");
    for (const auto& slice : plan.slices) text += cat("\n  [", join(slice.frames), "],");
    return text + "\n]\n";
}

}  // namespace weft::plan

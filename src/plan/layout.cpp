#include "plan/layout.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "plan/simulate.hpp"

#include <algorithm>
#include <numeric>
#include <optional>

namespace weft::plan {

namespace {

constexpr double as_fast = 1.005;      // layouts within half a percent of the fastest count as as fast
constexpr int most_auto_stages = 16;   // of what "auto" tries
constexpr int most_folded_stages = 6;  // more move no fewer bytes than straight ones
constexpr std::int64_t steps_played = 3;

/// One way to deal that may be taken.
struct Candidate {
    Layout layout;
    Deal deal;
    Order order = Order::pass;
    double seconds = 0;      ///< of all steps
    std::int64_t moved = 0;  ///< bytes a step
    std::int64_t held = 0;   ///< by the rank that holds most
};

void weigh(Candidate& candidate, const Plan& plan) {
    auto tried = plan;
    take_deal(tried, candidate.deal);
    const bool pipelined = std::any_of(candidate.deal.routes().begin(), candidate.deal.routes().end(), [](const Route& r) { return r.legs.size() > 1; });
    candidate.seconds = estimated_seconds(tried, steps_played);
    if (pipelined) {
        tried.order = Order::leg;
        if (const auto seconds = estimated_seconds(tried, steps_played); seconds < candidate.seconds) {
            candidate.order = Order::leg;
            candidate.seconds = seconds;
        }
    }
    for (const auto& [link, bytes] : link_bytes(tried)) candidate.moved += bytes.sum();
    for (int rank = 0; rank < tried.num_ranks(); ++rank) candidate.held = std::max(candidate.held, needed_bytes(tried, rank));
}

class Chooser {
  public:
    Chooser(const Plan& plan, int num_ranks) : plan_{plan}, num_ranks_{num_ranks} {}

    void whole() { add({.kind = LayoutKind::whole}, deal_whole_passes(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_)); }
    void cut() { add({.kind = LayoutKind::cut}, deal_cut_passes(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_)); }
    void stages(int num_stages, const std::string& map, const Route& route) {
        if (route.legs.empty()) return;
        add({.kind = LayoutKind::stages, .groups = num_ranks_ / num_stages, .stages = num_stages, .map = map},
            deal_stages(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_, route, num_stages));
    }
    void stages(int num_stages, const std::string& map) {
        for (const double give : {usual_give, tight_give}) {
            if (map != "folded") stages(num_stages, "straight", straight_map(plan_.shape, plan_.guided, num_stages, give));
            if (map == "folded" || (map == "auto" && num_stages <= most_folded_stages && !plan_.shape.skips.empty()))
                stages(num_stages, "folded", folded_map(plan_.shape, plan_.guided, num_stages, give));
        }
    }

    [[nodiscard]] bool empty() const { return candidates_.empty(); }

    /// The fastest; of those as fast, the one that moves least, and of those the first. `budget`: bytes that a rank may hold.
    [[nodiscard]] Candidate best(std::optional<std::int64_t> budget) {
        if (candidates_.size() > 1)
            for (auto& candidate : candidates_) weigh(candidate, plan_);
        else if (candidates_.front().layout.kind != LayoutKind::whole)
            weigh(candidates_.front(), plan_);
        auto fitting = candidates_;
        if (budget) std::erase_if(fitting, [&](const Candidate& candidate) { return candidate.held > *budget; });
        const bool none_fits = fitting.empty();
        if (none_fits)  // the job will be refused; by as little as can be
            fitting = {*std::min_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.held < b.held; })};
        const auto fastest = std::min_element(fitting.begin(), fitting.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; })->seconds;
        const auto worse = [&](const Candidate& a, const Candidate& b) { return b.seconds <= fastest * as_fast && b.moved < a.moved; };
        auto chosen = *std::find_if(fitting.begin(), fitting.end(), [&](const auto& c) { return c.seconds <= fastest * as_fast; });
        for (const auto& candidate : fitting)
            if (worse(chosen, candidate)) chosen = candidate;
        chosen.layout.reason = reason(chosen, budget && !none_fits && fitting.size() < candidates_.size());
        return chosen;
    }

  private:
    void add(Layout layout, Deal deal) { candidates_.push_back({.layout = std::move(layout), .deal = std::move(deal)}); }

    [[nodiscard]] std::string reason(const Candidate& chosen, bool budget_counted) const {
        if (candidates_.size() < 2) return {};
        const Candidate* next = nullptr;
        for (const auto& candidate : candidates_)
            if (layout_name(candidate.layout) != layout_name(chosen.layout) && (next == nullptr || candidate.seconds < next->seconds)) next = &candidate;
        if (next == nullptr) return {};
        const auto told = [](const Candidate& candidate) {
            return cat(layout_name(candidate.layout), " ", human_seconds(candidate.seconds), " and ", human_bytes(candidate.moved), " a step moved");
        };
        const auto why = budget_counted ? "the fastest of those that memory.budget allows" : "the fastest, or as fast and moves least";
        return cat(why, " of ", candidates_.size(), " tried: ", told(chosen), "; next ", told(*next));
    }

    const Plan& plan_;
    int num_ranks_;
    std::vector<Candidate> candidates_;
};

[[noreturn]] void refuse_layout(const std::string& key, const std::string& value, const std::string& allowed, const std::string& advice) {
    Mistakes mistakes;
    mistakes.add(key, value, allowed, advice);
    mistakes.throw_if_any("the job cannot be laid out:");
    std::abort();
}

}  // namespace

std::string layout_name(const Layout& layout) {
    switch (layout.kind) {
        case LayoutKind::cut: return "cut passes";
        case LayoutKind::stages:
            return cat(layout.groups > 1 ? cat(layout.groups, " groups of ") : "", layout.stages, " stages, ",
                       layout.map.find('@') == std::string::npos ? layout.map : "as written");
        case LayoutKind::whole:
        case LayoutKind::automatic: break;
    }
    return "whole passes";
}

void lay_out(Plan& plan, const Settings& settings, int num_ranks) {
    const auto& wish = settings.layout;
    const auto budget = settings.memory.budget == "auto" ? std::nullopt : parse_bytes(settings.memory.budget);
    Chooser chooser(plan, num_ranks);
    const auto wished_stages = static_cast<int>(wish.stages);
    if (wish.kind == LayoutKind::stages && wished_stages > num_ranks)
        refuse_layout("layout.stages", cat(wished_stages), cat("must be at most the number of ranks, ", num_ranks),
                      cat("start ", wished_stages, " ranks, or use fewer stages"));
    const bool alone = num_ranks == 1;
    if (wish.kind == LayoutKind::whole || (alone && wish.kind != LayoutKind::stages))
        chooser.whole();
    else if (wish.kind == LayoutKind::cut)
        chooser.cut();
    else if (wish.map.find('@') != std::string::npos) {
        std::string wrong;
        const auto route = written_map(plan.shape, wished_stages, wish.map, wrong);
        if (!wrong.empty()) refuse_layout("layout.map", in_quotes(wish.map), wrong, "a list as \"0@0, 1@40\" of stages and the pieces where they begin");
        chooser.stages(wished_stages, wish.map, route);
    } else if (wish.kind == LayoutKind::stages && wished_stages > 0) {
        chooser.stages(wished_stages, wish.map);
    } else {
        if (wish.kind == LayoutKind::automatic) {
            chooser.whole();
            if (num_ranks < plan.passes_a_step()) chooser.cut();
        }
        for (int stages = wish.kind == LayoutKind::stages ? std::min(2, num_ranks) : 2; stages <= std::min(num_ranks, most_auto_stages); ++stages)
            if (num_ranks % stages == 0) chooser.stages(stages, wish.map);
    }
    if (chooser.empty() && wished_stages == 0)
        refuse_layout("layout.stages", "0", cat("no number of stages up to ", most_auto_stages, " divides ", num_ranks, " ranks and this model's pieces"),
                      "name a number of stages, or start another number of ranks");
    if (chooser.empty())
        refuse_layout("layout.stages", cat(wished_stages), cat("this model's ", plan.shape.num_pieces(), " pieces cannot be cut so often"), "use fewer stages");
    auto chosen = chooser.best(budget);
    plan.layout = std::move(chosen.layout);
    plan.order = chosen.order;
    take_deal(plan, std::move(chosen.deal));
}

}  // namespace weft::plan

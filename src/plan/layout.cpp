#include "plan/layout.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "plan/memory.hpp"
#include "plan/simulate.hpp"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <optional>

namespace weft::plan {

namespace {

constexpr double as_fast = 1.005;         // layouts within half a percent of the fastest count as as fast
constexpr int most_auto_stages = 16;      // of what "auto" tries
constexpr int most_folded_stages = 6;     // more move no fewer bytes than straight ones
constexpr std::int64_t steps_played = 2;  // and twice as many, for an estimate
constexpr std::int64_t most_passes_played = 10000;

/// What a candidate's seconds are.
enum class Known { bound, estimate, all };

/// One way to deal that may be taken.
struct Candidate {
    Layout layout;
    Deal deal;
    Order order = Order::pass;
    double seconds = 0;  ///< of all steps
    Known known = Known::bound;
    std::int64_t moved = 0;  ///< bytes a step
    std::int64_t held = 0;   ///< by the rank that holds most
};

/// Bytes, and the least time that it can take in any order.
void bound(Candidate& candidate, const Plan& plan) {
    auto tried = plan;
    take_deal(tried, candidate.deal);
    for (const auto& [link, bytes] : link_bytes(tried)) candidate.moved += bytes.sum();
    candidate.seconds = bound_seconds(tried);
}

/// By the rank that holds most.
void weigh_memory(Candidate& candidate, const Plan& plan) {
    auto tried = plan;
    take_deal(tried, candidate.deal);
    candidate.held = fullest(tried).bytes;
}

/// The best order by a few steps.
void estimate(Candidate& candidate, const Plan& plan) {
    auto tried = plan;
    take_deal(tried, candidate.deal);
    std::vector<Order> orders{Order::pass};
    if (candidate.layout.kind == LayoutKind::cut) orders.push_back(Order::strict);
    if (candidate.layout.kind == LayoutKind::stages && candidate.layout.stages > 1) orders.insert(orders.end(), {Order::leg, Order::strict});
    candidate.known = Known::estimate;
    candidate.seconds = std::numeric_limits<double>::max();
    for (const auto order : orders) {
        tried.order = order;
        const auto seconds = estimated_seconds(tried, steps_played);
        if (seconds >= candidate.seconds) continue;
        candidate.seconds = seconds;
        candidate.order = order;
    }
}

/// The whole job.
void play(Candidate& candidate, const Plan& plan) {
    auto tried = plan;
    take_deal(tried, candidate.deal);
    tried.order = candidate.order;
    candidate.known = Known::all;
    candidate.seconds = simulate(tried, compile(tried, 0), 0).seconds;
}

class Chooser {
  public:
    Chooser(const Plan& plan, int num_ranks) : plan_{plan}, num_ranks_{num_ranks} {}

    void whole() { add({.kind = LayoutKind::whole}, deal_whole_passes(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_)); }
    /// The more room above the least load, the more time a head has before its tail is due.
    void cut() {
        for (const double room : {1.0, 1.02, 1.05, 1.1, 1.2})
            add({.kind = LayoutKind::cut}, deal_cut_passes(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_, room));
    }
    void stages(int num_stages, const std::string& map, const Route& route) {
        if (route.legs.empty()) return;
        add({.kind = LayoutKind::stages, .groups = num_ranks_ / num_stages, .stages = num_stages, .map = map},
            deal_stages(plan_.num_slices(), plan_.guided, plan_.shape, num_ranks_, route, num_stages));
    }
    void stages(int num_stages, const std::string& map) {
        for (const double give : {usual_give, tight_give}) {
            if (map != "folded" || num_stages == 1) stages(num_stages, "straight", straight_map(plan_.shape, plan_.guided, num_stages, give));
            if (num_stages > 1 && (map == "folded" || (map == "auto" && num_stages <= most_folded_stages && !plan_.shape.skips.empty())))
                stages(num_stages, "folded", folded_map(plan_.shape, plan_.guided, num_stages, give));
        }
    }

    [[nodiscard]] bool empty() const { return candidates_.empty(); }

    /// The fastest; of those as fast, the one that moves least, and of those the first. `budget`: bytes that a rank may hold.
    [[nodiscard]] Candidate best(std::optional<std::int64_t> budget) {
        for (auto& candidate : candidates_) bound(candidate, plan_);
        for (auto& candidate : candidates_)
            if (budget) weigh_memory(candidate, plan_);
        if (budget && std::any_of(candidates_.begin(), candidates_.end(), [&](const auto& candidate) { return candidate.held <= *budget; }))
            dropped_ = std::erase_if(candidates_, [&](const auto& candidate) { return candidate.held > *budget; });
        else if (budget)  // the job will be refused; by as little as can be
            candidates_ = {*std::min_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.held < b.held; })};
        if (candidates_.size() == 1 && candidates_.front().layout.kind != LayoutKind::whole) estimate(candidates_.front(), plan_);
        if (candidates_.size() > 1) settle();
        const auto fastest = std::min_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
        auto chosen = *fastest;
        for (const auto& candidate : candidates_)
            if (candidate.known != Known::bound && candidate.seconds <= fastest->seconds * as_fast && candidate.moved < chosen.moved) chosen = candidate;
        chosen.layout.reason = reason(chosen);
        chosen.layout.passed_over = dropped_;
        return chosen;
    }

  private:
    /// Until the fastest is one that was played from end to end: what is only bounded is estimated, what is only estimated is played.
    void settle() {
        const bool too_long = plan_.passes_a_step() * plan_.steps > most_passes_played;
        while (true) {
            auto& fastest = *std::min_element(candidates_.begin(), candidates_.end(), [](const auto& a, const auto& b) { return a.seconds < b.seconds; });
            if (fastest.known == Known::bound)
                estimate(fastest, plan_);
            else if (fastest.known == Known::estimate && !too_long)
                play(fastest, plan_);
            else
                return;
        }
    }

    void add(Layout layout, Deal deal) { candidates_.push_back({.layout = std::move(layout), .deal = std::move(deal)}); }

    [[nodiscard]] std::string reason(const Candidate& chosen) const {
        if (candidates_.size() + dropped_ < 2) return {};
        const Candidate* next = nullptr;
        for (const auto& candidate : candidates_)
            if (layout_name(candidate.layout) != layout_name(chosen.layout) && (next == nullptr || candidate.seconds < next->seconds)) next = &candidate;
        if (next == nullptr) return {};
        const auto told = [](const Candidate& candidate) {
            return cat(layout_name(candidate.layout), candidate.known == Known::bound ? " at least " : " ", human_seconds(candidate.seconds), " and ",
                       human_bytes(candidate.moved), " a step moved");
        };
        const auto why = dropped_ > 0 ? "the fastest of those that memory.budget allows" : "the fastest, or as fast and moves least";
        return cat(why, " of ", candidates_.size() + dropped_, " tried: ", told(chosen), "; next ", told(*next));
    }

    const Plan& plan_;
    int num_ranks_;
    std::vector<Candidate> candidates_;
    std::size_t dropped_ = 0;  ///< that hold too much
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

void lay_out(Plan& plan, const Settings& settings, int num_ranks, std::optional<std::int64_t> budget) {
    const auto& wish = settings.layout;
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
        if (wish.kind == LayoutKind::stages && num_ranks > most_auto_stages) chooser.stages(num_ranks, wish.map);
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

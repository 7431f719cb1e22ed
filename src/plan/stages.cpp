#include "base/error.hpp"
#include "base/text.hpp"
#include "plan/index.hpp"
#include "plan/layout.hpp"
#include "plan/rooms.hpp"

#include <algorithm>
#include <charconv>
#include <limits>
#include <numeric>

// Where the stages of a pipeline are cut: first the least cost of the busiest stage, then, among cuts that cost little more, the fewest bytes. Costs are those
// of both branches together, since a stage meets them in turn.

namespace weft::plan {

namespace {

constexpr auto never = std::numeric_limits<std::int64_t>::max() / 4;

/// Sums of pieces' costs: of [a, b) in constant time.
class Sums {
  public:
    Sums(const PassShape& shape, bool guided) : sums_{0} {
        for (const auto& piece : shape.pieces) sums_.push_back(sums_.back() + piece.cost[1] + (guided ? piece.cost[0] : 0));
    }
    [[nodiscard]] std::int64_t operator()(std::int64_t begin, std::int64_t end) const { return sums_[index(end)] - sums_[index(begin)]; }
    [[nodiscard]] std::int64_t all() const { return sums_.back(); }

  private:
    std::vector<std::int64_t> sums_;
};

/// Bytes of a skip that pieces from `begin` on take.
std::int64_t taken_from(const PassShape& shape, const Skip& skip, std::int64_t begin) {
    return slots_taken(shape, skip, {begin, shape.num_pieces()}).size() * skip.slot_bytes;
}

bool cuttable(const PassShape& shape, std::int64_t piece) {
    return !shape.pieces[index(piece)].state.empty();
}

/// Least cost of the busiest of `num_stages` consecutive ranges of pieces.
std::int64_t least_straight(const PassShape& shape, const Sums& cost, int num_stages) {
    const auto fits = [&](std::int64_t limit) {
        std::int64_t begin = 0;
        for (int stage = 0; stage < num_stages; ++stage) {
            auto end = begin;
            auto border = begin;
            while (end < shape.num_pieces() && cost(begin, end + 1) <= limit) {
                ++end;
                if (end == shape.num_pieces() || cuttable(shape, end)) border = end;
            }
            begin = border;
            if (begin == shape.num_pieces()) return true;
        }
        return false;
    };
    auto too_small = (cost.all() + num_stages - 1) / num_stages - 1;
    auto enough = cost.all();
    while (enough - too_small > 1) {
        const auto middle = too_small + (enough - too_small) / 2;
        (fits(middle) ? enough : too_small) = middle;
    }
    return enough;
}

}  // namespace

Route straight_map(const PassShape& shape, bool guided, int num_stages, double give) {
    ensure(num_stages >= 1, "a pipeline has a stage");
    const auto n = shape.num_pieces();
    if (num_stages == 1) return route_of({{{0, n}, 0}}, 1);
    const Sums cost(shape, guided);
    const auto limit = static_cast<std::int64_t>(static_cast<double>(least_straight(shape, cost, num_stages)) * give);

    // best[stage][border]: fewest bytes over all borders up to this one, in front of which `stage` stages stand. A skip counts at the first border behind its
    // maker.
    struct Cut {
        std::int64_t bytes = never;
        std::int64_t from = -1;
    };
    std::vector<std::vector<Cut>> best(index(num_stages), std::vector<Cut>(index(n)));
    best[0][0].bytes = 0;
    for (int stage = 1; stage < num_stages; ++stage)
        for (std::int64_t border = 1; border < n; ++border) {
            if (!cuttable(shape, border)) continue;
            for (auto begin = border - 1; begin >= 0 && cost(begin, border) <= limit; --begin) {
                const auto before = best[index(stage - 1)][index(begin)].bytes;
                if (before >= never) continue;
                auto bytes = before + state_bytes(shape, border);
                for (const auto& skip : shape.skips)
                    if (skip.made_by >= begin && skip.made_by < border) bytes += taken_from(shape, skip, border);
                auto& cut = best[index(stage)][index(border)];
                if (bytes < cut.bytes) cut = {bytes, begin};
            }
        }
    std::int64_t last = -1;
    for (std::int64_t border = 1; border < n; ++border)
        if (cost(border, n) <= limit && (last < 0 || best.back()[index(border)].bytes < best.back()[index(last)].bytes)) last = border;
    if (last < 0 || best.back()[index(last)].bytes >= never) return {};
    std::vector<Leg> legs(index(num_stages));
    auto end = n;
    auto begin = last;
    for (int stage = num_stages - 1; stage >= 0; --stage) {
        legs[index(stage)] = {{begin, end}, stage};
        end = begin;
        begin = best[index(stage)][index(begin)].from;
    }
    return route_of(std::move(legs), num_stages + 2);
}

namespace {

/// One border of the way down and one of the way up, at every depth of the fold.
class Folding {
  public:
    Folding(const PassShape& shape, bool guided, int num_stages) : shape_{shape}, cost_{shape, guided}, num_stages_{num_stages} {
        std::int64_t middle = 0;
        for (const auto& skip : shape.skips) middle = std::max(middle, skip.made_by + 1);
        auto first_use = shape.num_pieces();
        for (const auto& skip : shape.skips) first_use = std::min(first_use, skip.used_by.begin);
        for (std::int64_t piece = 0; piece <= shape.num_pieces(); ++piece) {
            const bool border =
                piece == 0 || piece == shape.num_pieces() || (cuttable(shape, piece) && shape.pieces[index(piece)].unit != shape.pieces[index(piece - 1)].unit);
            if (!border) continue;
            if (piece <= middle) down_.push_back(piece);
            if (piece >= std::max(first_use, middle)) up_.push_back(piece);
        }
    }

    /// Legs for the least limit times `give`, and of those the ones that move fewest bytes; none where there are too few borders.
    [[nodiscard]] std::vector<Leg> best(double give) {
        if (!try_limit(cost_.all())) return {};
        auto too_small = (cost_.all() + num_stages_ - 1) / num_stages_ - 1;
        auto enough = cost_.all();
        while (enough - too_small > std::max<std::int64_t>(1, enough / 10000)) {
            const auto middle = too_small + (enough - too_small) / 2;
            (try_limit(middle) ? enough : too_small) = middle;
        }
        const bool fits = try_limit(static_cast<std::int64_t>(static_cast<double>(enough) * give));
        ensure(fits, "a larger limit fits where a smaller one does");
        return legs();
    }

  private:
    struct State {
        std::int64_t bytes = never;
        std::pair<std::size_t, std::size_t> from;
    };

    /// What a fold from (a, b) to (c, d) moves: hidden state at both new borders, and skips that it separates.
    [[nodiscard]] std::int64_t moved(std::int64_t a, std::int64_t b, std::int64_t c, std::int64_t d) const {
        std::int64_t bytes = (c > a ? state_bytes(shape_, c) : 0) + (d < b ? state_bytes(shape_, d) : 0);
        for (const auto& skip : shape_.skips) {
            const auto use = skip.used_by.begin;
            if (skip.made_by < a || use >= b) continue;
            if ((skip.made_by < c) != (use >= d)) bytes += taken_from(shape_, skip, use);
        }
        return bytes;
    }

    bool try_limit(std::int64_t limit) {
        levels_.assign(index(num_stages_), std::vector<State>(down_.size() * up_.size()));
        const auto at = [&](int level, std::size_t a, std::size_t b) -> State& { return levels_[index(level)][a * up_.size() + b]; };
        at(0, 0, up_.size() - 1) = {0, {0, 0}};
        for (int level = 0; level + 1 < num_stages_; ++level) {
            const auto rest_may_be = limit * (num_stages_ - 1 - level);
            for (std::size_t a = 0; a < down_.size(); ++a)
                for (std::size_t b = 0; b < up_.size(); ++b) {
                    const auto here = at(level, a, b).bytes;
                    if (here >= never) continue;
                    for (std::size_t c = a; c < down_.size() && cost_(down_[a], down_[c]) <= limit; ++c)
                        for (std::size_t d = b + 1; d-- > 0;) {
                            const auto stage = cost_(down_[a], down_[c]) + cost_(up_[d], up_[b]);
                            if (stage > limit) break;
                            if (cost_(down_[c], up_[d]) > rest_may_be || stage == 0) continue;
                            const auto bytes = here + moved(down_[a], up_[b], down_[c], up_[d]);
                            auto& next = at(level + 1, c, d);
                            if (bytes < next.bytes) next = {bytes, {a, b}};
                        }
                }
        }
        const auto last = num_stages_ - 1;
        found_ = {0, 0};
        std::int64_t best = never;
        for (std::size_t a = 0; a < down_.size(); ++a)
            for (std::size_t b = 0; b < up_.size(); ++b)
                if (at(last, a, b).bytes < best && cost_(down_[a], up_[b]) <= limit && down_[a] < up_[b]) {
                    best = at(last, a, b).bytes;
                    found_ = {a, b};
                }
        return best < never;
    }

    [[nodiscard]] std::vector<Leg> legs() const {
        std::vector<Leg> front, back;
        auto [a, b] = found_;
        const Leg innermost{{down_[a], up_[b]}, num_stages_ - 1};
        for (int level = num_stages_ - 1; level > 0; --level) {
            const auto [c, d] = levels_[index(level)][a * up_.size() + b].from;
            front.push_back({{down_[c], down_[a]}, level - 1});
            back.push_back({{up_[b], up_[d]}, level - 1});
            a = c;
            b = d;
        }
        std::vector<Leg> legs(front.rbegin(), front.rend());
        legs.push_back(innermost);
        legs.insert(legs.end(), back.begin(), back.end());
        return legs;
    }

    const PassShape& shape_;
    Sums cost_;
    int num_stages_;
    std::vector<std::int64_t> down_, up_;
    std::vector<std::vector<State>> levels_;  // by stage: borders (down, up) in front of it
    std::pair<std::size_t, std::size_t> found_;
};

}  // namespace

Route folded_map(const PassShape& shape, bool guided, int num_stages, double give) {
    if (num_stages == 1) return straight_map(shape, guided, 1, give);
    return route_of(Folding(shape, guided, num_stages).best(give), 2 * num_stages);
}

Route written_map(const PassShape& shape, int num_stages, const std::string& text, std::string& wrong) {
    std::vector<Leg> legs;
    std::vector<bool> used(index(num_stages));
    for (const auto& word : split(text, ',')) {
        const auto at = word.find('@');
        int stage = -1;
        std::int64_t piece = -1;
        const auto read = [](std::string_view digits, auto& number) {
            while (!digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
            while (!digits.empty() && digits.back() == ' ') digits.remove_suffix(1);
            const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
            return error == std::errc{} && end == digits.data() + digits.size();
        };
        if (at == std::string::npos || !read(std::string_view(word).substr(0, at), stage) || !read(std::string_view(word).substr(at + 1), piece)) {
            wrong = cat(in_quotes(word), " is not STAGE@PIECE");
            return {};
        }
        if (stage < 0 || stage >= num_stages) wrong = cat("stage ", stage, " is not one of 0 to ", num_stages - 1);
        if (piece < 0 || piece >= shape.num_pieces()) wrong = cat("piece ", piece, " is not one of 0 to ", shape.num_pieces() - 1);
        if (legs.empty() ? piece != 0 : piece <= legs.back().pieces.begin) wrong = "pieces must begin at 0 and ascend";
        if (!wrong.empty()) return {};
        if (piece > 0 && !cuttable(shape, piece)) {
            wrong = cat("a pass cannot be cut in front of piece ", piece);
            return {};
        }
        if (!legs.empty()) legs.back().pieces.end = piece;
        legs.push_back({{piece, shape.num_pieces()}, stage});
        used[index(stage)] = true;
    }
    if (std::find(used.begin(), used.end(), false) != used.end()) wrong = "every stage must have a piece";
    if (!wrong.empty()) return {};
    auto route = route_of(std::move(legs), 1);
    if (route.legs.size() > 1) route.slots = static_cast<std::int64_t>(route.legs.size()) + 2;
    return route;
}

double imbalance(const PassShape& shape, bool guided, const Route& map, int num_stages) {
    const Sums cost(shape, guided);
    std::vector<std::int64_t> stages(index(num_stages), 0);
    for (const auto& leg : map.legs) stages[index(leg.rank)] += cost(leg.pieces.begin, leg.pieces.end);
    return static_cast<double>(*std::max_element(stages.begin(), stages.end())) * num_stages / static_cast<double>(cost.all());
}

Deal deal_stages(std::int64_t num_slices, bool guided, const PassShape& shape, int num_ranks, const Route& map, int num_stages) {
    const int groups = num_ranks / num_stages;
    ensure(groups >= 1, "a group needs as many ranks as it has stages");
    const auto whole = deal_whole_passes(num_slices, guided, shape, groups);
    Deal deal(num_slices, guided, num_ranks);
    for (std::int64_t slice = 0; slice < num_slices; ++slice)
        for (const auto branch : deal.branches()) {
            auto route = map;
            for (auto& leg : route.legs) leg.rank += whole.route(slice, branch).first_rank() * num_stages;
            deal.set(slice, branch, route);
        }
    return deal;
}

}  // namespace weft::plan

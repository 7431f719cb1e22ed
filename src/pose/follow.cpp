#include "pose/follow.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cmath>

namespace weft::pose {

namespace {

constexpr double leap = 0.25;

double mean_score(const Person& person) {
    double sum = 0;
    for (const auto& point : person.body) sum += point.score;
    return sum / static_cast<double>(num_body_points);
}

bool shows_anyone(const Person& person) {
    return std::ranges::any_of(person.body, &KeyPoint::seen);
}

/// Of the body points seen in both; of the middles of those seen where there are none. In heights of the picture.
double distance(const Person& a, const Person& b, double aspect) {
    double sum = 0;
    int both = 0;
    KeyPoint middle[2];
    double num_seen[2] = {0, 0};
    for (std::size_t i = 0; i < num_body_points; ++i) {
        const KeyPoint* const points[2] = {&a.body[i], &b.body[i]};
        for (int side = 0; side < 2; ++side) {
            if (!points[side]->seen()) continue;
            middle[side].x += points[side]->x;
            middle[side].y += points[side]->y;
            ++num_seen[side];
        }
        if (!points[0]->seen() || !points[1]->seen()) continue;
        sum += std::hypot((points[0]->x - points[1]->x) * aspect, points[0]->y - points[1]->y);
        ++both;
    }
    if (both > 0) return sum / both;
    return std::hypot((middle[0].x / num_seen[0] - middle[1].x / num_seen[1]) * aspect, middle[0].y / num_seen[0] - middle[1].y / num_seen[1]);
}

std::optional<Person> nearest(std::span<const Person> people, const Person& last, double aspect) {
    const Person* best = nullptr;
    for (const auto& person : people)
        if (shows_anyone(person) && (best == nullptr || distance(person, last, aspect) < distance(*best, last, aspect))) best = &person;
    return best == nullptr ? std::nullopt : std::optional(*best);
}

KeyPoint between(const KeyPoint& a, const KeyPoint& b, double share) {
    if (!a.seen() || !b.seen()) return {};
    return {a.x + share * (b.x - a.x), a.y + share * (b.y - a.y), std::min(a.score, b.score)};
}

template <std::size_t size>
void put_between(const std::array<KeyPoint, size>& a, const std::array<KeyPoint, size>& b, double share, std::array<KeyPoint, size>& to) {
    for (std::size_t i = 0; i < size; ++i) to[i] = between(a[i], b[i], share);
}

Person between(const Person& a, const Person& b, double share) {
    Person made;
    put_between(a.body, b.body, share, made.body);
    for (const auto side : {left, right}) put_between(a.hands[side], b.hands[side], share, made.hands[side]);
    put_between(a.face, b.face, share, made.face);
    return made;
}

}  // namespace

std::optional<Person> surest(std::span<const Person> people) {
    const Person* best = nullptr;
    for (const auto& person : people)
        if (shows_anyone(person) && (best == nullptr || mean_score(person) > mean_score(*best))) best = &person;
    return best == nullptr ? std::nullopt : std::optional(*best);
}

Track follow(const KeyPointClip& clip, double aspect) {
    Track track;
    std::optional<Person> last;
    for (std::int64_t number = 0; number < std::ssize(clip.frames); ++number) {
        const auto& people = clip.frames[static_cast<std::size_t>(number)].people;
        if (std::ranges::count_if(people, shows_anyone) > 1) track.several.push_back(number);
        const auto found = last ? nearest(people, *last, aspect) : surest(people);
        const bool follows = number > 0 && track.frames.back();
        if (found && follows && distance(*found, *last, aspect) > leap) track.leaps.push_back(number);
        if (found)
            last = found;
        else
            track.nobody.push_back(number);
        track.frames.push_back(found);
    }
    return track;
}

FrameNumbers fill_gaps(std::vector<std::optional<Person>>& frames, std::int64_t most) {
    FrameNumbers filled;
    std::int64_t last = -1;  // seen
    for (std::int64_t number = 0; number < std::ssize(frames); ++number) {
        if (!frames[static_cast<std::size_t>(number)]) continue;
        const auto gap = number - last - 1;
        if (last >= 0 && gap <= most)
            for (auto frame = last + 1; frame < number; ++frame) {
                const double share = static_cast<double>(frame - last) / static_cast<double>(number - last);
                frames[static_cast<std::size_t>(frame)] = between(*frames[static_cast<std::size_t>(last)], *frames[static_cast<std::size_t>(number)], share);
                filled.push_back(frame);
            }
        last = number;
    }
    return filled;
}

std::vector<KeyPoint> necks_of(std::span<const std::optional<Person>> frames) {
    std::vector<KeyPoint> necks(frames.size());
    std::optional<std::size_t> last;  // where a neck is seen
    for (std::size_t number = 0; number < frames.size(); ++number) {
        if (!frames[number] || !frames[number]->body[neck].seen()) continue;
        const auto& here = necks[number] = frames[number]->body[neck];
        for (auto frame = last ? *last + 1 : 0; frame < number; ++frame)
            necks[frame] = last ? between(necks[*last], here, static_cast<double>(frame - *last) / static_cast<double>(number - *last)) : here;
        last = number;
    }
    if (!last) return {};
    for (auto frame = *last + 1; frame < necks.size(); ++frame) necks[frame] = necks[*last];
    return necks;
}

std::string frames_text(const FrameNumbers& frames) {
    std::vector<std::string> ranges;
    for (auto begin = frames.begin(); begin != frames.end();) {
        auto end = begin + 1;
        while (end != frames.end() && *end == *(end - 1) + 1) ++end;
        ranges.push_back(end - begin == 1 ? cat(*begin) : cat(*begin, "-", *(end - 1)));
        begin = end;
    }
    constexpr std::size_t most = 12;
    if (ranges.size() > most) {
        const auto left_out = ranges.size() - most;
        ranges.resize(most);
        ranges.push_back(cat("and ", left_out, " more places"));
    }
    return cat(frames.size() == 1 ? "frame " : "frames ", join(ranges));
}

}  // namespace weft::pose

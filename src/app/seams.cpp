#include "app/seams.hpp"

#include "base/error.hpp"
#include "base/log.hpp"
#include "base/settings.hpp"
#include "base/text.hpp"
#include "io/video_reader.hpp"
#include "pipeline/numerics.hpp"
#include "plan/seams.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <iomanip>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

namespace weft::app {

namespace {

struct SliceShape {
    FamilyName family = FamilyName::mimicmotion;
    std::int64_t length = 0;
    std::int64_t overlap = 0;
    bool pad = true;

    /// Frame 0 of MimicMotion's clips is the reference.
    [[nodiscard]] std::int64_t first_shown() const { return family == FamilyName::mimicmotion ? 1 : 0; }
    [[nodiscard]] plan::Slices of(std::int64_t num_frames) const {
        if (family == FamilyName::mimicmotion) return plan::make_slices(num_frames, length, overlap);
        return plan::make_windows(pad ? plan::padded_frames(num_frames, length, overlap) : num_frames, length, overlap);
    }
};

std::optional<std::int64_t> whole_number(std::string_view text) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

void check(const SliceShape& shape, std::string_view key, std::string_view value, Mistakes& mistakes) {
    const auto usual_overlap = [](std::int64_t length) { return std::min<std::int64_t>(6, length - 1); };
    if (shape.length < 2)
        mistakes.add(key, value, "the length must be at least 2 frames", "try 72,6");
    else if (shape.overlap < shape.first_shown() || shape.overlap >= shape.length)
        mistakes.add(key, value,
                     cat("the overlap must be from ", shape.first_shown() == 1 ? "1 (the anchor)" : "0", " to ", shape.length - 1, ", the length less 1"),
                     cat("try ", shape.length, ",", usual_overlap(shape.length)));
}

SliceShape parse_slices(const std::optional<std::string>& text, FamilyName family, Mistakes& mistakes) {
    constexpr auto advice = "give slices.length and slices.overlap of the settings that the film was made with, as --slices 72,6";
    if (!text) {
        mistakes.add(cat("--slices: is missing, and a film does not say its slices; ", advice));
        return {};
    }
    const auto parts = split(*text, ',');
    const auto length = parts.size() == 2 ? whole_number(parts[0]) : std::nullopt;
    const auto overlap = parts.size() == 2 ? whole_number(parts[1]) : std::nullopt;
    if (!length || !overlap) {
        mistakes.add("--slices", in_quotes(*text), "must be LENGTH,OVERLAP, two whole numbers", advice);
        return {};
    }
    const SliceShape shape{family, *length, *overlap};
    check(shape, "--slices", *text, mistakes);
    return shape;
}

/// The slices, and the film's path, as the run file's settings say them.
std::pair<SliceShape, std::string> slices_and_film_of(const io::RunFile& file) {
    const auto settings = settings_of(file);
    const SliceShape shape{settings.model.family, settings.slices.length, settings.slices.overlap, settings.slices.pad};
    Mistakes mistakes;
    check(shape, "slices", cat(shape.length, ",", shape.overlap), mistakes);
    mistakes.throw_if_any(cat(file.path().string(), ": its settings cannot be read by this version:"));
    return {shape, settings.output.video};
}

/// Root mean square of `b` less `a`.
template <class Value>
double change_between(std::span<const Value> a, std::span<const Value> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const double difference = static_cast<double>(b[i]) - static_cast<double>(a[i]);
        sum += difference * difference;
    }
    return std::sqrt(sum / static_cast<double>(a.size()));
}

std::vector<double> changes_of(const io::RunHeader& header, std::span<const float> latents, std::int64_t first) {
    const auto size = static_cast<std::size_t>(header.shape.frame_elements());
    const auto frame = [&](std::int64_t f) { return latents.subspan(static_cast<std::size_t>(f) * size, size); };
    std::vector<double> changes;
    for (auto f = first; f + 1 < header.clip_frames; ++f) changes.push_back(change_between(frame(f), frame(f + 1)));
    return changes;
}

/// Holds two frames at a time. Empty where the film has one frame.
std::vector<double> changes_of(io::VideoReader& film) {
    std::vector<double> changes;
    auto before = film.next();
    while (auto frame = film.next()) {
        changes.push_back(change_between(std::span<const std::uint8_t>(before->rgb), std::span<const std::uint8_t>(frame->rgb)));
        before = std::move(frame);
    }
    return changes;
}

/// Four digits that mean something: changes of latents and pixels differ by powers of ten.
std::string short_number(double value) {
    std::ostringstream out;
    out << std::setprecision(4) << value;
    return std::move(out).str();
}

std::string plural(std::int64_t count, const char* one) {
    return cat(count, " ", one, count == 1 ? "" : "s");
}

/// The clip's borders, told in a line. Empty where the clip is one slice.
std::vector<std::int64_t> told_borders(const SliceShape& shape, std::int64_t num_frames) {
    const auto slices = shape.of(num_frames);
    const auto first = shape.first_shown();
    if (slices.size() == 1) {
        log::info(cat("slices    one slice: no seams (the clip has ", plural(num_frames, "frame"), ", slices have up to ", shape.length, ")"));
        return {};
    }
    auto borders = plan::slice_borders(slices, num_frames, first);
    log::info(cat("slices    ", slices.size(), " of ", shape.length, " frames, overlap ", shape.overlap, ": ", plural(std::ssize(borders), "border"), " among ",
                  plural(num_frames - 1 - first, "change"), "; frame ", first, " is the film's first"));
    return borders;
}

/// One line; `name` fills ten columns. `changes` begin with that from frame `first`.
void tell(const char* name, std::span<const double> changes, std::int64_t first, std::span<const std::int64_t> borders, const std::string& where) {
    const auto seams = plan::measure_seams(changes, borders, first);
    std::string text = name;
    if (seams.num_compared == 0)
        text += "no figure, as no border has a change inside a slice near it";
    else
        text += cat("seams ", fixed(seams.figure, 3), ", worst ", fixed(seams.worst, 3), " from frame ", seams.worst_frame, " to ", seams.worst_frame + 1);
    text += cat("; change ", short_number(seams.mean_at_borders), " at ", plural(seams.num_borders, "border"));
    if (seams.num_compared > 0 && seams.num_compared < seams.num_borders) text += cat(" (", seams.num_compared, " with changes inside slices near them)");
    if (seams.num_borders < std::ssize(changes)) text += cat(", ", short_number(seams.mean_inside), " inside");
    log::info(cat(text, "; ", where));
}

/// A done run's film, or why there is none.
void tell_film_of_run(const io::RunFile& file, const std::string& film, const SliceShape& shape, std::span<const std::int64_t> borders) {
    if (file.phase() != io::Phase::done) {
        log::info("pixels    none yet: the run is not done");
        return;
    }
    if (!std::filesystem::exists(film)) {
        log::info(cat("pixels    ", film, " is not here: it counts from the folder in which weft was started; go there, or name the film and say --slices ",
                      shape.length, ",", shape.overlap));
        return;
    }
    io::VideoReader reader(film);
    const auto changes = changes_of(reader);
    const auto num_shown = std::ssize(changes) + 1;
    if (num_shown != file.header().clip_frames - shape.first_shown())
        log::info(cat("pixels    ", film, " has ", plural(num_shown, "frame"), ", the run shows ", file.header().clip_frames - shape.first_shown(),
                      ": it is another film"));
    else
        tell("pixels    ", changes, shape.first_shown(), borders, cat(film, ", values 0 to 255"));
}

}  // namespace

Settings settings_of(const io::RunFile& file) {
    Mistakes mistakes;
    auto settings = parse_settings(pipeline::without_facts(file.header().settings), cat("settings in ", file.path().string()), {}, mistakes);
    mistakes.throw_if_any(cat(file.path().string(), ": its settings cannot be read by this version:"));
    return settings;
}

void tell_seams_of_run(const io::RunFile& file, const io::RunFile::Saved& saved) {
    const auto& header = file.header();
    const auto [shape, film] = slices_and_film_of(file);
    const auto borders = told_borders(shape, header.clip_frames);
    if (borders.empty()) return;
    tell("latents   ", changes_of(header, saved.latents, shape.first_shown()), shape.first_shown(), borders,
         cat(file.path().string(), " after step ", saved.step, " of ", header.steps));
    tell_film_of_run(file, film, shape, borders);
}

void tell_seams_of_film(const std::string& film, const std::optional<std::string>& slices, FamilyName family) {
    Mistakes mistakes;
    const auto shape = parse_slices(slices, family, mistakes);
    std::optional<io::VideoReader> reader;
    try {
        reader.emplace(film);
    } catch (const Error& error) {
        if (error.code() != ExitCode::user_mistake) throw;
        mistakes.add(error.what());
    }
    mistakes.throw_if_any("weft inspect --seams cannot go on:");
    const auto changes = changes_of(*reader);
    if (changes.empty()) refuse(cat(film, ": has one frame; seams are changes from frame to frame, which take two at least: name the whole film"));
    const auto borders = told_borders(shape, std::ssize(changes) + 1 + shape.first_shown());
    if (!borders.empty()) tell("pixels    ", changes, shape.first_shown(), borders, cat(film, ", values 0 to 255"));
}

}  // namespace weft::app

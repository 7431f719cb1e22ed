#include "base/settings.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <set>
#include <type_traits>

namespace weft {

namespace {

template <class Enum>
struct Names;
#define WEFT_NAMES(ENUM, ...)                                                       \
    template <>                                                                     \
    struct Names<ENUM> {                                                            \
        static constexpr auto all = std::to_array<std::string_view>({__VA_ARGS__}); \
    };
WEFT_NAMES(FamilyName, "mimicmotion", "musepose")
WEFT_NAMES(Dtype, "auto", "fp32", "fp16", "bf16")
WEFT_NAMES(Anchor, "blended", "private")
WEFT_NAMES(LayoutKind, "auto", "whole", "cut", "stages")
WEFT_NAMES(NumericsRule, "fixed", "free")
WEFT_NAMES(WeightPlace, "auto", "resident", "streamed")
WEFT_NAMES(DeviceKind, "auto", "cpu", "cuda")
WEFT_NAMES(OutputSize, "generated", "pose")
#undef WEFT_NAMES

template <class Enum>
std::string_view enum_name(Enum value) {
    return Names<Enum>::all.at(static_cast<std::size_t>(value));
}

/// The one list of tables and keys. `visit` is called with (table, key, value) for each; reader, printer and key list are visitors.
template <class SettingsType, class Visitor>
void describe(SettingsType& s, Visitor&& visit) {
    visit("model", "family", s.model.family);
    visit("model", "path", s.model.path);
    visit("model", "dtype", s.model.dtype);
    visit("input", "image", s.input.image);
    visit("input", "pose", s.input.pose);
    visit("input", "image_pose", s.input.image_pose);
    visit("input", "stride", s.input.stride);
    visit("input", "frames", s.input.frames);
    visit("video", "width", s.video.width);
    visit("video", "height", s.video.height);
    visit("sampling", "steps", s.sampling.steps);
    visit("sampling", "guidance", s.sampling.guidance);
    visit("sampling", "seed", s.sampling.seed);
    visit("sampling", "noise_aug", s.sampling.noise_aug);
    visit("sampling", "fps", s.sampling.fps);
    visit("sampling", "motion_bucket", s.sampling.motion_bucket);
    visit("slices", "length", s.slices.length);
    visit("slices", "overlap", s.slices.overlap);
    visit("slices", "anchor", s.slices.anchor);
    visit("slices", "pad", s.slices.pad);
    visit("decode", "chunk", s.decode.chunk);
    visit("decode", "dtype", s.decode.dtype);
    visit("layout", "kind", s.layout.kind);
    visit("layout", "stages", s.layout.stages);
    visit("layout", "map", s.layout.map);
    visit("memory", "budget", s.memory.budget);
    visit("memory", "numerics", s.memory.numerics);
    visit("memory", "weights", s.memory.weights);
    visit("device", "kind", s.device.kind);
    visit("device", "threads", s.device.threads);
    visit("watchdog", "stall_s", s.watchdog.stall_s);
    visit("output", "video", s.output.video);
    visit("output", "fps", s.output.fps);
    visit("output", "size", s.output.size);
    visit("output", "audio", s.output.audio);
    visit("output", "quality", s.output.quality);
    visit("output", "run_file", s.output.run_file);
    visit("output", "save_every_s", s.output.save_every_s);
}

/// The shortest text that reads back to the same double, always with a point or an exponent, so that it stays a TOML float.
std::string number(double value) {
    if (std::isnan(value)) return "nan";
    if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
    std::array<char, 32> buffer{};
    const auto [end, error] = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
    std::string text(buffer.data(), end);
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
}

template <class T>
std::string value_text(const T& value) {
    if constexpr (std::is_enum_v<T>)
        return in_quotes(enum_name(value));
    else if constexpr (std::is_same_v<T, std::string>)
        return in_quotes(value);
    else if constexpr (std::is_same_v<T, bool>)
        return value ? "true" : "false";
    else if constexpr (std::is_same_v<T, double>)
        return number(value);
    else if constexpr (std::is_same_v<T, std::array<double, 2>>)
        return cat("[", number(value[0]), ", ", number(value[1]), "]");
    else
        return cat(value);
}

std::string node_text(const toml::node& node) {
    std::ostringstream out;
    node.visit([&](const auto& value) { out << value; });
    return std::move(out).str();
}

/// Reads a node into a value; on a wrong type says which type is wanted.
template <class T>
void read_value(const toml::node& node, T& value, const std::string& key, Mistakes& mistakes) {
    if constexpr (std::is_enum_v<T>) {
        const auto text = node.value_exact<std::string>();
        for (std::size_t i = 0; text && i < Names<T>::all.size(); ++i)
            if (*text == Names<T>::all[i]) {
                value = static_cast<T>(i);
                return;
            }
        std::vector<std::string> known(Names<T>::all.begin(), Names<T>::all.end());
        const auto close = text ? nearest(*text, known) : std::string{};
        for (auto& one : known) one = in_quotes(one);
        mistakes.add(key, node_text(node), cat("must be one of ", join(known)), close.empty() ? "" : cat("did you mean ", in_quotes(close), "?"));
    } else if constexpr (std::is_same_v<T, std::string>) {
        if (const auto text = node.value_exact<std::string>())
            value = *text;
        else
            mistakes.add(key, node_text(node), "must be a text in quotes");
    } else if constexpr (std::is_same_v<T, bool>) {
        if (const auto flag = node.value_exact<bool>())
            value = *flag;
        else
            mistakes.add(key, node_text(node), "must be true or false");
    } else if constexpr (std::is_same_v<T, double>) {
        if (const auto real = node.value<double>(); real && node.is_number())
            value = *real;
        else
            mistakes.add(key, node_text(node), "must be a number");
    } else if constexpr (std::is_same_v<T, std::array<double, 2>>) {
        const auto* const list = node.as_array();
        if (list != nullptr && list->size() == 2 && list->get(0)->is_number() && list->get(1)->is_number())
            value = {*list->get(0)->value<double>(), *list->get(1)->value<double>()};
        else
            mistakes.add(key, node_text(node), "must be two numbers, for the first and the last frame", "for example [2.0, 2.0]");
    } else {
        if (const auto whole = node.value_exact<std::int64_t>())
            value = *whole;
        else
            mistakes.add(key, node_text(node), "must be a whole number");
    }
}

void read_table(const toml::table& root, Settings& settings, Mistakes& mistakes) {
    std::set<std::string> tables;
    std::set<std::string> keys;
    describe(settings, [&](const char* table, const char* key, auto&) {
        tables.insert(table);
        keys.insert(cat(table, ".", key));
    });
    const std::vector<std::string> known_tables(tables.begin(), tables.end());
    const std::vector<std::string> known_keys(keys.begin(), keys.end());
    const auto hint = [](const std::string& close) {
        return close.empty() ? std::string{"see --print-config for all keys"} : cat("did you mean ", close, "?");
    };

    for (const auto& [table_key, node] : root) {
        const std::string table_name{table_key.str()};
        const auto* const table = node.as_table();
        if (table == nullptr) {
            mistakes.add(cat(table_name, ": unknown key outside of any table; ", hint(nearest(table_name, known_keys))));
            continue;
        }
        if (!tables.contains(table_name)) {
            mistakes.add(cat("[", table_name, "]: unknown table; ", hint(nearest(table_name, known_tables))));
            continue;
        }
        for (const auto& [key, value] : *table)
            if (const auto full = cat(table_name, ".", key.str()); !keys.contains(full))
                mistakes.add(cat(full, ": unknown key; ", hint(nearest(full, known_keys))));
    }
    describe(settings, [&](const char* table, const char* key, auto& value) {
        if (const auto* const node = root[table][key].node()) read_value(*node, value, cat(table, ".", key), mistakes);
    });
}

/// What a family's published program does where the user says nothing.
Settings preset_of(FamilyName family) {
    Settings settings;
    settings.model.family = family;
    if (family == FamilyName::mimicmotion) return settings;
    settings.video = {.width = 768, .height = 768};
    settings.sampling.steps = 20;
    settings.sampling.guidance = {3.5, 3.5};
    settings.sampling.seed = 99;
    settings.slices.length = 48;
    settings.slices.overlap = 4;
    settings.decode.chunk = 1;
    settings.output.size = OutputSize::pose;
    return settings;
}

/// The family that file and overrides name, the last one that is known; mistakes in the name are told when the key is read.
FamilyName family_of(const toml::table& root, std::span<const std::string> overrides) {
    auto family = FamilyName::mimicmotion;
    const auto take = [&](std::string_view name) {
        const auto& all = Names<FamilyName>::all;
        if (const auto found = std::ranges::find(all, name); found != all.end()) family = static_cast<FamilyName>(found - all.begin());
    };
    if (const auto name = root["model"]["family"].value<std::string>()) take(*name);
    constexpr std::string_view key = "model.family=";
    for (const auto& one : overrides) {
        if (!one.starts_with(key)) continue;
        auto value = std::string_view(one).substr(key.size());
        if (value.size() >= 2 && (value.front() == '"' || value.front() == '\'')) value = value.substr(1, value.size() - 2);
        take(value);
    }
    return family;
}

/// One `table.key=value`: the value is TOML, or a bare text.
void apply_override(const std::string& text, Settings& settings, Mistakes& mistakes) {
    const auto equals = text.find('=');
    const auto point = text.find('.');
    if (equals == std::string::npos || point == std::string::npos || point > equals) {
        mistakes.add(cat("--set ", text, ": must be table.key=value, for example --set sampling.seed=7"));
        return;
    }
    const std::string value = text.substr(equals + 1);
    const auto document = [&](const std::string& written) {
        return cat("[", text.substr(0, point), "]\n", text.substr(point + 1, equals - point - 1), " = ", written, "\n");
    };
    for (const auto& written : {value, in_quotes(value)}) {
        try {
            read_table(toml::parse(document(written)), settings, mistakes);
            return;
        } catch (const toml::parse_error&) {  // not TOML: a bare text such as --set output.video=a.mp4
        }
    }
    mistakes.add(cat("--set ", text, ": cannot be read as TOML"));
}

}  // namespace

std::string_view name_of(Dtype dtype) {
    return enum_name(dtype);
}

std::string_view name_of(DeviceKind kind) {
    return enum_name(kind);
}

std::filesystem::path Settings::input_path(const std::string& text) const {
    const std::filesystem::path path{text};
    return path.is_absolute() ? path : folder / path;
}

Settings parse_settings(std::string_view text, const std::string& name, std::span<const std::string> overrides, Mistakes& mistakes) {
    Settings settings;
    try {
        const auto root = toml::parse(text);
        settings = preset_of(family_of(root, overrides));
        read_table(root, settings, mistakes);
    } catch (const toml::parse_error& error) {
        const auto& at = error.source().begin;
        refuse(cat(name, ", line ", at.line, ", column ", at.column, ": not TOML: ", error.description()));
    }
    for (const auto& one : overrides) apply_override(one, settings, mistakes);
    return settings;
}

Settings read_settings(const std::filesystem::path& file, std::span<const std::string> overrides, Mistakes& mistakes) {
    Settings settings = parse_settings(read_text(file), file.string(), overrides, mistakes);
    settings.folder = file.parent_path().empty() ? "." : file.parent_path();
    return settings;
}

std::string to_toml(const Settings& settings) {
    std::string text;
    std::string current;
    describe(settings, [&](const char* table, const char* key, const auto& value) {
        if (current != table) {
            text += cat(current.empty() ? "" : "\n", "[", table, "]\n");
            current = table;
        }
        text += cat(key, " = ", value_text(value), "\n");
    });
    return text;
}

std::vector<std::string> setting_lines(const Settings& settings) {
    static const std::set<std::string> paths{"model.path", "input.image", "input.pose", "input.image_pose"};
    std::vector<std::string> lines;
    describe(settings, [&](const char* table, const char* key, const auto& value) {
        const auto full = cat(table, ".", key);
        if (!paths.contains(full)) lines.push_back(cat(full, " = ", value_text(value)));
    });
    return lines;
}

std::vector<std::string> numerics_lines(const Settings& settings) {
    static const std::set<std::string> tables{"model", "input", "video", "sampling", "slices", "decode", "device"};
    auto lines = setting_lines(settings);
    std::erase_if(lines, [](const std::string& line) { return !tables.contains(line.substr(0, line.find('.'))) && !line.starts_with("memory.numerics "); });
    return lines;
}

std::optional<std::int64_t> parse_bytes(std::string_view text) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || !(value > 0)) return std::nullopt;
    std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
    while (unit.starts_with(' ')) unit.remove_prefix(1);
    double scale = 0;
    if (unit == "GiB") scale = 1024.0 * 1024 * 1024;
    if (unit == "MiB") scale = 1024.0 * 1024;
    if (unit == "GB") scale = 1e9;
    if (unit == "MB") scale = 1e6;
    if (scale == 0 || value * scale >= static_cast<double>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
    return static_cast<std::int64_t>(value * scale);
}

void check_settings(const Settings& s, Mistakes& mistakes) {
    const auto at_least = [&](const char* key, auto value, auto least, std::string_view advice = {}) {
        if (!(value >= least)) mistakes.add(key, value_text(value), cat("must be at least ", least), advice);
    };
    const auto at_most = [&](const char* key, auto value, auto most, std::string_view advice = {}) {
        if (value > most) mistakes.add(key, value_text(value), cat("must be at most ", most), advice);
    };

    const bool musepose = s.model.family == FamilyName::musepose;
    const auto defaults = preset_of(s.model.family);
    const std::int64_t side_step = musepose ? 8 : 64;  // MimicMotion's skips would not meet
    const auto check_side = [&](const char* key, std::int64_t pixels) {
        if (pixels >= 64 && pixels % side_step == 0 && pixels <= 8192) return;
        const auto close = std::clamp<std::int64_t>((pixels + side_step / 2) / side_step * side_step, 64, 8192);
        mistakes.add(key, cat(pixels), cat("must be a multiple of ", side_step, " from 64 to 8192"), cat("try ", close));
    };
    check_side("video.width", s.video.width);
    check_side("video.height", s.video.height);

    at_least("input.stride", s.input.stride, 1);
    at_least("input.frames", s.input.frames, 0, "0 takes all");
    at_least("sampling.steps", s.sampling.steps, 1, cat(defaults.sampling.steps, " is usual"));
    at_most("sampling.steps", s.sampling.steps, musepose ? 1000 : 10000);
    // The published scheduler's range of timesteps rounds to one step more for some numbers.
    if (musepose && s.sampling.steps >= 1 && s.sampling.steps <= 1000 &&
        std::ceil(1000.0 / (1000.0 / static_cast<double>(s.sampling.steps))) != static_cast<double>(s.sampling.steps))
        mistakes.add("sampling.steps", cat(s.sampling.steps), "is a number of steps of which MusePose's scheduler makes one more",
                     cat("try ", s.sampling.steps - 1));
    for (const double g : s.sampling.guidance)
        if (!(g >= 0 && g <= 100))
            mistakes.add("sampling.guidance", number(g), "must be from 0 to 100",
                         cat(number(defaults.sampling.guidance[0]), " is usual; up to 1 guidance is off"));
    at_least("sampling.seed", s.sampling.seed, 0);
    if (!(s.sampling.noise_aug >= 0 && s.sampling.noise_aug <= 10)) mistakes.add("sampling.noise_aug", number(s.sampling.noise_aug), "must be from 0 to 10");
    at_least("sampling.fps", s.sampling.fps, 1);
    at_most("sampling.fps", s.sampling.fps, 1000);
    at_least("sampling.motion_bucket", s.sampling.motion_bucket, 0);
    at_most("sampling.motion_bucket", s.sampling.motion_bucket, 100000);

    at_least("slices.length", s.slices.length, 2);
    if (musepose) at_most("slices.length", s.slices.length, 128, "MusePose's motion modules know 128 places; 48 is usual");
    if (musepose && s.slices.overlap < 0)
        mistakes.add("slices.overlap", cat(s.slices.overlap), "must be at least 0", "4 is usual");
    else if (!musepose && s.slices.overlap < 1)
        mistakes.add("slices.overlap", cat(s.slices.overlap), "must be at least 1 (the anchor)",
                     "without it the first frame after a slice is covered by none; 6 is usual");
    else if (s.slices.overlap >= s.slices.length && s.slices.length >= 2)
        mistakes.add("slices.overlap", cat(s.slices.overlap), cat("must be smaller than slices.length = ", s.slices.length),
                     cat("try ", std::max<std::int64_t>(1, std::min<std::int64_t>(defaults.slices.overlap, s.slices.length - 1))));
    at_least("decode.chunk", s.decode.chunk, 1, cat(defaults.decode.chunk, " is usual"));
    at_least("device.threads", s.device.threads, 1);
    at_most("device.threads", s.device.threads, 1024);
    at_least("layout.stages", s.layout.stages, 0);
    at_most("layout.stages", s.layout.stages, 4096);
    const bool staged = s.layout.kind == LayoutKind::stages;
    if (s.layout.stages > 0 && !staged)
        mistakes.add("layout.stages", cat(s.layout.stages), "counts only with layout.kind = \"stages\"", "use 0, or name that kind");
    if (s.layout.map != "auto" && !staged)
        mistakes.add("layout.map", in_quotes(s.layout.map), "counts only with layout.kind = \"stages\"", "use \"auto\", or name that kind");
    if (s.layout.map != "auto" && s.layout.map != "folded" && s.layout.map != "straight" && s.layout.map.find('@') == std::string::npos)
        mistakes.add("layout.map", in_quotes(s.layout.map), "must be \"auto\", \"folded\", \"straight\", or stages and the pieces where they begin",
                     "for example \"0@0, 1@40\"");
    if (s.layout.map.find('@') != std::string::npos && s.layout.stages == 0)
        mistakes.add("layout.stages", "0", "must be the number of stages that layout.map names", "for example 2");
    if (!(s.watchdog.stall_s > 0)) mistakes.add("watchdog.stall_s", number(s.watchdog.stall_s), "must be more than 0 seconds", "30 is usual");
    if (!(s.output.fps >= 0 && s.output.fps <= 1000))
        mistakes.add("output.fps", number(s.output.fps), "must be from 0 to 1000", "0 keeps the film as long as the dance");
    at_least("output.quality", s.output.quality, 0);
    at_most("output.quality", s.output.quality, 51, "18 is usual, higher is smaller");
    if (!(s.output.save_every_s >= 0)) mistakes.add("output.save_every_s", number(s.output.save_every_s), "must be at least 0");
    for (const auto& [key, value] : {std::pair{"model.path", &s.model.path},
                                     {"input.image", &s.input.image},
                                     {"input.pose", &s.input.pose},
                                     {"output.video", &s.output.video},
                                     {"output.run_file", &s.output.run_file}})
        if (value->empty()) mistakes.add(key, "\"\"", "must not be empty");
    if (s.output.run_file.size() < 4 || !s.output.run_file.ends_with(".h5")) mistakes.add("output.run_file", in_quotes(s.output.run_file), "must end in .h5");
    if (s.memory.budget != "auto" && !parse_bytes(s.memory.budget))
        mistakes.add("memory.budget", in_quotes(s.memory.budget), "must be \"auto\" or a size", "for example \"8GiB\", \"900MB\"");

    const bool fp16 = s.model.dtype == Dtype::fp16 || s.decode.dtype == Dtype::fp16;
    if (fp16 && s.device.kind == DeviceKind::cpu)
        mistakes.add(s.model.dtype == Dtype::fp16 ? "model.dtype" : "decode.dtype", "\"fp16\"", "is not for device.kind = \"cpu\" (100 times slower than fp32)",
                     "use \"fp32\" or \"bf16\"");

    const auto of_the_other = [&](bool asked, const char* key, const std::string& value) {
        if (asked) mistakes.add(key, value, cat("is ", musepose ? "MimicMotion's" : "MusePose's"), "leave it out");
    };
    of_the_other(!musepose && !s.slices.pad, "slices.pad", "false");
    of_the_other(musepose && s.slices.anchor != Anchor::blended, "slices.anchor", in_quotes(enum_name(s.slices.anchor)));
    of_the_other(musepose && s.sampling.noise_aug != 0, "sampling.noise_aug", number(s.sampling.noise_aug));
    of_the_other(musepose && s.sampling.fps != defaults.sampling.fps, "sampling.fps", cat(s.sampling.fps));
    of_the_other(musepose && s.sampling.motion_bucket != defaults.sampling.motion_bucket, "sampling.motion_bucket", cat(s.sampling.motion_bucket));
    of_the_other(musepose && !s.input.image_pose.empty(), "input.image_pose", in_quotes(s.input.image_pose));
}

}  // namespace weft

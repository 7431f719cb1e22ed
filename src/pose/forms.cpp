#include "pose/forms.hpp"

#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>

namespace weft::pose::forms {

namespace {

constexpr int largest_side = 1 << 20;

std::string brief(const json& value) {
    if (value.is_array()) return cat("an array of ", value.size());
    if (value.is_object()) return "an object";
    auto text = value.dump(-1, ' ', true, json::error_handler_t::replace);
    if (text.size() > 40) text = text.substr(0, 37) + "...";
    return text;
}

}  // namespace

Trouble::~Trouble() {
    if (count_ > most_told) mistakes_.add(cat(key_, ": and ", count_ - most_told, " more of the kind"));
}

void Trouble::of(const std::string& file) {
    begin_ = cat(key_, " ", file, ": ");
}

void Trouble::add(const std::string& text) {
    if (++count_ <= most_told) mistakes_.add(begin_ + text);
}

void Trouble::add(const std::string& place, const json& value, std::string_view allowed) {
    if (++count_ <= most_told) mistakes_.add(begin_ + place, brief(value), allowed);
}

const json* member(const json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto found = object.find(name);
    return found == object.end() || found->is_null() ? nullptr : &*found;
}

bool is_finite(const json& value) {
    return value.is_number() && std::isfinite(value.get<double>());
}

ImageSize size_of(const json& object, std::initializer_list<std::pair<const char*, const char*>> names, const std::string& place, Trouble& trouble) {
    ImageSize size;
    const auto read = [&](const char* name, int& side) {
        const auto* const value = member(object, name);
        if (value == nullptr) return;
        if (is_finite(*value) && value->get<double>() >= 1 && value->get<double>() <= largest_side)
            side = static_cast<int>(value->get<double>());
        else
            trouble.add(cat(place, name), *value, cat("must be a number of pixels from 1 to ", largest_side));
    };
    for (const auto& [width, height] : names) {
        if (size.known()) break;
        read(width, size.width);
        read(height, size.height);
    }
    return size.known() ? size : ImageSize{};
}

std::optional<Points> rows(const json& value, const std::string& place, Trouble& trouble) {
    if (!value.is_array()) {
        trouble.add(place, value, "must be an array of points");
        return std::nullopt;
    }
    Points points;
    points.reserve(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
        const auto& row = value[i];
        const auto row_place = [&] { return cat(place, "[", i, "]"); };
        if (!row.is_array() || row.size() < 2) {
            trouble.add(row_place(), row, "must be a point: x, y and perhaps a score");
            return std::nullopt;
        }
        for (std::size_t j = 0; j < std::min<std::size_t>(row.size(), 3); ++j)
            if (!is_finite(row[j])) {
                trouble.add(row_place() + cat("[", j, "]"), row[j], "must be a number");
                return std::nullopt;
            }
        points.push_back({row[0].get<double>(), row[1].get<double>(), row.size() > 2 ? row[2].get<double>() : 1.0});
    }
    return points;
}

std::optional<Points> triples(const json& value, const std::string& place, std::string_view allowed, std::initializer_list<std::size_t> sizes,
                              Trouble& trouble) {
    if (!value.is_array() || std::ranges::find(sizes, value.size()) == sizes.end()) {
        trouble.add(place, value, allowed);
        return std::nullopt;
    }
    for (std::size_t i = 0; i < value.size(); ++i)
        if (!is_finite(value[i])) {
            trouble.add(cat(place, "[", i, "]"), value[i], "must be a number");
            return std::nullopt;
        }
    Points points(value.size() / 3);
    for (std::size_t i = 0; i < points.size(); ++i) points[i] = {value[3 * i].get<double>(), value[3 * i + 1].get<double>(), value[3 * i + 2].get<double>()};
    return points;
}

std::optional<std::vector<double>> scores(const json& value, std::size_t size, const std::string& place, Trouble& trouble) {
    if (!value.is_array() || value.size() != size) {
        trouble.add(place, value, cat("must be ", size, " scores, one a point"));
        return std::nullopt;
    }
    std::vector<double> numbers;
    for (const auto& one : value) {
        if (!is_finite(one)) {
            trouble.add(place, one, "must be a number");
            return std::nullopt;
        }
        numbers.push_back(one.get<double>());
    }
    return numbers;
}

}  // namespace weft::pose::forms

#include "base/error.hpp"
#include "base/text.hpp"
#include "io/bytes.hpp"
#include "io/weight_file.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace weft::io {

namespace {
constexpr std::uint64_t max_header_bytes = 100'000'000;  // the official reader's

/// A tensor as the header describes it; offsets count from the end of the header.
struct Entry {
    std::string name;
    std::optional<ElementType> type;
    std::optional<Shape> shape;
    std::optional<Shape> offsets;
};

/// Follows the parser through the header. No JSON value is built: duplicate names stay visible, and depth costs nothing.
class HeaderReader final : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit HeaderReader(const std::string& file) : file_{file} {}
    [[nodiscard]] std::vector<Entry> take() { return std::move(entries_); }

    bool key(std::string& key) override {
        if (ignored_depth_ > 0) return true;
        if (place_ == Place::names) {
            if (key.size() > max_name_bytes)
                refuse(cat(file_, ": the header has a tensor name of ", key.size(), " bytes, at most ", max_name_bytes, " are allowed"));
            ignore_next_ = key == "__metadata__";
            name_ = std::move(key);
        } else {
            ignore_next_ = key != "dtype" && key != "shape" && key != "data_offsets";
            field_ = std::move(key);
        }
        return true;
    }

    bool start_object(std::size_t) override {
        if (opens_ignored()) return true;
        if (place_ == Place::root)
            place_ = Place::names;
        else if (place_ == Place::names) {
            place_ = Place::fields;
            entries_.push_back({name_, {}, {}, {}});
        } else
            wrong("an object");
        return true;
    }

    bool end_object() override {
        if (closes_ignored()) return true;
        if (place_ == Place::fields) {
            const auto& entry = entries_.back();
            const char* const missing = !entry.type ? "dtype" : !entry.shape ? "shape" : !entry.offsets ? "data_offsets" : nullptr;
            if (missing != nullptr) refuse(cat(file_, ": the header lacks ", missing, " of tensor ", in_quotes(entry.name)));
            place_ = Place::names;
        } else
            place_ = Place::root;
        return true;
    }

    bool start_array(std::size_t) override {
        if (opens_ignored()) return true;
        if (place_ != Place::fields || (field_ != "shape" && field_ != "data_offsets")) wrong("a list");
        auto& numbers = list();
        if (numbers) refuse(cat(file_, ": the header gives ", field_, " of tensor ", in_quotes(name_), " twice"));
        numbers.emplace();
        place_ = Place::numbers;
        return true;
    }

    bool end_array() override {
        if (closes_ignored()) return true;
        if (field_ == "data_offsets" && list()->size() != 2) refuse(cat(file_, ": data_offsets of tensor ", in_quotes(name_), " must be two numbers"));
        place_ = Place::fields;
        return true;
    }

    bool string(std::string& text) override {
        if (is_ignored()) return true;
        if (place_ != Place::fields || field_ != "dtype") wrong("a string");
        auto& entry = entries_.back();
        if (entry.type) refuse(cat(file_, ": the header gives dtype of tensor ", in_quotes(name_), " twice"));
        const auto found = std::ranges::find(all_element_types, text, element_name);
        if (found == all_element_types.end()) {
            std::vector<std::string_view> known;
            for (const auto type : all_element_types) known.push_back(element_name(type));
            refuse(cat(file_, ": tensor ", in_quotes(name_), " has dtype ", in_quotes(text.substr(0, 40)), ", which is not read here; known: ", join(known)));
        }
        entry.type = *found;
        return true;
    }

    bool number_unsigned(number_unsigned_t number) override {
        if (is_ignored()) return true;
        if (place_ != Place::numbers) wrong("a number");
        if (number > static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max()))
            refuse(cat(file_, ": ", field_, " of tensor ", in_quotes(name_), " holds ", number, ", which no file reaches"));
        auto& numbers = *list();
        if (numbers.size() == max_dims) refuse(cat(file_, ": ", field_, " of tensor ", in_quotes(name_), " has more than ", max_dims, " numbers"));
        numbers.push_back(static_cast<std::int64_t>(number));
        return true;
    }

    bool number_integer(number_integer_t number) override { return is_ignored() || wrong(cat("the number ", number)); }
    bool number_float(number_float_t, const std::string& text) override { return is_ignored() || wrong(cat("the number ", text.substr(0, 40))); }
    bool null() override { return is_ignored() || wrong("null"); }
    bool boolean(bool) override { return is_ignored() || wrong("a truth value"); }
    bool binary(binary_t&) override { return false; }

    bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception&) override {
        refuse(cat(file_, ": its header is not valid JSON at byte ", position, " of the header; the file is damaged or no safetensors file"));
    }

  private:
    enum class Place { root, names, fields, numbers };

    [[nodiscard]] std::optional<Shape>& list() { return field_ == "shape" ? entries_.back().shape : entries_.back().offsets; }

    bool is_ignored() { return std::exchange(ignore_next_, false) || ignored_depth_ > 0; }
    bool opens_ignored() {
        if (!is_ignored()) return false;
        ++ignored_depth_;
        return true;
    }
    bool closes_ignored() {
        if (ignored_depth_ == 0) return false;
        --ignored_depth_;
        return true;
    }

    [[noreturn]] bool wrong(const std::string& what) const {
        switch (place_) {
            case Place::root: refuse(cat(file_, ": its header is ", what, " and not a JSON object of tensors; the file is damaged or no safetensors file"));
            case Place::names: refuse(cat(file_, ": its header says ", what, " where dtype, shape and data_offsets of tensor ", in_quotes(name_), " belong"));
            case Place::fields:
            case Place::numbers: break;
        }
        refuse(cat(file_, ": its header says ", what, " in ", field_, " of tensor ", in_quotes(name_)));
    }

    const std::string& file_;
    std::vector<Entry> entries_;
    std::string name_;
    std::string field_;
    Place place_ = Place::root;
    bool ignore_next_ = false;
    std::size_t ignored_depth_ = 0;
};

void refuse_overlaps(const std::vector<Entry>& entries, const std::string& name) {
    std::vector<const Entry*> filled;
    for (const auto& entry : entries)
        if ((*entry.offsets)[0] < (*entry.offsets)[1]) filled.push_back(&entry);
    std::ranges::sort(filled, {}, [](const Entry* entry) { return (*entry->offsets)[0]; });
    const auto overlap = std::ranges::adjacent_find(filled, [](const Entry* left, const Entry* right) { return (*left->offsets)[1] > (*right->offsets)[0]; });
    if (overlap != filled.end())
        refuse(cat(name, ": tensors ", in_quotes(overlap[0]->name), " and ", in_quotes(overlap[1]->name), " overlap; the file is damaged"));
}
}  // namespace

TensorIndex index_safetensors(std::span<const std::byte> bytes, const std::string& name) {
    if (bytes.size() < 8) refuse(cat(name, ": is cut short: a safetensors file has at least 8 bytes, ", bytes.size(), " are there; copy or download it again"));
    const auto header_bytes = number_at<std::uint64_t>(bytes, 0);
    if (header_bytes > max_header_bytes)
        refuse(cat(name, ": its header would be ", header_bytes, " bytes long, at most ", max_header_bytes,
                   " are allowed; the file is damaged or no safetensors file"));
    if (header_bytes > bytes.size() - 8)
        refuse(cat(name, ": is cut short: ", header_bytes + 8, " bytes are expected for the header alone, ", bytes.size(),
                   " are there; copy or download it again"));

    HeaderReader reader{name};
    const std::string_view header = as_text(bytes.subspan(8, header_bytes));
    nlohmann::json::sax_parse(header, &reader);
    const auto entries = reader.take();

    const auto data = bytes.subspan(8 + header_bytes);
    const Entry* last = nullptr;
    for (const auto& entry : entries)
        if (last == nullptr || (*entry.offsets)[1] > (*last->offsets)[1]) last = &entry;
    if (last != nullptr && static_cast<std::uint64_t>((*last->offsets)[1]) > data.size())
        refuse(cat(name, ": is cut short: ", 8 + header_bytes + static_cast<std::uint64_t>((*last->offsets)[1]), " bytes are expected, ", bytes.size(),
                   " are there (tensor ", in_quotes(last->name), " ends last); copy or download it again"));

    TensorIndex index;
    for (const auto& entry : entries) {
        const auto begin = (*entry.offsets)[0], end = (*entry.offsets)[1];
        const auto expected = bytes_of(*entry.type, *entry.shape);
        if (!expected) refuse(cat(name, ": tensor ", in_quotes(entry.name), " of shape ", shape_text(*entry.shape), " is larger than any file"));
        if (begin > end || end - begin != *expected)
            refuse(cat(name, ": tensor ", in_quotes(entry.name), " of shape ", shape_text(*entry.shape), " and dtype ", element_name(*entry.type), " needs ",
                       *expected, " bytes, its data_offsets are [", begin, ", ", end, "]; the file is damaged"));
        const StoredTensor tensor{*entry.type, *entry.shape, row_major(*entry.shape), 0,
                                  data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(*expected))};
        if (!index.emplace(entry.name, tensor).second) refuse(cat(name, ": its header names tensor ", in_quotes(entry.name), " twice; the file is damaged"));
    }
    refuse_overlaps(entries, name);
    return index;
}

}  // namespace weft::io

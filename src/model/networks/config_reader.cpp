#include "model/networks/config_reader.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace weft::model {

using Json = nlohmann::json;

struct ConfigReader::Object {
    Json json = Json::object();
};

ConfigReader::ConfigReader(const std::filesystem::path& path, Mistakes& mistakes) : path_{path}, mistakes_{mistakes} {
    auto object = std::make_shared<Object>();
    object_ = object;
    if (!std::filesystem::exists(path)) return;  // who looks for files has named it
    try {
        auto json = Json::parse(read_text(path));
        if (json.is_object())
            object->json = std::move(json);
        else
            mistakes_.add(cat(path_.string(), ": must hold a JSON object"));
    } catch (const Json::exception& error) {
        mistakes_.add(cat(path_.string(), ": not JSON: ", error.what()));
    } catch (const Error& error) {
        mistakes_.add(error.what());
    }
}

ConfigReader::ConfigReader(std::filesystem::path path, std::shared_ptr<const Object> object, Mistakes& mistakes)
    : path_{std::move(path)}, mistakes_{mistakes}, object_{std::move(object)} {}

void ConfigReader::whole(const char* key, std::int64_t& value, std::int64_t least) {
    if (!object_->json.contains(key)) return;
    const auto& found = object_->json.at(key);
    if (found.is_number_integer() && found.get<std::int64_t>() >= least && found.get<std::int64_t>() <= 1 << 20)
        value = found.get<std::int64_t>();
    else
        wrong(key, cat("must be a whole number from ", least, " to ", 1 << 20));
}

void ConfigReader::real(const char* key, double& value) {
    if (!object_->json.contains(key)) return;
    if (object_->json.at(key).is_number() && object_->json.at(key).get<double>() > 0)
        value = object_->json.at(key).get<double>();
    else
        wrong(key, "must be a number above 0");
}

void ConfigReader::reals(const char* key, std::vector<double>& value, std::size_t count) {
    if (!object_->json.contains(key)) return;
    const auto& found = object_->json.at(key);
    if (!found.is_array() || found.size() != count || !std::all_of(found.begin(), found.end(), [](const Json& one) { return one.is_number(); }))
        return wrong(key, cat("must be a list of ", count, " numbers"));
    value = found.get<std::vector<double>>();
}

void ConfigReader::levels(const char* key, std::vector<std::int64_t>& value, std::size_t count, std::int64_t most) {
    value.resize(count, value.empty() ? 1 : value.back());
    if (!object_->json.contains(key)) return;
    const auto& found = object_->json.at(key);
    const auto good = [most](const Json& one) { return one.is_number_integer() && one.get<std::int64_t>() >= 1 && one.get<std::int64_t>() <= most; };
    if (good(found))
        value.assign(count, found.get<std::int64_t>());
    else if (found.is_array() && found.size() == count && std::all_of(found.begin(), found.end(), good))
        value = found.get<std::vector<std::int64_t>>();
    else
        wrong(key, cat("must be a whole number from 1 to ", most, " or a list of ", count, " of them"));
}

std::size_t ConfigReader::length(const char* key, std::size_t otherwise) const {
    return object_->json.contains(key) && object_->json.at(key).is_array() ? object_->json.at(key).size() : otherwise;
}

void ConfigReader::blocks(const char* key, std::vector<bool>& value, std::size_t count, const char* with, const char* without) {
    value.resize(count, !value.empty() && value.back());
    if (!object_->json.contains(key)) return;
    const auto& found = object_->json.at(key);
    if (!found.is_array() || found.size() != count) return wrong(key, cat("must be a list of ", count, " block names"));
    for (std::size_t i = 0; i < count; ++i) {
        if (found[i] != with && found[i] != without) return wrong(key, cat("may hold ", with, " and ", without));
        value[i] = found[i] == with;
    }
}

void ConfigReader::wrong(const char* key, const std::string& allowed) {
    mistakes_.add(cat(path_.string(), ": ", key), object_->json.contains(key) ? object_->json.at(key).dump() : "absent", allowed);
}

void ConfigReader::must_divide(const char* key, const std::vector<std::int64_t>& values, std::int64_t divisor, const char* why) {
    for (const auto one : values)
        if (one % divisor != 0) return wrong(key, cat("every width must be a multiple of ", divisor, " (", why, ")"));
}

namespace {
std::string only(const Json& wanted) {
    return cat("must be ", wanted.dump(), ", the only one that the published classes use");
}
}  // namespace

void ConfigReader::must_be(const char* key, const char* wanted) {
    if (object_->json.contains(key) && object_->json.at(key) != wanted) wrong(key, only(wanted));
}

void ConfigReader::must_be(const char* key, std::int64_t wanted) {
    if (object_->json.contains(key) && object_->json.at(key) != wanted) wrong(key, only(wanted));
}

void ConfigReader::must_be(const char* key, bool wanted) {
    if (object_->json.contains(key) && object_->json.at(key) != wanted) wrong(key, only(wanted));
}

ConfigReader ConfigReader::inside(const char* key) const {
    if (!object_->json.contains(key) || !object_->json.at(key).is_object()) return *this;
    auto inner = std::make_shared<Object>();
    inner->json = object_->json.at(key);
    return {path_, std::move(inner), mistakes_};
}

}  // namespace weft::model

#include "model/networks/config_file.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <yaml-cpp/yaml.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace weft::model {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::int64_t largest = 1 << 20;

/// Plain words of YAML are what they would be in JSON, else texts.
Json from_yaml(const YAML::Node& node) {
    auto made = Json::object();
    if (node.IsMap())
        for (const auto& entry : node) made[entry.first.as<std::string>()] = from_yaml(entry.second);
    else if (node.IsSequence()) {
        made = Json::array();
        for (const auto& entry : node) made.push_back(from_yaml(entry));
    } else if (node.IsScalar()) {
        const bool quoted = node.Tag() == "!";
        const auto& word = node.Scalar();
        if (bool truth = false; !quoted && YAML::convert<bool>::decode(node, truth)) return truth;
        auto parsed = quoted ? Json(Json::value_t::discarded) : Json::parse(word, nullptr, /*allow_exceptions=*/false);
        return parsed.is_number() ? parsed : Json(word);
    }
    return made;
}

Json parse(const fs::path& path) {
    const auto extension = path.extension();
    return extension == ".yaml" || extension == ".yml" ? from_yaml(YAML::Load(read_text(path))) : Json::parse(read_text(path));
}

bool is_whole(const Json& value, std::int64_t least, std::int64_t most) {
    return value.is_number_integer() && value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most;
}

bool is_list_of(const Json& value, std::size_t count, const auto& good) {
    return value.is_array() && value.size() == count && std::all_of(value.begin(), value.end(), good);
}

}  // namespace

struct ConfigFile::Root {
    fs::path path;
    Json json = Json::object();
    std::size_t levels = 1;

    /// The value of `key` in the object below the keys `at`; nullptr where it is absent.
    [[nodiscard]] const Json* find(const std::vector<std::string>& at, const std::string& key) const {
        const Json* object = &json;
        for (const auto& name : at) {
            const auto inner = object->find(name);
            if (inner == object->end() || !inner->is_object()) return nullptr;
            object = &*inner;
        }
        const auto found = object->find(key);
        return found == object->end() ? nullptr : &*found;
    }

    void put(const std::vector<std::string>& at, const char* key, Json value) {
        auto* object = &json;
        for (const auto& name : at) object = &(*object)[name];
        (*object)[key] = std::move(value);
    }
};

ConfigFile ConfigFile::read(const fs::path& path, Mistakes& mistakes) {
    const auto root = std::make_shared<Root>();
    root->path = path;
    const ConfigFile made(root, &mistakes);
    if (!fs::exists(path)) return made;
    try {
        auto json = parse(path);
        if (json.is_object())
            root->json = std::move(json);
        else
            mistakes.add(cat(path.string(), ": must hold an object, names with values"));
    } catch (const Json::exception& error) {
        mistakes.add(cat(path.string(), ": not JSON: ", error.what()));
    } catch (const YAML::Exception& error) {
        mistakes.add(cat(path.string(), ": not YAML: ", error.what()));
    } catch (const Error& error) {
        mistakes.add(error.what());
    }
    return made;
}

ConfigFile ConfigFile::blank() {
    return {std::make_shared<Root>(), nullptr};
}

std::string ConfigFile::text() const {
    return root_->json.dump(2) + "\n";
}

std::size_t ConfigFile::num_levels() const {
    return root_->levels;
}

void ConfigFile::whole(const char* key, std::int64_t& value, std::int64_t least) {
    if (!reading()) return root_->put(at_, key, value);
    const auto* const found = root_->find(at_, key);
    if (found == nullptr) return;
    if (!is_whole(*found, least, largest)) return wrong(key, cat("must be a whole number from ", least, " to ", largest));
    value = found->get<std::int64_t>();
}

void ConfigFile::real(const char* key, double& value) {
    if (!reading()) return root_->put(at_, key, value);
    const auto* const found = root_->find(at_, key);
    if (found == nullptr) return;
    if (!found->is_number() || found->get<double>() <= 0) return wrong(key, "must be a number above 0");
    value = found->get<double>();
}

void ConfigFile::reals(const char* key, std::vector<double>& value, std::size_t count) {
    if (!reading()) return root_->put(at_, key, value);
    const auto* const found = root_->find(at_, key);
    if (found == nullptr) return;
    if (!is_list_of(*found, count, [](const Json& one) { return one.is_number(); })) return wrong(key, cat("must be a list of ", count, " numbers"));
    value = found->get<std::vector<double>>();
}

void ConfigFile::widths(const char* key, std::vector<std::int64_t>& value) {
    const auto* const found = root_->find(at_, key);
    root_->levels = value.size();
    if (found != nullptr && found->is_array()) root_->levels = std::clamp<std::size_t>(found->size(), 1, 8);
    levels(key, value);
}

void ConfigFile::levels(const char* key, std::vector<std::int64_t>& value, std::int64_t most) {
    value.resize(num_levels(), value.empty() ? 1 : value.back());
    if (!reading()) return root_->put(at_, key, value);
    const auto* const found = root_->find(at_, key);
    if (found == nullptr) return;
    const auto good = [most](const Json& one) { return is_whole(one, 1, most); };
    if (good(*found))
        value.assign(num_levels(), found->get<std::int64_t>());
    else if (is_list_of(*found, num_levels(), good))
        value = found->get<std::vector<std::int64_t>>();
    else
        wrong(key, cat("must be a whole number from 1 to ", most, " or a list of ", num_levels(), " of them"));
}

void ConfigFile::blocks(const char* key, std::vector<bool>& value, const std::string& with, const std::string& without) {
    value.resize(num_levels(), !value.empty() && value.back());
    if (!reading()) {
        auto names = Json::array();
        for (const bool is_with : value) names.push_back(is_with ? with : without);
        return root_->put(at_, key, std::move(names));
    }
    const auto* const found = root_->find(at_, key);
    if (found == nullptr) return;
    const auto good = [&](const Json& one) { return one == with || one == without; };
    if (!found->is_array() || found->size() != num_levels()) return wrong(key, cat("must be a list of ", num_levels(), " block names"));
    if (!std::all_of(found->begin(), found->end(), good))
        return wrong(key, with == without ? cat("may hold ", with) : cat("may hold ", with, " and ", without));
    for (std::size_t i = 0; i < value.size(); ++i) value[i] = (*found)[i] == with;
}

void ConfigFile::all_blocks(const char* key, const std::string& name) {
    std::vector<bool> all(num_levels(), true);
    blocks(key, all, name, name);
}

void ConfigFile::must_be_json(const char* key, const std::string& wanted) {
    if (!reading()) return root_->put(at_, key, Json::parse(wanted));
    const auto* const found = root_->find(at_, key);
    if (found != nullptr && found->dump() != wanted) wrong(key, cat("must be ", wanted, ", the only one that the published classes use"));
}

void ConfigFile::must_be(const char* key, const char* wanted) {
    must_be_json(key, Json(wanted).dump());
}

void ConfigFile::must_be(const char* key, std::int64_t wanted) {
    must_be_json(key, Json(wanted).dump());
}

void ConfigFile::must_be(const char* key, bool wanted) {
    must_be_json(key, Json(wanted).dump());
}

void ConfigFile::must_divide(const char* key, const std::vector<std::int64_t>& values, std::int64_t divisor, const char* why) {
    if (divisor > 0 && std::ranges::any_of(values, [divisor](auto one) { return one % divisor != 0; }))
        wrong(key, cat("every width must be a multiple of ", divisor, " (", why, ")"));
}

void ConfigFile::wrong(const std::string& key, const std::string& allowed) const {
    ensure(reading(), cat("a config that is written has a wrong ", key));
    const auto* const found = root_->find(at_, key);
    std::string name;
    for (const auto& outer : at_) name += outer + ".";
    mistakes_->add(cat(root_->path.string(), ": ", name, key), found != nullptr ? found->dump() : "absent", allowed);
}

ConfigFile ConfigFile::inside(const std::string& key, Absent absent) const {
    const auto* const found = root_->find(at_, key);
    const bool there = found != nullptr && found->is_object();
    if (absent == Absent::same && !there) return *this;
    if (found != nullptr && !there) wrong(key, "must hold names with values");
    auto made = *this;
    made.at_.push_back(key);
    return made;
}

void ConfigFiles::file(const char* name, const std::function<void(ConfigFile&)>& describe) const {
    const auto& path = files_.at(name);
    auto opened = reading() ? ConfigFile::read(path, *mistakes_) : ConfigFile::blank();
    describe(opened);
    if (reading()) return;
    fs::create_directories(path.parent_path());
    write_atomically(path, opened.text());
}

}  // namespace weft::model
